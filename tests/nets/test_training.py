"""Short trainings: reproducible bit for bit, and they learn."""

import pytest
import torch
from torch import Generator, Tensor, nn

from bench.nets.classifier import DigitsCNN
from bench.nets.optimise import Plan, learning_rate, optimise, seeded
from bench.nets.training import ClassifierRecipe, TeacherRecipe, train_classifier, train_teacher
from bench.nets.unet import UNet, UNetConfig

SMALL = UNetConfig(width=8, inner_width=16, inner_blocks=1, embedding=16)
RECIPE = TeacherRecipe(net=SMALL, plan=Plan(steps=4, warm_up=1, batch=16))


def bars() -> tuple[Tensor, Tensor]:
    """A toy population: class k is one bright row, of a brightness that varies."""
    labels = torch.arange(80) % 8
    images = torch.full((80, 1, 8, 8), -1.0)
    images[torch.arange(80), 0, labels] = 0.5 + 0.05 * (torch.arange(80) % 10)[:, None]
    return images, labels


def equal(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def test_teacher_depends_on_the_seed_alone() -> None:
    images, labels = bars()
    before = torch.get_rng_state()
    first, record = train_teacher(images, labels, seed=3, recipe=RECIPE)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)  # the global generator must not matter
    again, _ = train_teacher(images, labels, seed=3, recipe=RECIPE)
    other, _ = train_teacher(images, labels, seed=4, recipe=RECIPE)
    assert equal(first, again)
    assert not equal(first, other)
    assert record["seed"] == 3
    assert record["images_seen"] == 64


def test_teacher_record_rebuilds_the_network() -> None:
    state, record = train_teacher(*bars(), seed=0, recipe=RECIPE)
    net = UNet(UNetConfig(**record["config"]["net"]))
    net.load_state_dict(state)
    assert record["parameters"] == sum(p.numel() for p in net.parameters())
    assert record["config"]["sigma_data"] == pytest.approx(bars()[0].std().item(), abs=1e-4)


def test_teacher_learns() -> None:
    recipe = TeacherRecipe(net=SMALL, plan=Plan(steps=200, rate=5e-3, warm_up=10, decay=0.9, batch=32))
    _, record = train_teacher(*bars(), seed=0, recipe=recipe)
    curve = record["run"]["loss_curve"]
    assert curve[-1] < 0.5 * curve[0]


def test_classifier_learns_and_is_reproducible() -> None:
    recipe = ClassifierRecipe(plan=Plan(steps=60, rate=3e-3, warm_up=5, decay=0.9, batch=32), shifted=0.0)
    state, record = train_classifier(*bars(), seed=0, recipe=recipe)
    assert record["held_out_images"] == 16
    assert record["held_out_accuracy"] > 0.9
    assert equal(state, train_classifier(*bars(), seed=0, recipe=recipe)[0])
    DigitsCNN().load_state_dict(state)


def test_progress_and_checkpoints_are_reported() -> None:
    module = nn.Linear(2, 1)
    steps: list[tuple[int, int]] = []
    saved: list[int] = []
    optimise(
        module,
        lambda: module(torch.ones(1, 2)).square().sum(),
        Plan(steps=120, warm_up=1),
        progress=lambda done, total, message: steps.append((done, total * message.startswith("loss"))),
        checkpoint=lambda done, state: saved.append(done * (state.keys() == {"weight", "bias"})),
    )
    assert steps == [(50, 120), (100, 120), (120, 120)]
    assert saved == [50, 100, 120]


def test_the_average_is_returned_not_the_last_weights() -> None:
    module = seeded(lambda: nn.Linear(1, 1, bias=False), 0)
    start = module.weight.item()
    generator = Generator().manual_seed(0)
    state, _ = optimise(
        module, lambda: (module.weight * torch.rand(1, generator=generator)).sum(), Plan(steps=5, rate=1.0)
    )
    assert module.weight.item() < state["weight"].item() < start


def test_learning_rate() -> None:
    plan = Plan(steps=110, rate=2.0, warm_up=10)
    assert learning_rate(0, plan) == pytest.approx(0.2)
    assert learning_rate(10, plan) == pytest.approx(2.0)
    assert learning_rate(60, plan) == pytest.approx(1.0)
    assert learning_rate(110, plan) == pytest.approx(0.0)


def test_seeded_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    one, two, three = (seeded(lambda: nn.Linear(3, 3), s).weight for s in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, three)
    assert torch.equal(torch.get_rng_state(), before)
