"""One training loop for every small network: Adam, warm-up and cosine decay, averaged weights."""

import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn

from bench.nets.ema import EMA

Progress = Callable[[int, int, str], None]
Checkpoint = Callable[[int, dict[str, Tensor]], None]
M = TypeVar("M", bound=nn.Module)

REPORT_EVERY: Final = 50  # steps
CURVE_POINTS: Final = 20


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train. Counted in steps, not seconds: the result is then reproducible."""

    steps: int
    rate: float = 2e-3  # Adam's learning rate at its peak
    warm_up: int = 200  # steps
    decay: float = 0.999  # of the weights' moving average
    batch: int = 128


def ignore(*_: object) -> None:
    """A progress or checkpoint callable that does nothing."""


def learning_rate(step: int, plan: Plan) -> float:
    """Linear from 0 over the warm-up, then half a cosine down to 0."""
    if step < plan.warm_up:
        return plan.rate * (step + 1) / plan.warm_up
    past = (step - plan.warm_up) / max(1, plan.steps - plan.warm_up)
    return plan.rate * 0.5 * (1 + math.cos(math.pi * past))


def seeded(build: Callable[[], M], seed: int) -> M:
    """Build a module whose weights depend on `seed` alone, leaving the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build()


def optimise(
    module: nn.Module,
    loss: Callable[[], Tensor],
    plan: Plan,
    progress: Progress = ignore,
    checkpoint: Checkpoint = ignore,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Minimise `loss()` over the weights of `module`.

    Args:
        module: trained in place; the result is the average of its weights, not its last ones.
        loss: draws a batch and returns a scalar; called once a step.
        plan: length and rates.
        progress: called as `progress(done, total, message)` now and then.
        checkpoint: called as `checkpoint(done, averaged weights)` just as often.

    Returns:
        The averaged state and a record of the run.
    """
    optimiser = torch.optim.Adam(module.parameters(), lr=plan.rate, fused=True)
    average = EMA(module, plan.decay)
    losses: list[float] = []
    begin = time.perf_counter()
    for step in range(plan.steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, plan)
        value = loss()
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        average.update(module)
        losses.append(value.item())
        if (step + 1) % REPORT_EVERY == 0 or step + 1 == plan.steps:
            recent = losses[-REPORT_EVERY:]
            progress(step + 1, plan.steps, f"loss {sum(recent) / len(recent):.4f}")
            checkpoint(step + 1, average.state)
    seconds = round(time.perf_counter() - begin, 1)
    return average.state, {"seconds": seconds, "loss_curve": curve(losses), **machine()}


def curve(losses: list[float]) -> list[float]:
    """Means over at most CURVE_POINTS equal parts of the training."""
    size = max(1, math.ceil(len(losses) / CURVE_POINTS))
    parts = (losses[i : i + size] for i in range(0, len(losses), size))
    return [round(sum(part) / len(part), 5) for part in parts]


def machine() -> dict[str, Any]:
    """Where the numbers come from: the same seed gives the same bits only on the same machine and version."""
    return {"torch": str(torch.__version__), "threads": torch.get_num_threads(), "cpu": cpu_model()}


def cpu_model() -> str:
    """The processor's name, from the kernel where it tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
