"""What methods that run a student and its teacher together share: the student is another registered method.

The student's own ``sample`` runs on a problem whose student denoiser the combination has wrapped, so its levels, its
noise and its parametrisation stay its own, and every call of either network is counted by the same ledger.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import Tensor

from bench.api import Denoiser, FitTask, Method, Problem, Unsupported

Wrap = Callable[[Denoiser], Denoiser]


class Combined(Method):
    """A student with its teacher.

    Attributes:
        student: spec of a registered distilled method, whose artifact is used.
    """

    student: str = "consistency"

    @abstractmethod
    def student_steps(self, nfe: int) -> int:
        """How many steps the student's sampler makes within the budget.

        Raises:
            Unsupported: the budget is too small for both.
        """

    def artifact_name(self, nfe: int) -> str:
        return "student"

    def borrows(self, nfe: int) -> tuple[str, int] | None:
        return self.student, self.student_steps(nfe)

    def fit(self, task: FitTask, nfe: int) -> dict[str, Tensor]:
        spec, budget = self.student, self.student_steps(nfe)
        raise Unsupported(f"there is nothing of its own to fit; bench fit --methods '{spec}' --nfe {budget}")

    def run_student(self, problem: Problem, steps: int, wrap: Wrap) -> Tensor:
        """The student's samples (B, ...) in ``steps`` steps, its denoiser wrapped.

        Raises:
            Unsupported: the student cannot make this number of steps, or none has been fitted.
        """
        if not problem.artifact:
            raise Unsupported(f"there is no fitted {self.student} for {steps} steps; bench fit makes one")

        def wrapped(weights: Mapping[str, Tensor]) -> Denoiser:
            return wrap(problem.student(weights))

        return problem.method(self.student).sample(replace(problem, student=wrapped), steps)
