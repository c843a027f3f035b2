"""Counting: calls, rows, and the budget."""

import pytest
import torch
from torch import Tensor

from bench.nfe import BudgetExceeded, Ledger


def double(x: Tensor, sigma: float | Tensor) -> Tensor:
    return 2 * x


def test_calls_and_rows_are_counted_and_results_passed_on() -> None:
    ledger = Ledger(budget=3)
    denoise = ledger.denoiser(double)
    assert torch.equal(denoise(torch.ones(5, 2), 1.0), 2 * torch.ones(5, 2))
    denoise(torch.ones(7, 2), torch.ones(7))
    assert (ledger.nfe, ledger.rows, ledger.network_rows) == (2, 12, 0)


def test_the_call_beyond_the_budget_is_refused_and_not_counted() -> None:
    ledger = Ledger(budget=2)
    seen = []
    denoise = ledger.denoiser(lambda x, sigma: seen.append(sigma) or x)
    for sigma in (2.0, 1.0):
        denoise(torch.ones(1, 1), sigma)
    with pytest.raises(BudgetExceeded, match="asked for 2 denoiser calls"):
        denoise(torch.ones(1, 1), 0.5)
    assert ledger.nfe == 2
    assert seen == [2.0, 1.0]


def test_no_budget_only_counts() -> None:
    ledger = Ledger()
    denoise = ledger.denoiser(double)
    for _ in range(50):
        denoise(torch.ones(2, 1), 1.0)
    assert (ledger.nfe, ledger.rows) == (50, 100)


def test_a_budget_of_zero_allows_nothing() -> None:
    with pytest.raises(BudgetExceeded):
        Ledger(budget=0).denoiser(double)(torch.ones(1, 1), 1.0)


def test_several_denoisers_share_a_budget() -> None:
    ledger = Ledger(budget=2)
    teacher, student = ledger.denoiser(double), ledger.denoiser(double)
    teacher(torch.ones(1, 1), 1.0)
    student(torch.ones(1, 1), 1.0)
    with pytest.raises(BudgetExceeded):
        teacher(torch.ones(1, 1), 1.0)


def test_network_rows_are_those_of_the_first_argument() -> None:
    ledger = Ledger()
    network = ledger.network(lambda x, sigma, label: x + label[:, None])
    out = network(torch.zeros(4, 2), torch.ones(4), torch.arange(4))
    assert out[:, 0].tolist() == [0, 1, 2, 3]
    assert (ledger.network_rows, ledger.nfe) == (4, 0)
