"""Denoising Langevin-Gibbs of Kim and Ye: the functions and the loop of moves are those of their notebook.

Their data are in [0, 1] where ours are in [-1, 1]: their states and levels are half of ours.
"""

from __future__ import annotations

import ast
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.parity.authors import double
from bench.parity.base import Case, Setup, Unavailable

REPOSITORY, NOTEBOOK = "1202kbs/DMCMC", "Sampling Demo.ipynb"
LEVELS, SIGMA_MAX = 1000, 10.0


def _classifier() -> dict[str, Tensor]:
    """A perceptron that sees |asinh x| summed over the axes and prefers a level in proportion; both are given it."""
    first = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    centre = torch.linspace(5, 0, LEVELS)
    last = torch.zeros(LEVELS, 3)
    last[:, 0], last[:, 2] = 2 * centre, -(centre**2)
    level = 0.02 * (SIGMA_MAX / 0.02) ** torch.linspace(1, 1e-3, LEVELS, dtype=torch.float64)
    return {
        "layer0": first,
        "layer1": torch.tensor([[1.0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]),
        "layer2": last,
        "level": level,
    }


CLASSIFIER = _classifier()


class _Torch:
    """The module torch, with our normal numbers in place of its own."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def randn_like(self, x: Tensor) -> Tensor:
        return self.setup.noise.normal().view_as(x)


class _Score:
    """The score of the mixture in their units."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    def eval(self) -> None:
        pass

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        state = x.flatten(1)
        x0_hat = self.setup.denoise(2 * state, 2 * sigma) / 2
        return ((x0_hat - state) / sigma[:, None] ** 2).view_as(x)


def _net(x: Tensor) -> Tensor:
    unit = torch.asinh(2 * x.flatten(1))
    for i in range(3):
        layer = CLASSIFIER[f"layer{i}"].double()
        unit = (unit.relu() if i else unit) @ layer[:, :-1].T + layer[:, -1]
    return unit


def _notebook(setup: Setup) -> ast.Module:
    """Its functions that need no GPU, and its loop of moves as the last statement."""
    if setup.checkout is None or not (setup.checkout / NOTEBOOK).is_file():
        raise Unavailable(f"needs a checkout of {REPOSITORY}")
    cells = json.loads((setup.checkout / NOTEBOOK).read_text(encoding="utf-8"))["cells"]
    nodes = [node for cell in cells if cell["cell_type"] == "code" for node in ast.parse("".join(cell["source"])).body]
    wanted = ("get_sigma", "karras_alg1", "karras_alg2")
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef) and node.name in wanted]
    loops = [node for top in nodes for node in ast.walk(top) if isinstance(node, ast.For)]
    moves = [node for node in loops if ast.unparse(node.iter) == "range(skp)"]
    return ast.Module(body=[*functions, *moves], type_ignores=[])


def _reference(setup: Setup, algorithm: int) -> Tensor:
    tree = _notebook(setup)
    found: dict[str, Any] = {"torch": _Torch(setup), "np": np, "net": _net, "score_model": _Score(setup)}
    found |= {"eta": 0.8, "config": SimpleNamespace(model=SimpleNamespace(sigma_max=SIGMA_MAX / 2))}
    rest = setup.nfe - 2
    b = (rest + 2) // 4
    with double():
        exec(compile(ast.Module(body=tree.body[:-1], type_ignores=[]), NOTEBOOK, "exec"), found)
        integrate = found[f"karras_alg{algorithm}"]
        x = setup.x[:, :, None, None] / 2
        start = torch.full((len(x),), SIGMA_MAX / 2)
        x = integrate(found["score_model"], x, start, (rest + 2) // 2 - b + 1)[0]
        x = x + 0.5 * found["torch"].randn_like(x)
        s = found["get_sigma"](_net(x).argmax(1), SIGMA_MAX / 2)
        found |= {"x": x, "s": s, "x_min": x.clone(), "s_min": s.clone(), "skp": 1 + rest % 2}
        exec(compile(ast.Module(body=tree.body[-1:], type_ignores=[]), NOTEBOOK, "exec"), found)
        x = integrate(found["score_model"], found["x_min"], found["s_min"], b + 1)[0]
        x = x + 0.01**2 * found["score_model"](x, torch.full((len(x),), 0.01))
    found_x: Tensor = 2 * x.flatten(1)
    return found_x


CASES = tuple(
    Case(
        solver=f"dlg[churn={churn},end=append]",
        against=REPOSITORY,
        what=f"karras_alg{algorithm}, get_sigma and the loop of moves of {NOTEBOOK}",
        reference=lambda setup, algorithm=algorithm: _reference(setup, algorithm),  # type: ignore[misc]
        nfes=(4, 5, 8, 10, 13, 20),
        sigma_max=SIGMA_MAX,
        artifact=CLASSIFIER,
    )
    for churn, algorithm in ((80, 2), (0, 1))
)
