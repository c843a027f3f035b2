"""How much of sampling is the teacher: the rest is noise, solver arithmetic and counting."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from torch import Tensor

from bench import registry
from bench.sampling import Teacher
from bench.suites.digits import Digits

pytestmark = pytest.mark.perf

SOLVERS = ("ddim", "ddpm", "dpm_solver", "dpm_solver_pp", "deis", "unipc", "ipndm")


@pytest.mark.parametrize("name", SOLVERS)
def test_nine_tenths_of_sampling_are_inside_the_denoiser(name: str, benchmark: Any) -> None:
    teacher = Teacher.load(Digits())
    inside: list[float] = []

    def timed(*args: Tensor) -> Tensor:
        start = time.perf_counter()
        output = teacher.network(*args)
        inside.append(time.perf_counter() - start)
        return output

    watched = replace(teacher, network=timed)
    method = registry.create("method", name)
    watched.generate(method, 4, 0, range(500))
    inside.clear()
    benchmark.pedantic(watched.generate, args=(method, 4, 0, range(500)), rounds=5)
    share = sum(inside) / benchmark.stats.stats.total
    benchmark.extra_info["share inside the denoiser"] = share
    assert share >= 0.9
