"""A sweep over a pipeline: nearly all of its time is the pipeline's own networks, and its memory does not grow."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))
import tiny

from bench import loaded
from bench.execute import Job, execute
from bench.plan import make_plan
from bench.request import Request
from bench.suites._pipeline import forget

pytestmark = pytest.mark.perf

PADDING = 0.2  # seconds per forward pass: what SDXL takes on a GPU, within a factor of two
GROWTH = 1.05


@contextmanager
def timed(owner: Any, name: str, spent: list[float], calls: list[int], padding: float = 0.0) -> Iterator[None]:
    """Count the seconds and the calls of a method, and make it slower."""
    inner: Callable[..., Any] = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        time.sleep(padding)
        result = inner(*args, **kwargs)
        spent.append(time.perf_counter() - start)
        calls.append(1)
        return result

    setattr(owner, name, call)
    yield
    setattr(owner, name, inner)


def jobs(folder: Path, out: Path, samples: int, methods: str, nfe: tuple[int, ...], **options: str) -> list[Job]:
    settings = ",".join(f"{key}={value}" for key, value in options.items())
    request = Request(suite=f"diffusers[model={folder},{settings}]", methods=methods, nfe=nfe, samples=samples)
    plan = make_plan(request)
    return [Job(planned.cell, plan.suite.batch, None, out) for planned in plan.cells]


def test_nineteen_twentieths_of_a_sweep_are_inside_the_pipelines_networks(tmp_path: Path, benchmark: Any) -> None:
    folder = tiny.save(tiny.stable_diffusion_xl(), tmp_path / "pipe")
    forget()
    cells = jobs(folder, tmp_path, 8, "ddim,dpm_solver_pp,unipc,ipndm", (2, 4, 8), prompts="own", metrics="rmse")
    pipe = loaded.teacher(cells[0].cell.suite, "cpu", "float32").network.pipeline.pipe  # type: ignore[attr-defined]
    spent: list[float] = []
    encoded: list[int] = []
    start = time.perf_counter()
    with (
        timed(pipe.unet, "forward", spent, [], PADDING),
        timed(pipe.text_encoder, "forward", spent, encoded),
        timed(pipe.text_encoder_2, "forward", spent, []),
        timed(pipe.vae, "decode", spent, []),
    ):
        benchmark.pedantic(lambda: [execute(job) for job in cells], rounds=1)
    share = sum(spent) / (time.perf_counter() - start)
    benchmark.extra_info["share inside the networks"] = share
    assert len(encoded) <= 3  # eight prompts and the null one, in batches, once for twelve cells
    assert share >= 0.95


def peak(folder: Path, out: Path, samples: int) -> int:
    """Largest resident size, in KiB, of a process that runs one cell."""
    out.mkdir()
    code = f"import test_pipeline_sweep as here; here.run_cell({str(folder)!r}, {str(out)!r}, {samples})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[-1])


def run_cell(folder: str, out: str, samples: int) -> None:
    """The child's part: a cell with a streamed reference solution and a distance between features."""
    (job,) = jobs(Path(folder), Path(out), samples, "ddim", (1,), batch_size="200", solution_steps="2")
    assert execute(job).metrics
    sys.stdout.write(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}\n")


def test_ten_times_the_samples_take_no_more_memory(tmp_path: Path, benchmark: Any) -> None:
    folder = tiny.save(tiny.ddpm(), tmp_path / "pipe")
    few = peak(folder, tmp_path / "few", 2_000)
    many = benchmark.pedantic(peak, args=(folder, tmp_path / "many", 20_000), rounds=1)
    benchmark.extra_info["MiB at 2,000"], benchmark.extra_info["MiB at 20,000"] = few // 1024, many // 1024
    assert many <= GROWTH * few
