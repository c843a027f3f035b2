r"""Empirical model statistics of DPM-Solver-v3, estimated in one pass with memory that does not grow with the data.

With ``f = (1 - l) x - D`` and its derivative along the flow ``f' = -l' x + (1 - l)(D - x) - D'`` (Zheng et al. 2023,
arXiv 2310.13268, Eq. 58, 60-62, in ``x = x0 + sigma eps``, where ``sigma eps_theta = x - D``), per coordinate::

    l = E[1 - v * (J v)],   s = Cov[f, f'] / Var[f],   b = E[f'] - s E[f]

f and f' are linear in ``x, D, D'``, so that means and products of these three are all that need be kept: l and its
slope enter when everything has been seen. All levels of a sample share its noise and its signs v, which makes l(lambda)
smooth and its finite difference meaningful.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.api import FitTask
from bench.jacobian import flow_derivative, jacobian_product
from bench.rng import SampleNoise

PAIRS = ((0, 0), (0, 1), (1, 1), (0, 2), (1, 2))
"""Products kept, of x (0), D (1) and D' (2)."""


class Moments:
    """Running sums over samples, per level and coordinate, float64.

    Args:
        levels: how many noise levels there are.
        shape: of one sample.
    """

    def __init__(self, levels: int, shape: tuple[int, ...]) -> None:
        self.count = 0
        self.diagonal = torch.zeros(levels, *shape, dtype=torch.float64)
        self.first = torch.zeros(levels, 3, *shape, dtype=torch.float64)
        self.second = torch.zeros(levels, len(PAIRS), *shape, dtype=torch.float64)

    def add(self, level: int, diagonal: Tensor, values: tuple[Tensor, Tensor, Tensor]) -> None:
        """Take a batch of ``v * (J v)`` and of ``x, D, D'``, all (B, ...), at one level; the caller counts samples."""
        wide = [value.double() for value in values]
        self.diagonal[level] += diagonal.double().sum(0)
        self.first[level] += torch.stack([value.sum(0) for value in wide])
        self.second[level] += torch.stack([(wide[i] * wide[j]).sum(0) for i, j in PAIRS])

    def statistics(self, lam: Tensor, floor: float) -> dict[str, Tensor]:
        """``l, s, b`` (levels, ...) at ``lam`` (levels,), increasing; f varies by ``floor`` or more, or s is held back.

        A coordinate without variation (a pixel that is always dark, Gaussian data) has ``0 / 0`` for s; ``floor``,
        a standard deviation in units of the data, is added to that of f and makes it 0.
        """
        mean, product = self.first / self.count, self.second / self.count
        linear = 1 - self.diagonal / self.count
        (slope,) = torch.gradient(linear, spacing=(lam,), dim=0)
        x, x0_hat, drift = mean.unbind(1)
        xx, xd, dd, xe, de = (product[:, k] - mean[:, i] * mean[:, j] for k, (i, j) in enumerate(PAIRS))
        keep = 1 - linear  # f = keep x - D;  f' = p x + keep D - D' with p = -slope - keep
        p = -slope - keep
        variance = keep**2 * xx - 2 * keep * xd + dd
        covariance = keep * p * xx + (keep**2 - p) * xd - keep * xe - keep * dd + de
        s = covariance / (variance + floor**2)
        b = p * x + keep * x0_hat - drift - s * (keep * x - x0_hat)
        return {"l": linear, "s": s, "b": b}


def collect(task: FitTask, sigma: Tensor, images: int, batch: int) -> Moments:
    """See ``images`` training samples at every level of ``sigma``, ``batch`` at a time, which changes round-off only.

    Three denoiser calls per sample and level, one of them with a tangent.
    """
    seed = int(torch.randint(2**31, (), generator=task.generator))
    moments: Moments | None = None
    for begin in range(0, images, batch):
        rows = range(begin, min(begin + batch, images))
        data = task.data(len(rows))
        shape = tuple(data.x.shape[1:])
        noise = SampleNoise(("ems", seed, "fit"), rows, shape, data.x.dtype, data.x.device)
        eps, signs = noise.normal(), noise.normal().sign()
        moments = moments or Moments(len(sigma), shape)
        for i, level in enumerate(sigma.tolist()):
            x = data.x + level * eps
            x0_hat, product = jacobian_product(data.denoise, x, level, signs)
            with torch.no_grad():
                drift = flow_derivative(data.denoise, x, level, x0_hat, task.sigma_max)
            moments.add(i, signs * product, (x, x0_hat, drift))
        moments.count += len(rows)
        task.progress(rows.stop, images, "statistics")
    assert moments is not None  # images is at least 1
    return moments
