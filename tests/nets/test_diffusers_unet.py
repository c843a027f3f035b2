"""diffusers' U-Nets in parts: a full pass is the model's own, bit by bit, and what is skipped is what should be."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bench.nets.diffusers_unet import DiffusersUNet
from bench.reuse import Memory, Partial, Recall, supports_reuse

diffusers = pytest.importorskip("diffusers")


def unconditional() -> tuple[nn.Module, Tensor]:
    unet = diffusers.UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 16, 16),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        attention_head_dim=4,
        num_class_embeds=10,
    )
    return unet, torch.tensor([1, 2])


def conditional() -> tuple[nn.Module, Tensor]:
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=6,
        norm_num_groups=4,
        attention_head_dim=4,
    )
    return unet, torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=[unconditional, conditional])
def case(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    unet, condition = request.param()
    x = torch.randn(2, 1, 8, 8)
    before = unet.eval()(x, torch.tensor([3.0, 3.0]), condition, return_dict=False)[0].detach()
    return DiffusersUNet(unet), x, condition, before


T = torch.tensor([3.0, 3.0])


@torch.no_grad()
def test_a_full_pass_is_the_models_own(case: Any) -> None:
    net, x, condition, before = case
    assert torch.equal(net(x, T, condition), before)
    assert torch.equal(net.partial(x, T, condition, {}, "full"), before)
    assert torch.equal(net.unet(x, T, condition, return_dict=False)[0], before)  # and alone it works as ever


@torch.no_grad()
@pytest.mark.parametrize("part", ["deep", "encoder"])
def test_the_same_input_gives_the_same_output_from_features(case: Any, part: str) -> None:
    net, x, condition, before = case
    memory: Memory = {}
    net.partial(x, T, condition, memory, "full")
    assert torch.equal(net.partial(x, T, condition, memory, part), before)


@torch.no_grad()
def test_the_encoder_part_does_not_see_the_input_but_sees_the_time(case: Any) -> None:
    net, x, condition, before = case
    memory: Memory = {}
    net.partial(x, T, condition, memory, "full")
    assert torch.equal(net.partial(x + 1, T, condition, memory, "encoder"), before)
    assert not torch.allclose(net.partial(x, T + 5, condition, memory, "encoder"), before)


@torch.no_grad()
def test_the_deep_part_sees_the_input_through_its_outer_branch(case: Any) -> None:
    net, x, condition, before = case
    memory: Memory = {}
    net.partial(x, T, condition, memory, "full")
    kept = {name: value for name, value in memory.items()}
    changed = net.partial(x + 1, T, condition, memory, "deep")
    assert not torch.allclose(changed, before)
    assert not torch.allclose(changed, net(x + 1, T, condition))
    assert memory.keys() == kept.keys() and all(memory[name] is kept[name] for name in kept)


@torch.no_grad()
def test_parts_cost_less(case: Any) -> None:
    net, x, condition, _ = case
    memory: Memory = {}
    cost = {}
    for part in ("full", "deep", "encoder"):
        with FlopCounterMode(display=False) as counter:
            net.partial(x, T, condition, memory, part)
        cost[part] = counter.get_total_flops()
    assert cost["deep"] < 0.8 * cost["full"]
    assert cost["encoder"] < 0.8 * cost["full"]


@pytest.mark.parametrize("part", ["deep", "encoder"])
def test_without_a_full_pass_there_is_nothing_to_reuse(case: Any, part: str) -> None:
    net, x, condition, _ = case
    with pytest.raises(ValueError, match="no full pass"):
        net.partial(x, T, condition, {}, part)
    assert net(x, T, condition).shape == x.shape  # the failure left nothing behind


def test_it_is_a_network_with_the_capability(case: Any) -> None:
    net, *_ = case
    assert isinstance(net, Partial) and supports_reuse(net)
    assert not supports_reuse(nn.Linear(1, 1))
    assert Recall(net).part == "full"
