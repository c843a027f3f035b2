"""What a solver costs beside the denoiser: at most half of the same diffusers scheduler's ``step``, in one run."""

from __future__ import annotations

import importlib
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from bench.grids import make_grid
from bench.process import EDM
from bench.registry import create

pytestmark = pytest.mark.perf

STEPS, ROUNDS = 20, 40
SHAPE = (1, 4, 64, 64)
PAIRS = [
    ("ddim", "DDIMScheduler", {}),
    ("dpm_solver_pp", "DPMSolverMultistepScheduler", {"solver_order": 2}),
    ("dpm_solver_pp[order=3]", "DPMSolverMultistepScheduler", {"solver_order": 3}),
    ("deis[variant=logrho,order=2]", "DEISMultistepScheduler", {"solver_order": 2}),
    ("deis[variant=logrho,order=3]", "DEISMultistepScheduler", {"solver_order": 3}),
    ("deis", "DEISMultistepScheduler", {"solver_order": 3}),
    ("unipc", "UniPCMultistepScheduler", {"solver_order": 2}),
    ("unipc[order=3]", "UniPCMultistepScheduler", {"solver_order": 3}),
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def ours(spec: str) -> Callable[[], object]:
    """All steps, coefficients included, with a denoiser that costs nothing."""
    solver = create("method", spec)
    grid = make_grid("karras", STEPS, 0.02, 10.0, EDM())
    x, answer = torch.randn(SHAPE), torch.randn(SHAPE)

    @torch.inference_mode()
    def run() -> object:
        return solver.integrate(lambda *_: answer, x, grid, None)

    return run


def theirs(name: str, config: dict[str, Any]) -> tuple[Callable[[], object], Callable[[], None]]:
    """All steps, and apart from them what has to be done before each run."""
    pytest.importorskip("diffusers")
    scheduler = getattr(importlib.import_module("diffusers"), name)(**config)
    x, answer = torch.randn(SHAPE), torch.randn(SHAPE)

    @torch.inference_mode()
    def run() -> object:
        sample = x
        for t in scheduler.timesteps:
            sample = scheduler.step(answer, t, sample, return_dict=False)[0]
        return sample

    return run, lambda: scheduler.set_timesteps(STEPS)


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(("spec", "name", "config"), PAIRS, ids=[pair[0] for pair in PAIRS])
def test_costs_at_most_half_of_diffusers(benchmark, spec: str, name: str, config: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run, (their_run, prepare) = ours(spec), theirs(name, config)
    samples = []
    for _ in range(ROUNDS):  # alternating, so that both see the same machine
        prepare()
        samples.append((seconds(run), seconds(their_run)))
    mine, other = (statistics.median(column) for column in zip(*samples, strict=True))
    benchmark.extra_info |= {"diffusers_us_per_step": 1e6 * other / STEPS, "ratio": mine / other}
    benchmark.pedantic(run, rounds=10)
    assert mine <= 0.5 * other, f"{1e6 * mine / STEPS:.0f} us per step, diffusers {1e6 * other / STEPS:.0f}"
