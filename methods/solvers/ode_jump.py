r"""ODE-Jump: K evaluations along the sampling trajectory, then one jump to the denoising trajectory.

    x = base solver from sigma_max to sigma_jump, nfe - 1 evaluations
    output D(x, sigma_jump), one evaluation

Chen, Zhou, Mei, Shen, Chen and Wang 2023, "A Geometric Perspective on Diffusion Models", arXiv 2305.19947: beside the
states x(sigma) of the ODE runs the path of their denoised images ``D(x(sigma), sigma)``, which arrives earlier, so a
sampler may leave the ODE at an intermediate level and output the denoised image.

The grid is the base solver's own, between ``sigma_max`` and ``sigma_jump`` and ended there. An Euler step to sigma = 0
is a jump: for ``solver=ddim``, and for every solver whose step to 0 is Euler's, this is the solver itself on that grid
with 0 appended, and what is new is the choice of the last level. One evaluation is the jump from ``sigma_max``. What
is finer than ``sigma_jump`` is averaged over: the output is a posterior mean.

The paper has no number for ``sigma_jump`` that would fit every teacher; 0.1 is ours. In zju-pi/diff-sampler this is
``sigma_min=sigma_jump`` with ``denoise_to_zero=True``.
"""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field
from torch import Tensor

from bench.api import Info, Method, Paper, Problem, Unsupported
from bench.spec import Spec, parse

INFO = Info(
    summary="A solver down to an intermediate noise level, then the denoised image.",
    family="solvers",
    papers=(
        Paper(
            title="A Geometric Perspective on Diffusion Models",
            authors="Defang Chen and Zhenyu Zhou and Jian-Ping Mei and Chunhua Shen and Chun Chen and Can Wang",
            year=2023,
            arxiv="2305.19947",
            code="zju-pi/diff-sampler",
        ),
    ),
)


class OdeJump(Method):
    """A base solver and where it is left.

    Attributes:
        solver: spec of the solver; of its grid the name and the parameters are kept, the end is replaced.
        sigma_jump: the noise level of the jump, in units of the data.
    """

    solver: str = "dpm_solver_pp"
    sigma_jump: float = Field(default=0.1, gt=0.0)

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        if not problem.sigma_min <= self.sigma_jump < problem.sigma_max:
            raise Unsupported(
                f"sigma_jump={self.sigma_jump:g} is not between the suite's noise levels, {problem.sigma_min:g} and "
                f"{problem.sigma_max:g}"
            )
        base = problem.solver(self.solver)
        grid = parse(base.grid)
        if grid.name == "user":
            raise Unsupported(
                "a user grid has its own end: give it to its solver, with sigma_jump and 0 as last levels"
            )
        if nfe == 1:
            return problem.denoise(problem.x, problem.sigma_max)
        kept = tuple((key, value) for key, value in grid.params if key != "end")
        base = base.model_copy(update={"grid": str(Spec(grid.name, (*kept, ("end", "sigma_min"))))})
        x = base.sample(replace(problem, sigma_min=self.sigma_jump), nfe - 1)
        return problem.denoise(x, self.sigma_jump)
