"""CMMD against the formula of the paper over all pairs, and the coverage of its interval."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bench.metrics import _features, _kernels
from bench.metrics._features import Rows
from bench.metrics.cmmd import CMMD

Array = NDArray[np.float64]


def made(n: int, d: int, seed: int, shift: float = 0.0) -> Array:
    x = np.random.default_rng(seed).standard_normal((n, d)) + shift
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def published(x: Array, y: Array, sigma: float = 10.0, scale: float = 1000.0) -> float:
    """Every point its own neighbour, pair by pair, in torch's float64."""
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    gamma = 1 / (2 * sigma**2)
    xx, yy, xy = (torch.exp(-gamma * torch.cdist(p, q) ** 2).mean() for p, q in ((a, a), (b, b), (a, b)))
    return float(scale * (xx + yy - 2 * xy))


def test_equals_the_published_formula() -> None:
    x, y = made(64, 16, 0, 0.3), made(80, 16, 1)
    assert CMMD().value(Rows(x), Rows(y)).value == pytest.approx(published(x, y), rel=1e-6)
    ours = CMMD(sigma=0.5, scale=1.0).value(Rows(x), Rows(y)).value
    assert ours == pytest.approx(published(x, y, 0.5, 1.0), rel=1e-9)


def test_pieces_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = made(64, 16, 0, 0.3), made(80, 16, 1)
    whole = CMMD().value(Rows(x), Rows(y))
    monkeypatch.setattr(_features, "ROWS", 7)
    monkeypatch.setattr(_kernels, "CHUNK", 3)
    parts = CMMD().value(Rows(x), Rows(y))
    assert parts.value == pytest.approx(whole.value, rel=1e-9)
    assert parts.influence == pytest.approx(whole.influence, abs=1e-9)


def test_the_unbiased_estimate_is_centred_on_0_for_equal_distributions() -> None:
    found = [CMMD(sigma=1).value(Rows(made(60, 4, s)), Rows(made(60, 4, 500 + s))) for s in range(100)]
    unbiased = [each.detail["unbiased"] for each in found]
    assert abs(np.mean(unbiased)) < 4 * np.std(unbiased) / 100**0.5
    assert all(each.value > each.detail["unbiased"] for each in found)


def test_intervals_hold_the_expectation() -> None:
    reference = Rows(made(200, 4, 10_000))
    found = [CMMD(sigma=1).value(Rows(made(150, 4, s, 0.5)), reference) for s in range(100)]
    centre = np.mean([each.value for each in found])
    held = sum(each.low <= centre <= each.high for each in found if each.low is not None and each.high is not None)
    assert 88 <= held <= 100


def test_the_id_names_network_and_resize() -> None:
    assert CMMD().network_id() == "clip-vit-l-14-336-openai@3035c92b/cmmd"
