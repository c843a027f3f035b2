"""Fitting: what a method sees of a suite while it calibrates or distils, and what that costs.

::

    Fitter(suite, out, seed).fit(method, nfe) --> Task --> method.fit(task, nfe) --> <out>/<suite>/<method>/<artifact>
                  ^------------------------------ task.artifact(nfe of the artifact it starts from)

Every random number comes from one generator named by (suite, method, artifact, seed), so an artifact does not depend on
whether the one it starts from was fitted in the same run.
"""

from __future__ import annotations

import datetime
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from bench import artifacts
from bench.api import FitBatch, Method, Solver
from bench.artifacts import Artifact, Meta
from bench.denoiser import Denoiser
from bench.environment import describe
from bench.errors import AssetError
from bench.grids import Grid, make_grid
from bench.nets.optimise import Progress, ignore
from bench.nfe import Ledger
from bench.registry import canonical
from bench.rng import generator
from bench.sampling import make_solver
from bench.suites.base import Suite

CPU = torch.device("cpu")


class Batch:
    """``bench.api.FitBatch`` on top of a suite."""

    def __init__(self, x: Tensor, label: Tensor, suite: Suite, ledger: Ledger, teacher: Callable[..., Tensor]) -> None:
        self.x = x
        self._label = label
        self._suite = suite
        self._ledger = ledger
        self.denoise = self._bind(teacher)

    def _bind(self, network: Callable[..., Tensor]) -> Denoiser:
        return self._suite.bind(self._ledger.network(network), self._label)

    def bind(self, network: nn.Module) -> Denoiser:
        """See ``FitBatch.bind``."""
        return self._bind(network)


class Task:
    """``bench.api.FitTask`` on top of a suite; fits run on the CPU in float32.

    Args:
        suite: what is fitted to.
        source: of all random numbers.
        other: finds or fits this method's artifact for another budget.
        progress: called as ``progress(done, total, message)``.
    """

    def __init__(
        self, suite: Suite, source: torch.Generator, other: Callable[[int], Artifact], progress: Progress = ignore
    ) -> None:
        self.generator = source
        self.process = suite.process
        self.sigma_min = suite.sigma_min
        self.sigma_max = suite.sigma_max
        self.ledger = Ledger()
        self.images = 0
        self.base: Artifact | None = None
        self.waited = 0.0
        self._suite = suite
        self._other = other
        self._progress = progress
        self._teacher = suite.network(CPU, torch.float32)
        self._data: tuple[Tensor, Tensor] | None = None

    def _batch(self, x: Tensor, label: Tensor) -> FitBatch:
        return Batch(x, label, self._suite, self.ledger, self._teacher)

    def grid(self, spec: str, intervals: int) -> Grid:
        """See ``FitTask.grid``."""
        return make_grid(spec, intervals, self.sigma_min, self.sigma_max, self.process)

    def data(self, count: int) -> FitBatch:
        """See ``FitTask.data``."""
        if self._data is None:
            self._data = self._suite.training_data()
        x0, label = self._data
        chosen = torch.randint(len(x0), (count,), generator=self.generator)
        self.images += count
        return self._batch(x0[chosen], label[chosen])

    def noise(self, count: int) -> FitBatch:
        """See ``FitTask.noise``; the conditioning is that of ``count`` random sample indices."""
        eps = torch.randn(count, *self._suite.shape, generator=self.generator)
        index = torch.randint(self._suite.samples, (count,), generator=self.generator)
        return self._batch(self.sigma_max * eps, self._suite.label(index.tolist()))

    def student(self) -> nn.Module:
        """See ``FitTask.student``."""
        return self._suite.student(CPU).to(torch.float32).train().requires_grad_(True)

    def solver(self, spec: str) -> Solver:
        """See ``FitTask.solver``."""
        return make_solver(spec)

    def artifact(self, nfe: int) -> Mapping[str, Tensor]:
        """See ``FitTask.artifact``."""
        begin = time.perf_counter()
        self.base = self._other(nfe)
        self.waited += time.perf_counter() - begin
        return self.base.tensors()

    def progress(self, done: int, total: int, message: str = "") -> None:
        """See ``FitTask.progress``."""
        self._progress(done, total, message)


@dataclass(frozen=True)
class Fitter:
    """Fits the artifacts of one suite into one folder.

    Attributes:
        out: the root under which artifacts are written.
        seed: of every random choice.
        progress: called as ``progress(done, total, message)``; the message begins with the artifact's name.
    """

    suite: Suite
    out: Path
    seed: int = 0
    progress: Progress = field(default=ignore)

    def existing(self, method: Method, method_name: str, nfe: int) -> Artifact | None:
        """The same fit, if this folder has it already; one that is damaged or of another kind counts as missing."""
        try:
            found = artifacts.load(self.out, self.suite, method, method_name, nfe)
        except AssetError:
            return None
        return found if found is not None and found.meta.seed == self.seed else None

    def fit(self, method: Method, method_name: str, nfe: int) -> Artifact:
        """Fit the artifact for a budget, and before it those it starts from that the folder lacks; write them.

        Raises:
            Unsupported: there is nothing to fit, this budget is impossible, or the suite lacks what is needed.
            OutputError: the folder cannot be written.
        """
        name = method.artifact_name(nfe)

        def other(budget: int) -> Artifact:
            if method.artifact_name(budget) in ("", name):
                raise ValueError(f"the artifact {name} of {method_name} cannot start from itself")
            return self.existing(method, method_name, budget) or self.fit(method, method_name, budget)

        def progress(done: int, total: int, message: str) -> None:
            self.progress(done, total, f"{name} {message}".rstrip())

        source = generator("fit", artifacts.suite_spec(self.suite), method_name, name, self.seed)
        task = Task(self.suite, source, other, progress)
        begin = time.perf_counter()
        tensors = method.fit(task, nfe)
        seconds = time.perf_counter() - begin - task.waited
        return artifacts.save(self.out, tensors, self._meta(task, method, method_name, nfe, seconds))

    def _meta(self, task: Task, method: Method, method_name: str, nfe: int, seconds: float) -> Meta:
        suite, spec = artifacts.suite_spec(self.suite), canonical("method", method_name, method)
        base = task.base.meta if task.base is not None else None
        words = ["bench", "fit", "--suite", suite, "--methods", spec, "--nfe", str(nfe), "--seed", str(self.seed)]
        return Meta(
            suite=suite,
            teacher=self.suite.teacher_id(),
            method=spec,
            params=artifacts.fit_params(method),
            name=method.artifact_name(nfe),
            nfe=nfe,
            seed=self.seed,
            base=base.sha256 if base else "",
            fit_evals=task.ledger.network_rows + (base.fit_evals if base else 0),
            fit_images=task.images + (base.fit_images if base else 0),
            fit_seconds=round(seconds + (base.fit_seconds if base else 0.0), 1),
            command=shlex.join(words),
            environment=describe("cpu", torch.get_num_threads()),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )
