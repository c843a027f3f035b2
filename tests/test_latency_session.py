from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from bench import registry
from bench.errors import UsageError
from bench.latency_session import Wanted, at_resolutions, measure_all
from bench.record import Record, Status
from bench.request import Request

SUITE = '''
"""A mixture with stages and a choice of size."""

import torch

from bench.info import Info
from bench.suites.mixture import Mixture

INFO = Info(summary="A mixture with stages.")


class Staged(Mixture):
    """Has stages."""

    height: int = 64
    width: int = 64

    def network(self, device, dtype):
        """The mixture's, if it fits."""
        if self.height == 33:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().network(device, dtype)

    def encode(self, index):
        """Nothing to encode."""

    def decode(self, samples):
        """Nothing to decode."""
        return samples
'''


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("suites") / "staged_mixture.py"
    path.write_text(SUITE)
    yield registry.add_path("suite", path)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def request(suite: str, methods: str = "ddim,heun", nfe: tuple[int, ...] = (2, 3)) -> Request:
    return Request(suite=suite, methods=methods, nfe=nfe, latency=True, latency_threads=1)


def test_every_cell_ends_as_one_record_in_the_order_of_the_plan(staged: str) -> None:
    told: list[str] = []
    records = measure_all([request(staged)], Wanted(seconds=0.01, batches=(2, 3), rounds=2, group=2), told.append)
    assert [(record.cell.method, record.cell.nfe) for record in records] == [
        ("ddim", 2),
        ("ddim", 3),
        ("heun", 2),
        ("heun", 3),
    ]
    assert [record.status for record in records] == [Status.OK, Status.OK, Status.UNSUPPORTED, Status.OK]
    assert told[0] == "[1/4] ddim nfe=2" and len(told) == 4
    first = records[0]
    assert first.cell.metrics[0].startswith("latency-v2/cpu/float32/b=2,3/mode=eager/x=2/span=pipeline/")
    assert first.id == first.cell.id and len({record.id for record in records}) == 4
    assert [found.batch for found in first.latency] == [2, 3]
    assert set(first.latency[0].stages) == {"text_encoder", "denoiser", "solver", "decoder"}
    known = [name for name, value in first.latency[0].cold_stages.items() if value > 0]
    assert {"load", "denoiser", "solver"} <= set(known)
    assert "load" not in records[1].latency[0].cold_stages
    assert Record.model_validate_json(first.model_dump_json()) == first


def test_a_size_is_a_parameter_of_the_suite(staged: str) -> None:
    found = at_resolutions(request(f"{staged}[height=8,width=4]"), (16, 32))
    assert [each.suite for each in found] == [f"{staged}[height={size},width={size}]" for size in (16, 32)]
    assert at_resolutions(request(staged), ()) == [request(staged)]
    records = measure_all(
        at_resolutions(request(staged, "ddim", (1,)), (16, 32)),
        Wanted(seconds=0.01, batches=(1,), rounds=1),
        lambda text: None,
    )
    assert [record.cell.suite for record in records] == [f"{staged}[height={size},width={size}]" for size in (16, 32)]
    assert len({record.id for record in records}) == 2


def test_a_size_whose_network_does_not_fit_costs_no_other(staged: str) -> None:
    sizes = at_resolutions(request(staged, "ddim", (1, 2)), (16, 33, 32))
    records = measure_all(sizes, Wanted(seconds=0.01, batches=(1,), rounds=1), lambda text: None)
    assert [record.status for record in records] == [Status.OK] * 2 + [Status.OOM] * 2 + [Status.OK] * 2
    assert [record.cell.suite for record in records[2:4]] == [f"{staged}[height=33,width=33]"] * 2
    assert "CUDA out of memory" in records[2].reason


def test_a_suite_of_one_size_is_told_so() -> None:
    with pytest.raises(UsageError, match="mixture has one size only"):
        at_resolutions(request("mixture"), (512,))
