"""What the two small text-conditioned suites share: captions as labels, guidance, files, revision."""

from __future__ import annotations

import hashlib
import math
import os
from abc import abstractmethod
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bench.denoiser import Denoiser, Guided, Prediction
from bench.features.base import installed
from bench.suites.base import Network, Suite
from bench.tiny import assets
from bench.tiny.network import PixelNetwork, TextStage, load_part

SOLUTION = "solution-seed{}.safetensors"
CLASSES = 10


@cache
def _text_stage(folder: Path) -> TextStage:
    return TextStage(folder / "pipeline")


@cache
def _table(folder: Path, captions: tuple[str, ...]) -> Tensor:
    """Encoded captions, the empty one last; once per process."""
    with torch.inference_mode(False):  # students are trained with it
        return _text_stage(folder)((*captions, "")).clone()


class TinySuite(Suite):
    """A suite whose teacher is a pipeline folder in ``assets``; the fields are the subclass's.

    Class attributes:
        folder: the files, with ``record.json``.
        captions: what samples are made from; the class of caption ``i`` is ``i % 10``.
        part: the denoiser's folder, ``unet`` or ``transformer``.
        prediction: what it predicts.
        time_scale: it is told ``time_scale * t``.
        wrapper: how it becomes the suite's network.
        default_guidance: the guidance that the shipped solution was computed with.
        solution_steps: evaluations of the reference solver; ``docs`` state its accuracy.
        packages: the optional packages it runs on, and the extra of each.
        gives: what metrics get to see, see ``bench.definition.gives``.
    """

    guidance_scale: float

    folder: ClassVar[Path]
    captions: ClassVar[tuple[str, ...]]
    part: ClassVar[str]
    prediction: ClassVar[Prediction]
    time_scale: ClassVar[float] = 1.0
    wrapper: ClassVar[type[PixelNetwork]] = PixelNetwork
    default_guidance: ClassVar[float]
    solution_steps: ClassVar[int]
    trainable: ClassVar[bool] = True
    packages: ClassVar[dict[str, str]] = {"diffusers": "diffusers", "transformers": "diffusers"}
    gives: ClassVar[frozenset[str]]

    @classmethod
    def record(cls) -> dict[str, Any]:
        """The training record and the hashes of all files."""
        return assets.read_record(cls.folder)

    def lacks(self) -> str:
        """Why it cannot run on this machine, and what to do; empty if it can. Nothing is imported."""
        absent = {name: extra for name, extra in self.packages.items() if not installed(name)}
        names = " and ".join(name.replace("_", "-") for name in absent)
        extras = ",".join(dict.fromkeys(absent.values()))
        return f"this suite needs {names}; run pip install 'fewstep-bench[{extras}]'" if absent else ""

    def verify(self) -> None:
        assets.verify(self.folder)

    def teacher_id(self) -> str:
        """Content hash (16 hex digits) of the pipeline's files."""
        return assets.subset(self.record(), "pipeline/")[:16]

    def revision(self) -> str:
        here = Path(__file__).parents[1]
        names = (
            "suites/_tiny.py",
            "ode.py",
            "tiny/network.py",
            "tiny/captions.py",
            "pipelines/schedule.py",
            *self.sources(),
        )
        code = [here / name for name in names]
        hashes = [assets.digest(path) for path in code]
        parts = [self.teacher_id(), self.feature_id(), self.reference_id(), *hashes]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]

    @abstractmethod
    def sources(self) -> tuple[str, ...]:
        """Further files of ``bench`` that numbers depend on."""

    def reference_id(self) -> str:
        return assets.subset(self.record(), "reference.safetensors")[:8]

    def label(self, index: Sequence[int]) -> Tensor:
        """(B,) int64 numbers of captions: every class and every wording equally often."""
        return torch.tensor([i % len(self.captions) for i in index], dtype=torch.int64)

    def prompts(self, label: Tensor) -> tuple[str, ...]:
        """The captions with these numbers."""
        return tuple(self.captions[i] for i in label.tolist())

    def network(self, device: torch.device, dtype: torch.dtype) -> Network:
        return self.student(device).to(dtype)

    def student(self, device: torch.device) -> nn.Module:
        inner = load_part(self.folder / "pipeline", self.part)
        table = _table(self.folder, self.captions)
        network = self.wrapper(inner, table, self.process, self.prediction, self.time_scale)
        return network.to(device).eval()

    def bind(self, network: Network, label: Tensor) -> Denoiser:
        return Guided(network, label, null=len(self.captions), guidance_scale=self.guidance_scale)

    def encode(self, index: Sequence[int]) -> Tensor:
        """(B, L, d): the captions of these samples through the text encoder, anew; a stage of the latency table."""
        return _text_stage(self.folder)(self.prompts(self.label(index)))

    def solve(self, denoise: Denoiser, x: Tensor) -> Tensor:
        """``solution_steps`` evaluations of DPM-Solver++ 2M (Lu et al. 2022, arXiv 2211.01095), even in log sigma.

        The network is not defined below ``sigma_min``, so the last step is one evaluation there, as every solver of
        the registry makes it; an extrapolation to 0 would measure the network where it was never trained.
        """
        grid = torch.logspace(*self._log_range(), self.solution_steps, dtype=torch.float64).tolist()
        state = x.double()
        before: Tensor | None = None
        for i, sigma in enumerate(grid):
            found = denoise(state.float(), sigma).double()
            lead = found
            if before is not None and i + 1 < len(grid):
                lead = torch.lerp(before, found, 1.5)  # steps are even
            following = grid[i + 1] if i + 1 < len(grid) else 0.0
            state = torch.lerp(lead, state, following / sigma)
            before = found
        return state.to(x.dtype)

    def _log_range(self) -> tuple[float, float]:
        return math.log10(self.sigma_max), math.log10(self.sigma_min)

    def shipped_solution(self, seed: int, samples: int) -> Tensor | None:
        from safetensors.torch import load_file

        path = self.folder / SOLUTION.format(seed)
        if self.guidance_scale != self.default_guidance or not path.is_file():
            return None
        solution = load_file(path)["solution"]
        return solution[:samples] if len(solution) >= samples else None


def data_source() -> str:
    """Where the user has CIFAR-10; empty if nothing is said."""
    return os.environ.get("BENCH_CIFAR10", "")
