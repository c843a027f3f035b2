"""Annealed Langevin dynamics of Song and Ermon 2019, in its own code and as a corrector of Song et al. 2021."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

from torch import Tensor

from bench.parity.authors import double, load
from bench.parity.base import Case, Setup
from bench.parity.cases._score_sde import Torch, pc_sampler

STAND_INS = (
    "tqdm", "losses", "losses.dsm", "losses.sliced_sm", "tensorboardX", "torchvision", "torchvision.datasets",
    "torchvision.transforms", "torchvision.utils", "datasets", "datasets.celeba", "models",
    "models.cond_refinenet_dilated", "PIL",
)  # fmt: skip
GEOMETRIC = "grid=logsnr[end=sigma_min]"


class Plain(Torch):
    """Torch without the bounds of images."""

    def clamp(self, x: Tensor, low: float, high: float) -> Tensor:
        """As it is."""
        return x


def ncsn(setup: Setup, steps: int) -> Tensor:
    """The state (8, 2) after ``AnnealRunner.anneal_Langevin_dynamics``.

    It gives the states before each step, so the last level is visited once more for the state after the last one.
    """
    module = load(setup, "runners/anneal_runner", STAND_INS)
    module.torch = Plain(setup.noise.normal)  # type: ignore[attr-defined]
    module.tqdm = SimpleNamespace(tqdm=lambda items, **_: items)  # type: ignore[attr-defined]
    levels = [*setup.grid.nodes, setup.grid.nodes[-1]]

    def score(x: Tensor, labels: Tensor) -> Tensor:
        sigma = levels[int(labels[0])]
        return (setup.denoise(x, sigma) - x) / sigma**2

    with double():
        states = module.AnnealRunner.anneal_Langevin_dynamics(
            None, setup.x, score, levels, n_steps_each=steps, step_lr=0.2 * levels[-1] ** 2
        )
    found: Tensor = states[-steps]
    return found


def _ald(setup: Setup, steps: int, snr: float) -> Tensor:
    return pc_sampler(setup, "none", "ald", snr=snr, n_steps=steps, eps=0.0)


CASES = (
    Case(
        solver=f"annealed_langevin[{GEOMETRIC}]",
        against="ermongroup/ncsn",
        what="anneal_Langevin_dynamics(n_steps_each=1, step_lr=0.2 sigma_L^2), without clamp",
        reference=partial(ncsn, steps=1),
        nfes=(2, 3, 5, 8, 10, 20),
        verdict="Theirs cuts to [0, 1] and returns the state before the last step; compared without either.",
    ),
    Case(
        solver=f"annealed_langevin[steps=3,{GEOMETRIC}]",
        against="ermongroup/ncsn",
        what="anneal_Langevin_dynamics(n_steps_each=3, step_lr=0.2 sigma_L^2), without clamp",
        reference=partial(ncsn, steps=3),
        nfes=(6, 9, 21),
    ),
    Case(
        solver=f"annealed_langevin[step=0.0512,{GEOMETRIC}]",
        against="yang-song/score_sde_pytorch",
        what="get_pc_sampler(VESDE, none, ald, snr=0.16)",
        reference=partial(_ald, steps=1, snr=0.16),
        nfes=(2, 3, 5, 8, 10, 20),
    ),
    Case(
        solver=f"annealed_langevin[steps=2,step=0.5,{GEOMETRIC}]",
        against="yang-song/score_sde_pytorch",
        what="get_pc_sampler(VESDE, none, ald, snr=0.5, n_steps=2)",
        reference=partial(_ald, steps=2, snr=0.5),
        nfes=(4, 6, 10, 20),
    ),
)
