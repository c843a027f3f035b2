"""What suites on pipelines share: latents as samples, prompts as conditioning, pictures or clips for the metrics.

A suite says how its pipeline is opened and which prompts it has; sample i has prompt ``i mod len(prompts)``. Pictures
are decoded by the pipeline's own decoder and quantised to 8 bits once, half to even. There is one copy of the weights
per process, device and dtype, and each prompt is encoded once.
"""

from __future__ import annotations

import inspect
import threading
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from bench.batch import Batch
from bench.denoiser import Denoiser
from bench.errors import UsageError
from bench.grids import make_grid
from bench.pipelines.base import Pipeline
from bench.pipelines.conditions import Table
from bench.pipelines.network import GuidedRows, PipelineNetwork, pipeline_network
from bench.process import Process
from bench.revision import revision
from bench.suites.base import Network, Suite


class PipelineSuite(Suite):
    """A suite whose teacher is a ``bench.pipelines.base.Pipeline``."""

    @abstractmethod
    def open(self, device: torch.device, dtype: torch.dtype) -> Pipeline:
        """The pipeline; the same weights at every call with the same arguments."""

    @abstractmethod
    def texts(self) -> tuple[str, ...]:
        """The prompts (classes of a pipeline that knows no texts), in the order that samples use them."""

    def texts_of(self, pipeline: Pipeline) -> tuple[str, ...]:
        """``texts`` for a pipeline that has just been opened; a suite that asks its pipeline for them says so here."""
        return self.texts()

    @abstractmethod
    def content(self) -> str:
        """A hash of weights, settings and prompts: all that determines the teacher but code."""

    def family(self) -> type[Pipeline]:
        """The pipeline's class; a suite that can say so without loading weights should."""
        return type(self.pipeline)

    @property
    def gives(self) -> frozenset[str]:
        """What metrics get to see, see ``bench.definition.gives``."""
        family = self.family()
        return frozenset({"clips" if family.video else "images", *(("prompts",) if family.text else ())})

    @property
    def reference_steps(self) -> int:
        """Evaluations of the reference solution (DPM-Solver++ 2M, arXiv 2211.01095, on the even grid)."""
        return 100

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline that was used last; where none was, it is opened on the CPU."""
        return _last(self).pipeline

    @property
    def shape(self) -> tuple[int, ...]:
        return self.pipeline.shape

    @property
    def process(self) -> Process:
        return self.pipeline.process

    @property
    def sigma_min(self) -> float:
        """The smallest noise level of the pipeline's schedule."""
        return self.pipeline.schedule.sigma_min

    @property
    def sigma_max(self) -> float:
        """The level that sampling starts from; finite, see ``bench.pipelines.schedule``."""
        return self.pipeline.schedule.sigma_max

    def revision(self) -> str:
        return revision(Path(__file__), __name__, [self.teacher_id()])

    def teacher_id(self) -> str:
        family = self.family()
        code = revision(Path(inspect.getfile(family)), family.__module__, [self.content()])
        return code[:16]

    def feature_id(self) -> str:
        return ""

    def reference_id(self) -> str:
        return "none"

    def reference(self) -> Batch:
        raise UsageError("this suite has no reference images of its own; metrics need a file of reference statistics")

    def label(self, index: Sequence[int]) -> Tensor:
        return torch.as_tensor(list(index), dtype=torch.int64) % len(self.texts())

    def network(self, device: torch.device, dtype: torch.dtype) -> Network:
        """The pipeline's network with its table of prompts; the same object at every call."""
        return _network(self, device, dtype)

    def bind(self, network: Network, label: Tensor) -> Denoiser:
        return GuidedRows(network, label, null=len(self.texts()), guidance_scale=self.pipeline.weight)

    @torch.inference_mode()
    def describe(self, samples: Tensor, label: Tensor) -> Batch:
        """Decoded and quantised; what trajectories are compared on are the latents."""
        pictures = (self.decode(samples) * 255).round().to(torch.uint8).cpu()
        latents = samples.detach().cpu()
        texts = self.texts()
        pipeline = self.pipeline
        return Batch(
            samples=latents,
            label=label.cpu(),
            raw=latents,
            images=None if pipeline.video else pictures,
            clips=pictures if pipeline.video else None,
            prompts=tuple(texts[i] for i in label.tolist()) if pipeline.text else None,
        )

    def solve(self, denoise: Denoiser, x: Tensor) -> Tensor:
        """``reference_steps`` evaluations; how close that is to the exact solution depends on the model."""
        steps = self.reference_steps
        grid = make_grid("time_uniform", steps, self.sigma_min, self.sigma_max, self.process)
        before: tuple[float, Tensor] | None = None  # the last level and what was found there
        for sigma_s, sigma_t in grid.steps():
            found = denoise(x, sigma_s)
            ahead = found
            if before is not None and sigma_t > 0:
                ratio = _log_ratio(sigma_s, sigma_t) / _log_ratio(before[0], sigma_s)
                ahead = torch.lerp(before[1], found, 1 + ratio / 2)
            x = torch.lerp(ahead, x, sigma_t / sigma_s)
            before = (sigma_s, found)
        return x

    def images(self, samples: Tensor) -> Tensor | None:
        """Pictures; of a clip the frame in its middle."""
        pictures = self.decode(samples).cpu()
        return pictures[:, pictures.shape[1] // 2] if self.pipeline.video else pictures

    def encode(self, index: Sequence[int]) -> None:
        """Run the pipeline's encoders afresh for these samples, for latency; nothing is kept."""
        texts = self.texts()
        pipeline = self.pipeline
        with torch.inference_mode():
            pipeline.encode([texts[i % len(texts)] for i in index])
            if pipeline.weight != 1.0:
                pipeline.encode_null()

    @torch.inference_mode()
    def decode(self, samples: Tensor) -> Tensor:
        """(B, 3, H, W) or (B, F, 3, H, W) in [0, 1], float32, on the pipeline's device."""
        network = _last(self)
        with network.exclusive():
            return network.pipeline.decode(samples.detach().to(network.pipeline.device))


def _log_ratio(high: float, low: float) -> float:
    return float(torch.log(torch.tensor(high / low, dtype=torch.float64)))


_Key = tuple[PipelineSuite, str, torch.dtype]
_networks: dict[_Key, PipelineNetwork] = {}
_lock = threading.RLock()  # batches may be described in a thread of their own


def _network(suite: PipelineSuite, device: torch.device, dtype: torch.dtype) -> PipelineNetwork:
    with _lock:
        key = (suite, str(device), dtype)
        if key not in _networks:
            pipeline = suite.open(device, dtype)
            _networks[key] = pipeline_network(pipeline, Table(pipeline, suite.texts_of(pipeline)))
        network = _networks[key]
        network.touch()
        return network


def _last(suite: PipelineSuite) -> PipelineNetwork:
    """The network of a suite that was called last: what belongs to a cell is decoded in the cell's own precision."""
    with _lock:
        mine = [network for (owner, _, _), network in _networks.items() if owner == suite]
        if not mine:
            return _network(suite, torch.device("cpu"), torch.float32)
        return max(mine, key=lambda network: network.used)


def forget() -> None:
    """Let go of all networks and their tables."""
    with _lock:
        _networks.clear()
