"""Noise: sample i is sample i, whatever stands beside it."""

import hashlib
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.rng import SampleNoise, derive, generator

KEY = ("suite", 0, "initial")


def by_hand(text: str) -> int:
    """The top 63 bits of the SHA-256 of the parts joined by bars."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:16], 16) // 2


def test_seeds_are_derived_as_documented() -> None:
    assert derive("digits", 3, "initial", 17) == by_hand("digits|3|initial|17")
    assert 0 <= derive("digits", 3, "initial", 17) < 2**63


def test_noise_of_a_sample_is_what_its_own_generator_draws() -> None:
    noise = SampleNoise(("digits", 3, "initial"), [5, 17], (1, 8, 8))
    first, second = noise.normal(), noise.normal()
    source = torch.Generator().manual_seed(by_hand("digits|3|initial|17"))
    assert torch.equal(first[1], torch.empty(1, 8, 8).normal_(generator=source))
    assert torch.equal(second[1], torch.empty(1, 8, 8).normal_(generator=source))


def test_another_process_draws_the_same() -> None:
    code = "from bench.rng import SampleNoise as S; print(S(('s', 1, 'method'), [9], (3,)).normal().tolist())"
    environment = {"PYTHONHASHSEED": "12345", "PYTHONPATH": ":".join(sys.path)}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert out.stdout.strip() == str(SampleNoise(("s", 1, "method"), [9], (3,)).normal().tolist())


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8, unique=True), st.integers(0, 7))
def test_neighbours_and_order_do_not_matter(index: list[int], pick: int) -> None:
    pick %= len(index)
    together = SampleNoise(KEY, index, (2, 3))
    alone = SampleNoise(KEY, index[pick : pick + 1], (2, 3))
    for _ in range(2):
        assert torch.equal(together.normal()[pick], alone.normal()[0])


def test_streams_seeds_suites_and_samples_differ() -> None:
    keys = [("a", 0, "initial"), ("b", 0, "initial"), ("a", 1, "initial"), ("a", 0, "method")]
    rows = torch.cat([SampleNoise(key, range(3), (16,)).normal() for key in keys])  # type: ignore[arg-type]
    assert len({tuple(row.tolist()) for row in rows}) == 12


def test_drawing_from_one_stream_leaves_the_other_alone() -> None:
    expected = SampleNoise(("a", 0, "method"), [0], (4,)).normal()
    initial, method = (SampleNoise(("a", 0, stream), [0], (4,)) for stream in ("initial", "method"))
    for _ in range(3):
        initial.normal()
    assert torch.equal(method.normal(), expected)


def test_every_precision_starts_from_the_same_numbers() -> None:
    single = SampleNoise(KEY, range(4), (5,)).normal()
    double = SampleNoise(KEY, range(4), (5,), torch.float64).normal()
    assert double.dtype == torch.float64
    assert torch.equal(single.double(), double)


def test_the_global_generator_is_neither_used_nor_moved() -> None:
    before = torch.get_rng_state()
    first = SampleNoise(KEY, range(4), (5,)).normal()
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(3)
    assert torch.equal(first, SampleNoise(KEY, range(4), (5,)).normal())


def test_the_numbers_are_standard_normal_and_independent() -> None:
    drawn = SampleNoise(KEY, range(4000), (4,)).normal().double()
    assert float(drawn.mean()) == pytest.approx(0, abs=4 / 126)  # sqrt(16000) = 126
    assert torch.corrcoef(drawn.T).numpy() == pytest.approx(torch.eye(4).numpy(), abs=4 / 63)
    assert float(torch.corrcoef(torch.stack([drawn[:-1].flatten(), drawn[1:].flatten()]))[0, 1]) == pytest.approx(
        0, abs=0.032
    )
    assert float(drawn.pow(4).mean()) == pytest.approx(3, abs=4 * (96 / 16000) ** 0.5)


def test_named_generators_repeat() -> None:
    draws = [torch.rand(3, generator=generator("a", 1)).tolist() for _ in range(2)]
    assert draws[0] == draws[1] != torch.rand(3, generator=generator("a", 2)).tolist()
