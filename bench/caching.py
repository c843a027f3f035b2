"""What the methods that reuse features share: any registered solver, told at each call what to compute."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from bench.api import Denoiser, Method, Problem
from bench.reuse import CachedDenoiser, Part


class Caching(Method):
    """A solver whose evaluations do not all run the whole network.

    Attributes:
        solver: spec of the solver.
    """

    solver: str = "ddim"

    @abstractmethod
    def parts(self, nfe: int) -> Sequence[Part]:
        """What each of ``nfe`` evaluations computes; the first one is ``full``."""

    def denoiser(self, problem: Problem, nfe: int) -> Denoiser:
        """The teacher, computing what ``parts`` says, call by call.

        Raises:
            Unsupported: the teacher's network cannot be run in parts.
        """
        cached: CachedDenoiser = problem.cached()
        plan = iter(self.parts(nfe))

        def denoise(x: Tensor, sigma: float | Tensor) -> Tensor:
            return cached(x, sigma, next(plan, "full"))

        return denoise

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        return problem.solver(self.solver).sample(replace(problem, denoise=self.denoiser(problem, nfe)), nfe)
