"""The training loop: an interrupted training ends where an uninterrupted one does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor, nn

from bench.nets.optimise import Plan, seeded
from bench.tiny import training
from bench.tiny.training import How, train

PLAN = Plan(steps=12, rate=0.05, warm_up=2, batch=4, decay=0.9)


def problem() -> tuple[nn.Module, training.Loss]:
    module = seeded(lambda: nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.SiLU(), nn.Linear(8, 1)), 0)

    def loss(generator: Generator, _: int) -> Tensor:
        x = torch.randn(16, 3, generator=generator)
        value: Tensor = (module(x) - x.sum(1, keepdim=True)).square().mean()
        return value

    return module, loss


def stop_after(steps: int, loss: training.Loss) -> training.Loss:
    """The same loss, until the machine is switched off."""
    calls = 0

    def limited(generator: Generator, step: int) -> Tensor:
        nonlocal calls
        if calls == steps:
            raise KeyboardInterrupt
        calls += 1
        return loss(generator, step)

    return limited


@pytest.mark.parametrize("half", [False, True])
def test_resumed_training_gives_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, half: bool) -> None:
    whole, record = train(*problem(), PLAN, How(seed=5, half=half))
    monkeypatch.setattr(training, "SAVE_EVERY", 0.0)
    module, loss = problem()
    how = How(seed=5, checkpoint=tmp_path / "c", half=half)
    with pytest.raises(KeyboardInterrupt):
        train(module, stop_after(7, loss), PLAN, how)
    resumed, again = train(*problem(), PLAN, how)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert again["loss_curve"] == record["loss_curve"] and again["steps"] == 12 and again["images"] == 48


def test_it_learns_and_returns_the_average_not_the_last_weights() -> None:
    module, loss = problem()
    average, record = train(module, loss, Plan(steps=300, rate=0.02, warm_up=10, batch=16, decay=0.9), How(seed=1))
    assert record["loss_curve"][-1] < 0.2 * record["loss_curve"][0]
    assert not torch.equal(average["0.weight"], module.state_dict()["0.weight"])
    module.load_state_dict(average)
    module.eval()
    with torch.no_grad():
        assert float(loss(Generator().manual_seed(9), 0)) < 0.2


def test_progress_ends_at_the_total() -> None:
    seen: list[tuple[int, int]] = []
    train(*problem(), PLAN, How(seed=0, progress=lambda done, total, _: seen.append((done, total))))
    assert seen[-1] == (12, 12)
