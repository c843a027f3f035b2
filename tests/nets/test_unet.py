"""The U-Net: size, independence within a batch, use of every input, round trip through JSON."""

import json
from dataclasses import asdict

import pytest
import torch
from torch import Generator, Tensor

from bench.nets.optimise import seeded
from bench.nets.unet import UNet, UNetConfig

SMALL = UNetConfig(width=8, inner_width=16, inner_blocks=1, embedding=16)


def lively(config: UNetConfig = SMALL) -> UNet:
    """A network without the zeros of its initialisation, so that every path reaches the output."""
    net = seeded(lambda: UNet(config), 0).eval().requires_grad_(False)
    generator = Generator().manual_seed(1)
    for parameter in net.parameters():
        parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return net


def inputs(count: int, channels: int = 1, size: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    generator = Generator().manual_seed(2)
    x = torch.randn(count, channels, size, size, generator=generator)
    return x, torch.randn(count, generator=generator), torch.arange(count) % 11


def test_default_size_is_within_the_budget() -> None:
    parameters = sum(p.numel() for p in UNet(UNetConfig()).parameters())
    assert 400_000 <= parameters <= 650_000


def test_fresh_network_starts_from_its_last_bias() -> None:
    net = UNet(UNetConfig())
    out = net(*inputs(3))
    assert out.shape == (3, 1, 8, 8)
    assert out.dtype == torch.float32
    assert net.last.bias is not None
    assert torch.equal(out, net.last.bias.view(1, 1, 1, 1).expand_as(out))


def test_samples_of_a_batch_do_not_see_each_other() -> None:
    net, (x, noise, label) = lively(), inputs(7)
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    together = net(x, noise, label)
    torch.testing.assert_close(net(x[order], noise[order], label[order]), together[order])
    torch.testing.assert_close(net(x[2:3], noise[2:3], label[2:3]), together[2:3])


@pytest.mark.parametrize("changed", [0, 1, 2])
def test_every_input_matters(changed: int) -> None:
    net, before = lively(), list(inputs(4))
    after = list(before)
    after[changed] = before[changed].flip(0)
    assert (net(*before) - net(*after)).abs().amax(dim=(1, 2, 3)).min() > 1e-4


def test_every_pixel_sees_every_pixel() -> None:
    net, (x, noise, label) = lively(), inputs(1)
    x.requires_grad_()
    net(x, noise, label)[0, 0, 0, 0].backward()
    assert x.grad is not None
    assert x.grad.abs().min() > 0


def test_every_weight_is_trained() -> None:
    net = lively().requires_grad_(True)
    net(*inputs(11)).square().mean().backward()
    idle = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_other_channels_and_sizes() -> None:
    net = lively(UNetConfig(channels=3, classes=10, width=8, inner_width=16, inner_blocks=2, embedding=16))
    assert net(*inputs(2, channels=3, size=16)).shape == (2, 3, 16, 16)


def test_the_null_label_is_the_last() -> None:
    x, noise, _ = inputs(1)
    net = lively()
    net(x, noise, torch.tensor([SMALL.classes]))
    with pytest.raises(IndexError):
        net(x, noise, torch.tensor([SMALL.classes + 1]))


def test_rebuilt_from_json() -> None:
    net = lively()
    again = UNet(UNetConfig(**json.loads(json.dumps(asdict(net.config)))))
    assert again.config == net.config
    again.load_state_dict(net.state_dict())
    assert torch.equal(again(*inputs(3)), net(*inputs(3)))
