"""yang-song/score_sde_pytorch on our problem: its PC sampler, on our levels and our draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bench.parity.authors import double, load
from bench.parity.base import Setup

Model = Callable[[Tensor, Tensor], Tensor]


class Torch:
    """The module torch as that code sees it; ``randn_like`` gives our normal numbers."""

    def __init__(self, draw: Callable[[], Tensor]) -> None:
        self._draw = draw

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def randn_like(self, x: Tensor) -> Tensor:
        """The next draw."""
        return self._draw().view_as(x)


class Network:
    """A network as that code sees it."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def eval(self) -> None:
        """Nothing to switch."""

    def __call__(self, x: Tensor, labels: Tensor) -> Tensor:
        """The score (VE) or the noise (VP) for labels that are all the same."""
        return self._model(x, labels)


def scale(sigma: float | Tensor) -> Tensor:
    """The scale of the data in a variance-preserving process."""
    return (1 + torch.as_tensor(sigma, dtype=torch.float64) ** 2).rsqrt()


def _ve(setup: Setup, module: Any) -> tuple[Any, Model]:
    """Their VE process on our levels above 0; its model is told the level's place, 0 for the highest."""
    levels = setup.grid.sigma[setup.grid.sigma > 0]
    sde = module.sde_lib.VESDE(float(levels[-1]), float(levels[0]), len(levels))
    sde.discrete_sigmas = levels.flip(0)

    def score(x: Tensor, labels: Tensor) -> Tensor:
        sigma = float(levels[int(labels[0])])
        return (setup.denoise(x.flatten(1), sigma).view_as(x) - x) / sigma**2

    return sde, score


def _vp(setup: Setup, module: Any) -> tuple[Any, Model]:
    """Their VP process on our levels, a grid that ends in 0; its model is told the level's place, 0 for the lowest."""
    levels = setup.grid.sigma[:-1].flip(0)
    sde = module.sde_lib.VPSDE(N=len(levels))
    kept = scale(setup.grid.sigma) ** 2
    sde.alphas = (kept[:-1] / kept[1:]).flip(0)
    sde.discrete_betas = 1 - sde.alphas
    sde.sqrt_1m_alphas_cumprod = levels * scale(levels)

    def noise(x: Tensor, labels: Tensor) -> Tensor:
        sigma = float(levels[int(labels[0] + 0.5)])
        state = x.flatten(1) / scale(sigma)
        return ((state - setup.denoise(state, sigma)) / sigma).view_as(x)

    return sde, noise


def pc_sampler(setup: Setup, predictor: str, corrector: str, sde: str = "ve", **options: Any) -> Tensor:
    """The final state (8, 2) of ``sampling.get_pc_sampler``, for all samples at once; ``options`` are its own."""
    module = load(setup, "sampling")
    module.torch = Torch(setup.noise.normal)  # type: ignore[attr-defined]
    with double():
        process, model = (_ve if sde == "ve" else _vp)(setup, module)
        start = setup.x if sde == "ve" else setup.x * scale(setup.grid.sigma[0])
        process.prior_sampling = lambda shape: start.view(shape)
        sampler = module.get_pc_sampler(
            process, (len(start), 2, 1, 1), module.get_predictor(predictor), module.get_corrector(corrector),
            lambda x: x, device="cpu", **options,
        )  # fmt: skip
        found: Tensor = sampler(Network(model))[0]
    return found.flatten(1)


class Replay:
    """The draws of one stream, for one row of the batch, from the start."""

    def __init__(self, draws: list[Tensor], normal: Callable[[], Tensor], row: int) -> None:
        self._draws, self._normal, self._row, self._next = draws, normal, row, 0

    def normal(self) -> Tensor:
        """(1, 2): this row of the next draw."""
        if self._next == len(self._draws):
            self._draws.append(self._normal())
        self._next += 1
        return self._draws[self._next - 1][self._row : self._row + 1]


def one_by_one(setup: Setup, solve: Callable[[Setup], Tensor]) -> Tensor:
    """(8, 2): a reference that is given one sample at a time, since it averages over a batch."""
    draws: list[Tensor] = []
    rows = []
    for row in range(len(setup.x)):
        source: Any = Replay(draws, setup.noise.normal, row)
        alone = Setup(setup.denoise, setup.x[row : row + 1], setup.grid, setup.nfe, source, setup.checkout)
        rows.append(solve(alone))
    return torch.cat(rows)
