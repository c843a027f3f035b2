"""One cell: counted, scored in batches, and its FLOPs known in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import execute as module
from bench import loaded, registry
from bench.api import Unsupported
from bench.errors import OutputError
from bench.execute import Job, Result, WrongCount, execute, probe
from bench.loaded import SolutionKey, solution
from bench.nfe import BudgetExceeded
from bench.plan import make_plan
from bench.request import Request, add_plugins

PLUGINS = Path(__file__).parent / "faults" / "plugins"


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_by_path", {})
    add_plugins([str(PLUGINS / "faulty.py"), *(f"metric:{PLUGINS / name}.py" for name in ("mean_norm", "gap"))])
    loaded.solution.cache_clear()
    yield
    loaded.solution.cache_clear()


def job(tmp_path: Path, methods: str = "ddim", nfe: int = 2, batch: int = 10, **changes: object) -> Job:
    request = Request(suite="mixture", methods=methods, nfe=(nfe,), samples=10, metrics="mean_norm,gap")
    cell = make_plan(replace(request, **changes)).cells[0].cell  # type: ignore[arg-type]
    return Job(cell, batch, None, tmp_path)


def test_no_number_depends_on_the_batch_size(tmp_path: Path) -> None:
    whole, parts = execute(job(tmp_path)), execute(job(tmp_path, batch=3))
    assert whole.metrics.keys() == parts.metrics.keys()
    for identifier, measured in whole.metrics.items():
        assert parts.metrics[identifier].value == pytest.approx(measured.value, rel=1e-6)
    assert (whole.nfe, whole.network_evals) == (parts.nfe, parts.network_evals) == (2, 2.0)
    assert whole.arrays["influence"].dtype == np.float32
    np.testing.assert_allclose(whole.arrays["influence"], parts.arrays["influence"], atol=1e-6)


def test_influence_is_on_the_first_metric_with_a_number(tmp_path: Path) -> None:
    found = execute(job(tmp_path, metrics="fid,mean_norm"))
    assert [name.partition(":")[0] for name in found.missing] == ["fid"]
    assert np.array_equal(found.arrays["influence"], execute(job(tmp_path)).arrays["influence"])


def test_no_picture_depends_on_the_batch_size(tmp_path: Path) -> None:
    found = [execute(job(tmp_path, batch=n, suite="digits", metrics="mean_norm")).arrays["preview"] for n in (10, 1)]
    assert found[0].shape == found[1].shape == (10, 1, 8, 8)
    assert np.abs(found[0].astype(int) - found[1]).max() <= 1  # a rounding may fall the other way


def test_guidance_doubles_network_evals_and_not_nfe(tmp_path: Path) -> None:
    guided = execute(job(tmp_path, suite="mixture[guidance_scale=2.0]"))
    assert (guided.nfe, guided.network_evals) == (2, 4.0)


def test_the_gap_to_the_solution_vanishes_with_the_step(tmp_path: Path) -> None:
    gaps = [_gap(execute(job(tmp_path, nfe=nfe))) for nfe in (20, 40, 80)]
    # Euler's method is of order 1: the error halves
    assert gaps[0] / gaps[1] == pytest.approx(2, rel=0.25)
    assert gaps[1] / gaps[2] == pytest.approx(2, rel=0.25)


def _gap(result: Result) -> float:
    return next(measured.value for identifier, measured in result.metrics.items() if identifier.startswith("gap"))


@pytest.mark.parametrize(
    ("how", "error"),
    [("few", WrongCount), ("many", BudgetExceeded), ("nan", ValueError), ("no", Unsupported), ("raise", RuntimeError)],
)
def test_what_does_not_count(tmp_path: Path, how: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        execute(job(tmp_path, f"faulty[how={how}]"))


def test_flops_are_multiply_adds_times_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.ones(2, 3)

    def network(x: torch.Tensor, sigma: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(torch.nn.functional.linear(x, weight.T), weight)

    teacher = replace(loaded.teacher("mixture", "cpu", "float32"), network=network)
    cell = job(tmp_path, nfe=3).cell
    method = registry.create("method", "ddim")
    # a sample, each evaluation: 2 -> 3 and 3 -> 2, six multiply-adds each
    assert probe(teacher, method, cell, {}) == 3 * (6 + 6) * 2


def test_an_artifact_that_changed_since_planning_is_refused(tmp_path: Path) -> None:
    planned = job(tmp_path)
    changed = replace(planned, cell=planned.cell.model_copy(update={"artifact": "0" * 64}))
    with pytest.raises(ValueError, match="has changed since"):
        execute(changed)


def test_the_solution_is_computed_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = SolutionKey("mixture[preset=gaussian]", "r", 0, 6, "float64")
    whole = solution(key, "cpu", tmp_path).rows(0, 6)
    assert whole.shape == (6, 4) and whole.dtype == torch.float64
    loaded.solution.cache_clear()
    monkeypatch.setattr(loaded, "_solve", lambda *_: pytest.fail("computed again"))
    again = solution(key, "cpu", tmp_path)
    assert torch.equal(again.rows(0, 6), whole)
    assert torch.equal(again.rows(2, 4), whole[2:4])
    assert [path.name for path in tmp_path.iterdir()] == [key.path(tmp_path).name]


def test_a_damaged_solution_is_computed_again(tmp_path: Path) -> None:
    key = SolutionKey("mixture[preset=gaussian]", "r", 0, 6, "float64")
    whole = solution(key, "cpu", tmp_path).rows(0, 6)
    assert whole.shape == (6, 4) and whole.dtype == torch.float64
    loaded.solution.cache_clear()
    key.path(tmp_path).write_bytes(key.path(tmp_path).read_bytes()[:-8])
    assert torch.equal(solution(key, "cpu", tmp_path).rows(0, 6), whole)


def test_a_solution_that_vanished_is_a_sentence(tmp_path: Path) -> None:
    found = solution(SolutionKey("mixture[preset=gaussian]", "r", 0, 6, "float64"), "cpu", tmp_path)
    next(tmp_path.iterdir()).unlink()
    with pytest.raises(OutputError, match="run the same command"):
        found.rows(0, 1)


def test_the_environment_is_stated(tmp_path: Path) -> None:
    environment = module.execute(job(tmp_path)).environment
    assert environment["threads"] == torch.get_num_threads()
    assert environment["torch"] == torch.__version__.partition("+")[0]
    assert environment["fingerprint"]
