"""How authors' code is loaded from a checkout and run on our problem, in its own conventions.

Nothing of it is shipped. What it imports leaves no module behind, and packages that it only needs for files and
pictures are replaced by empty stand-ins.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from bench.parity.case import Setup, Unavailable


@contextlib.contextmanager
def _imports_from(folder: str, stand_ins: tuple[str, ...]) -> Iterator[None]:
    """A folder first on the path, for as long as it takes; other repositories have modules of the same names."""
    before = dict(sys.modules)
    sys.path.insert(0, folder)
    sys.modules.update({name: mock.MagicMock() for name in stand_ins})
    try:
        yield
    finally:
        sys.path.remove(folder)
        for name in set(sys.modules) - set(before):
            if name in stand_ins or str(getattr(sys.modules[name], "__file__", "") or "").startswith(folder):
                del sys.modules[name]
        sys.modules.update({name: before[name] for name in stand_ins if name in before})


def load(setup: Setup, path: str, stand_ins: tuple[str, ...] = (), inside: str = "") -> ModuleType:
    """A module or package of the checkout, imported anew.

    Args:
        setup: the problem, whose checkout is used.
        path: of the module in the repository, without ``.py``.
        stand_ins: names of modules that it imports and that its sampler does not need.
        inside: where the path is a package, a module of it instead, such as ``".samplers.heun"``.

    Raises:
        Unavailable: no checkout, no such module in it, or a package that it needs is not installed.
    """
    if setup.checkout is None:
        raise Unavailable("needs a checkout of the authors' repository")
    module = setup.checkout.resolve() / path
    if not module.is_dir() and not module.with_suffix(".py").is_file():
        raise Unavailable(f"there is no {path} in {setup.checkout}")
    try:
        with _imports_from(str(module.parent), stand_ins):
            return importlib.import_module(module.name + inside)
    except ImportError as error:
        raise Unavailable(f"{path} cannot be imported: {error}") from error


@contextlib.contextmanager
def double() -> Iterator[None]:
    """Constants that authors' code makes without a dtype are float64, and what it prints is dropped."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        torch.set_default_dtype(before)


class SigmaTime:
    """The noise schedule object of DPM-Solver's and UniPC's code: variance preserving, its time our noise level."""

    T, total_N = 1.0, 1000

    def marginal_log_mean_coeff(self, t: Tensor) -> Tensor:
        """Log alpha."""
        return -0.5 * torch.log1p(t * t)

    def marginal_alpha(self, t: Tensor) -> Tensor:
        """The scale of the data."""
        return torch.rsqrt(1 + t * t)

    def marginal_std(self, t: Tensor) -> Tensor:
        """The scale of the noise."""
        return t * torch.rsqrt(1 + t * t)

    def marginal_lambda(self, t: Tensor) -> Tensor:
        """Half the log of the signal-to-noise ratio."""
        return -torch.log(t)

    def inverse_lambda(self, value: Tensor) -> Tensor:
        """The time of ``marginal_lambda``."""
        return torch.exp(-value)


def lambda_solver(setup: Setup, factory: Any, make: dict[str, Any], **options: Any) -> Tensor:
    """The final state (8, 2) of ``factory(model_fn, noise_schedule, **make).sample(x, **options)`` on our grid.

    DPM-Solver's code and what grew from it (UniPC, DPM-Solver-v3) have this interface. Nodes inside an interval of a
    single-step solver are uniform in lambda.
    """
    nodes = setup.grid.nodes
    alpha = [float((1 + sigma**2) ** -0.5) for sigma in (nodes[0], nodes[-1])]

    def model_fn(x: Tensor, t: Tensor) -> Tensor:
        sigma = float(t.reshape(-1)[0])
        state = x.reshape(len(x), -1) * (1 + sigma**2) ** 0.5
        eps: Tensor = (state - setup.denoise(state, sigma)) / sigma
        return eps.view_as(x)

    def time_steps(skip_type: str, t_T: float, t_0: float, N: int, device: object) -> Tensor:
        if (t_T, t_0, N) == (nodes[0], nodes[-1], len(nodes) - 1):
            return setup.grid.sigma.clone()
        return t_T * (t_0 / t_T) ** torch.linspace(0, 1, N + 1, dtype=torch.float64)

    with double():
        solver = factory(model_fn, SigmaTime(), **make)
        solver.get_time_steps = time_steps
        start = (setup.x * alpha[0])[:, :, None, None]  # their sums over steps name four axes
        found: Tensor = solver.sample(start, t_start=nodes[0], t_end=nodes[-1], skip_type="logSNR", **options)
    return found.reshape(len(found), -1) / alpha[-1]


def diff_sampler(setup: Setup, name: str, **options: Any) -> Tensor:
    """The final state (8, 2) of a sampler of zju-pi/diff-sampler's ``diff-solvers-main/solvers.py`` on our grid.

    With ``deis="tab"`` or ``"rhoab"`` in the options its coefficients are made first, as ``sample.py`` there does, from
    ``points`` points; ``highest`` is passed on as their ``max_order``, the sampler's by default.
    """
    module = load(setup, "diff-solvers-main/solvers")

    def net(x: Tensor, t: Tensor, class_labels: object = None) -> Tensor:
        state = x.reshape(len(x), -1)
        return setup.denoise(state, float(t.reshape(-1)[0])).view_as(x)

    mode, points, highest = options.pop("deis", ""), options.pop("points", 10_000), options.pop("highest", 0)
    steps = setup.grid.sigma
    with double():
        if mode:
            make = module.get_deis_coeff_list
            options["coeff_list"] = make(steps, highest or options["max_order"], N=points, deis_mode=mode)
        start = (setup.x / steps[0])[:, :, None, None]
        found: Tensor = getattr(module, name)(net, start, num_steps=len(steps), t_steps=steps, **options)
    return found.reshape(len(found), -1)
