"""The shipped U-Net in parts, inside its preconditioning."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bench.nets.precond import EDMPrecond
from bench.nets.unet import UNet, UNetConfig
from bench.reuse import Memory, Part, supports_reuse


@pytest.fixture(scope="module")
def network() -> EDMPrecond:
    torch.manual_seed(0)
    net = UNet(UNetConfig(width=8, inner_width=16, inner_blocks=3, embedding=16))
    for weight in net.parameters():  # zero-initialised layers would hide what is wrong before them
        torch.nn.init.normal_(weight, std=0.2)
    return EDMPrecond(net, 0.5).requires_grad_(False)


X = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(3))
SIGMA, LABEL = torch.tensor([2.0, 0.5]), torch.tensor([1, 7])


def features(network: EDMPrecond) -> Memory:
    memory: Memory = {}
    assert torch.equal(network.partial(X, SIGMA, LABEL, memory, "full"), network(X, SIGMA, LABEL))
    return memory


@pytest.mark.parametrize("part", ["deep", "encoder"])
def test_unchanged_input_gives_unchanged_output(network: EDMPrecond, part: Part) -> None:
    found = network.partial(X, SIGMA, LABEL, features(network), part)
    assert torch.equal(found, network(X, SIGMA, LABEL))


def test_encoder_part_follows_the_state_through_the_skip_of_the_preconditioning_only(network: EDMPrecond) -> None:
    memory = features(network)
    there, here = (network.partial(x, SIGMA, LABEL, memory, "encoder") for x in (X + 1, X))
    skip = 0.25 / (SIGMA**2 + 0.25)
    torch.testing.assert_close(there - here, skip.view(-1, 1, 1, 1).expand_as(X))


def flops(network: EDMPrecond, part: Part) -> int:
    memory = features(network)
    with FlopCounterMode(display=False) as counter:
        network.partial(X, SIGMA, LABEL, memory, part)
    return int(counter.get_total_flops())


def test_flops_of_the_parts(network: EDMPrecond) -> None:
    """What a part leaves out are the layers that it names, counted by hand: 2 x multiply-adds of their products."""
    rows, full_res, half_res, w, v = 2, 64, 16, 8, 16
    conv = lambda i, o, k, pixels: 2 * rows * pixels * i * o * k * k  # noqa: E731
    linear = lambda i, o, tokens=1: 2 * rows * tokens * i * o  # noqa: E731
    block = lambda i, o, pixels: conv(i, o, 3, pixels) + conv(o, o, 3, pixels) + linear(16, 2 * o)  # noqa: E731
    attention = linear(v, 3 * v, half_res) + linear(v, v, half_res) + 2 * 2 * rows * half_res**2 * v
    shallow = conv(1, w, 3, full_res) + block(w, w, full_res)
    encoder = conv(w, v, 2, half_res) + 2 * block(v, v, half_res) + attention
    decoder = block(v, v, half_res) + conv(v, w, 2, half_res)
    full = flops(network, "full")
    assert full - flops(network, "deep") == encoder + decoder
    assert full - flops(network, "encoder") == shallow + encoder


def test_the_capability_needs_the_network_inside_as_well() -> None:
    class Plain(torch.nn.Module):
        def forward(self, x: Tensor, noise: Tensor, label: Tensor) -> Tensor:
            return x

    assert supports_reuse(EDMPrecond(UNet(UNetConfig()), 0.5))
    assert not supports_reuse(EDMPrecond(Plain(), 0.5))
