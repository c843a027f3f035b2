"""The training loop of the small models: AdamW in bfloat16 on the CPU, averaged weights, checkpoints to resume from."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Generator, Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.nets.optimise import Plan, curve, ignore, learning_rate, machine

Progress = Callable[[int, int, str], None]
Loss = Callable[[Generator, int], Tensor]  # draws a batch with this generator for this step

REPORT_EVERY: Final = 50  # steps
SAVE_EVERY: Final = 240.0  # seconds


@dataclass(frozen=True)
class How:
    """What does not belong to the recipe.

    Attributes:
        seed: of the generator.
        progress: called as ``progress(done, total, message)`` now and then.
        checkpoint: a file written every few minutes; if it is there, the training goes on from it.
        half: forward and backward in bfloat16; the weights, the optimiser and the average stay float32.
    """

    seed: int
    progress: Progress = ignore
    checkpoint: Path | None = None
    half: bool = False


@dataclass
class Run:
    """What a training needs to go on where it stopped."""

    module: nn.Module
    optimiser: torch.optim.Optimizer
    average: dict[str, Tensor]
    generator: Generator
    step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write the checkpoint: first beside the old one, then in its place."""
        state = {
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average,
            "generator": self.generator.get_state(),
            "step": self.step,
            "seconds": self.seconds,
            "losses": self.losses,
        }
        temporary = path.with_suffix(".tmp")
        torch.save(state, temporary)
        os.replace(temporary, path)

    def load(self, path: Path) -> None:
        """Take up the checkpoint at ``path``."""
        state: dict[str, Any] = torch.load(path, weights_only=True)
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        self.average = state["average"]
        self.step, self.seconds, self.losses = state["step"], state["seconds"], state["losses"]


def start(module: nn.Module, plan: Plan, seed: int) -> Run:
    """A training that has not begun."""
    if not any(isinstance(part, nn.Conv3d) for part in module.modules()):
        module.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(module.parameters(), lr=plan.rate, weight_decay=0.01, fused=True)
    average = {name: value.detach().clone() for name, value in module.state_dict().items()}
    return Run(module, optimiser, average, Generator().manual_seed(seed))


def train(
    module: nn.Module,
    loss: Loss,
    plan: Plan,
    how: How,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Minimise ``loss`` over the weights of ``module``.

    Args:
        module: trained in place; the result is the average of its weights, not its last ones.
        loss: draws a batch with the generator it is given and returns a scalar; called once a step, with its number.
        plan: length and rates.
        how: see ``How``.

    Returns:
        The averaged state and a record of the run.
    """
    run = start(module, plan, how.seed)
    if how.checkpoint is not None and how.checkpoint.exists():
        run.load(how.checkpoint)
    module.train()
    begin, saved = time.perf_counter() - run.seconds, time.perf_counter()
    while run.step < plan.steps:
        _step(run, loss, plan, how.half)
        run.seconds = time.perf_counter() - begin
        if run.step % REPORT_EVERY == 0 or run.step == plan.steps:
            recent = run.losses[-REPORT_EVERY:]
            how.progress(run.step, plan.steps, f"loss {sum(recent) / len(recent):.4f}")
        if how.checkpoint is not None and (time.perf_counter() - saved > SAVE_EVERY or run.step == plan.steps):
            run.save(how.checkpoint)
            saved = time.perf_counter()
    record = {"steps": run.step, "images": run.step * plan.batch, "seconds": round(run.seconds, 1)}
    return run.average, {**record, "loss_curve": curve(run.losses), **machine()}


def _step(run: Run, loss: Loss, plan: Plan, half: bool) -> None:
    for group in run.optimiser.param_groups:
        group["lr"] = learning_rate(run.step, plan)
    run.optimiser.zero_grad()
    # on the CPU the fused kernel's backward pass is faster in float32 and many times slower in bfloat16
    with sdpa_kernel(SDPBackend.MATH if half else SDPBackend.FLASH_ATTENTION):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            value = loss(run.generator, run.step)
        value.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(run.module.parameters(), 1.0)
    run.optimiser.step()
    _update(run, min(plan.decay, (1 + run.step) / (10 + run.step)))
    run.step += 1
    run.losses.append(value.item())


@torch.no_grad()
def _update(run: Run, decay: float) -> None:
    """Move the average towards the weights; what is not a float (a counter) is copied."""
    for name, value in run.module.state_dict().items():
        if value.is_floating_point():
            run.average[name].lerp_(value, 1 - decay)
        else:
            run.average[name].copy_(value)
