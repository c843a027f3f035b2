"""The moving average against its closed form."""

import pytest
import torch
from torch import nn

from bench.nets.ema import EMA


def holding(value: float) -> nn.Linear:
    layer = nn.Linear(1, 1)
    with torch.no_grad():
        layer.weight.fill_(value)
        layer.bias.fill_(-value)
    return layer


def test_starts_at_the_weights_and_does_not_share_them() -> None:
    layer = holding(3.0)
    average = EMA(layer, 0.9)
    with torch.no_grad():
        layer.weight.fill_(5.0)
    assert average.state["weight"].item() == 3.0
    assert not average.state["weight"].requires_grad


def test_closed_form() -> None:
    # constant weights 1 after a start at 0: 1 - average = product of the decays
    average, target = EMA(holding(0.0), 0.5), holding(1.0)
    left = 1.0
    for t in range(30):
        average.update(target)
        left *= min(0.5, (1 + t) / (10 + t))
        assert 1 - average.state["weight"].item() == pytest.approx(left, abs=1e-6)
        assert average.state["bias"].item() == pytest.approx(-average.state["weight"].item())


def test_buffers_are_copied() -> None:
    norm = nn.BatchNorm1d(2)
    average = EMA(norm, 0.99)
    norm(torch.tensor([[1.0, 2.0], [3.0, 5.0]]))
    average.update(norm)
    assert norm.running_mean is not None
    assert torch.equal(average.state["running_mean"], norm.running_mean)
    assert average.state["num_batches_tracked"].item() == 1


def test_state_loads_into_a_module() -> None:
    average, fresh = EMA(holding(2.0), 0.9), holding(0.0)
    fresh.load_state_dict(average.state)
    assert fresh.weight.item() == 2.0


@pytest.mark.parametrize("decay", [-0.1, 1.0, 1.5])
def test_decay_is_checked(decay: float) -> None:
    with pytest.raises(ValueError, match="decay"):
        EMA(holding(0.0), decay)
