"""From a suite, a method and a budget to samples: the one place where all is put together and counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench import registry
from bench.api import Denoiser, Method, Problem, Solver, Unsupported
from bench.nfe import Ledger
from bench.reuse import CachedDenoiser, Part, Recall, supports_reuse
from bench.rng import SampleNoise
from bench.suites.base import Network, Suite

EMPTY: Mapping[str, Tensor] = {}


def make_solver(spec: str) -> Solver:
    """A registered solver, for methods that are schedules.

    Raises:
        Unsupported: the spec names a method that is not a solver.
    """
    method = registry.create("method", spec)
    if not isinstance(method, Solver):
        raise Unsupported(f"{spec} is not a solver")
    return method


@dataclass(frozen=True)
class Teacher:
    """A suite's network, loaded once per worker.

    Attributes:
        dtype: of the network; the state is float64 when this is float64, else float32.
    """

    suite: Suite
    network: Network
    device: torch.device
    dtype: torch.dtype

    @classmethod
    def load(cls, suite: Suite, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Teacher:
        """Load the suite's network on a device."""
        where = torch.device(device)
        return cls(suite, suite.network(where, dtype), where, dtype)

    @property
    def state_dtype(self) -> torch.dtype:
        """What solvers compute in."""
        return torch.float64 if self.dtype == torch.float64 else torch.float32

    def _noise(self, seed: int, index: Sequence[int], stream: str) -> SampleNoise:
        key = (type(self.suite).__module__.rpartition(".")[2], seed, stream)
        return SampleNoise(key, index, self.suite.shape, self.state_dtype, self.device)

    def initial(self, seed: int, index: Sequence[int]) -> Tensor:
        """(B, ...) initial states ``sigma_max * eps``: the same for every method."""
        return self.suite.sigma_max * self._noise(seed, index, "initial").normal()

    def denoiser(self, index: Sequence[int], ledger: Ledger, network: Network | None = None) -> Denoiser:
        """A network (the teacher's by default) as a counted denoiser for these samples."""
        label = self.suite.label(index).to(self.device)
        bound = self.suite.bind(ledger.network(self.network if network is None else network), label)
        return ledger.denoiser(bound)

    def _student(self, index: Sequence[int], ledger: Ledger) -> Callable[[Mapping[str, Tensor]], Denoiser]:
        def build(weights: Mapping[str, Tensor]) -> Denoiser:
            network: nn.Module = self.suite.student(self.device)
            network.load_state_dict({name: value.to(torch.float32) for name, value in weights.items()})
            network.eval().requires_grad_(False)
            return self.denoiser(index, ledger, network)

        return build

    def _cached(self, index: Sequence[int], ledger: Ledger) -> Callable[[], CachedDenoiser]:
        def build() -> CachedDenoiser:
            if not supports_reuse(self.network):
                raise Unsupported("the teacher's network has no parts whose features could be reused")
            recall = Recall(self.network)
            denoise = self.denoiser(index, ledger, recall)

            def cached(x: Tensor, sigma: float | Tensor, part: Part = "full") -> Tensor:
                recall.part = part
                return denoise(x, sigma)

            return cached

        return build

    def problem(
        self, seed: int, index: Sequence[int], ledger: Ledger, artifact: Mapping[str, Tensor] = EMPTY
    ) -> Problem:
        """What a method sees of these samples."""
        return Problem(
            denoise=self.denoiser(index, ledger),
            x=self.initial(seed, index),
            noise=self._noise(seed, index, "method"),
            process=self.suite.process,
            sigma_min=self.suite.sigma_min,
            sigma_max=self.suite.sigma_max,
            artifact=artifact,
            student=self._student(index, ledger),
            solver=make_solver,
            method=lambda spec: registry.create("method", spec),
            cached=self._cached(index, ledger),
        )

    @torch.inference_mode()
    def generate(
        self, method: Method, nfe: int, seed: int, index: Sequence[int], artifact: Mapping[str, Tensor] = EMPTY
    ) -> tuple[Tensor, Ledger]:
        """Samples (B, ...) of a method within a budget, and what they cost.

        Raises:
            Unsupported: the method cannot do this budget.
            BudgetExceeded: it used more.
            ValueError: the samples have another shape or dtype, or are not finite.
        """
        ledger = Ledger(budget=nfe)
        problem = self.problem(seed, index, ledger, artifact)
        samples = method.sample(problem, nfe)
        if samples.shape != problem.x.shape or samples.dtype != problem.x.dtype:
            raise ValueError(f"samples are {tuple(samples.shape)} {samples.dtype}, not {tuple(problem.x.shape)}")
        if not bool(torch.isfinite(samples).all()):
            raise ValueError("samples are not finite")
        return samples, ledger
