r"""Gaussian mixtures in closed form: the posterior mean, the score and the density at every noise level.

For ``x0 ~ sum_k w_k N(m_k, diag(s_k^2))`` and ``x = x0 + sigma eps``, with ``v_k = s_k^2 + sigma^2``::

    log p(x; sigma) = logsumexp_k [log w_k + log N(x; m_k, v_k)]
    r_k             = softmax_k of the same terms
    D(x, sigma)     = sum_k r_k (m_k + s_k^2 / v_k (x - m_k))
    score(x, sigma) = sum_k r_k (m_k - x) / v_k = (D - x) / sigma^2

===========  =========================  ==============
symbol       meaning                    shape
===========  =========================  ==============
``m_k``      mean of a component        (K, d)
``s_k``      its standard deviations    (K, d)
``w_k``      its weight, sums to 1      (K,)
===========  =========================  ==============
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


def _one_level(sigma: float | Tensor, x: Tensor) -> float | Tensor:
    """A level that all rows share as a number (or as a tensor that keeps its gradient), or else (B, 1, 1)."""
    if not isinstance(sigma, Tensor):
        return sigma
    levels = sigma.to(x.dtype).reshape(-1)
    if bool((levels == levels[0]).all()) and not (sigma.requires_grad and len(levels) > 1):
        return levels[0] if sigma.requires_grad else float(sigma.reshape(-1)[0])
    return levels.view(-1, 1, 1)


def _mix(share: Tensor, values: Tensor) -> Tensor:
    """(B, d): values (K, d) or (B, K, d) weighted by shares (B, K)."""
    return share @ values if values.ndim == 2 else (share[:, None] @ values)[:, 0]


@dataclass(frozen=True)
class GaussianMixture:
    """A mixture of K Gaussians with diagonal covariances in d dimensions.

    Wherever a ``component`` (B,) is taken, row i is conditioned on that component; K (or None) stands for all of them.

    Attributes:
        mean, std: (K, d), std above 0.
        weight: (K,), sums to 1.
    """

    mean: Tensor
    std: Tensor
    weight: Tensor

    def to(self, device: torch.device | str, dtype: torch.dtype) -> GaussianMixture:
        """The same mixture elsewhere."""
        return GaussianMixture(*(value.to(device, dtype) for value in (self.mean, self.std, self.weight)))

    def _variance(self, sigma: float | Tensor) -> Tensor:
        """``v_k``: (K, d), or (B, K, d) for a level per row."""
        variance: Tensor = self.std**2 + sigma**2
        return variance

    def _log_joint(self, x: Tensor, sigma: float | Tensor, component: Tensor | None) -> Tensor:
        """(B, K): ``log w_k + log N(x; m_k, v_k)``; minus infinity for components a row is not conditioned on."""
        variance = self._variance(sigma)
        if variance.ndim == 2:
            # the square is multiplied out: two products of matrices instead of a (B, K, d) tensor
            square = x**2 @ (1 / variance).T - 2 * x @ (self.mean / variance).T + (self.mean**2 / variance).sum(-1)
        else:
            square = ((x[:, None] - self.mean) ** 2 / variance).sum(-1)
        normalisation = variance.log().sum(-1) + self.mean.shape[1] * math.log(2 * math.pi)
        joint = -0.5 * (square + normalisation)
        if component is None:
            return joint + self.weight.log()
        count = len(self.weight)
        own = component[:, None] == torch.arange(count, device=x.device)
        prior = torch.where(component[:, None] == count, self.weight.log(), torch.where(own, 0.0, -math.inf))
        return joint + prior

    def denoise(self, x: Tensor, sigma: float | Tensor, component: Tensor | None = None) -> Tensor:
        """``E[x0 | x]``, (B, d), for x (B, d) at noise level sigma >= 0, one for all or (B,)."""
        sigma = _one_level(sigma, x)
        share = self._log_joint(x, sigma, component).softmax(-1)
        variance = self._variance(sigma)
        return _mix(share, sigma**2 / variance * self.mean) + _mix(share, self.std**2 / variance) * x

    def score(self, x: Tensor, sigma: float | Tensor, component: Tensor | None = None) -> Tensor:
        """Gradient of the log density at sigma >= 0, (B, d); defined at sigma = 0 as well."""
        sigma = _one_level(sigma, x)
        share = self._log_joint(x, sigma, component).softmax(-1)
        variance = self._variance(sigma)
        return _mix(share, self.mean / variance) - _mix(share, 1 / variance) * x

    def log_density(self, x: Tensor, sigma: float | Tensor = 0.0, component: Tensor | None = None) -> Tensor:
        """(B,): log density of the data blurred by sigma >= 0, in nats."""
        return self._log_joint(x, _one_level(sigma, x), component).logsumexp(-1)

    def posterior(self, x: Tensor) -> Tensor:
        """(B, K): probability of each component given clean data."""
        return self._log_joint(x, 0.0, None).softmax(-1)

    def sample(self, component: Tensor, normal: Tensor) -> Tensor:
        """(B, d): exact samples of the given components (B,) from standard normal numbers (B, d)."""
        return self.mean[component] + self.std[component] * normal

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean (d,) and covariance (d, d) of the whole mixture."""
        mean = self.weight @ self.mean
        offset = self.mean - mean
        within = torch.diag(self.weight @ self.std**2)
        return mean, within + torch.einsum("k,ki,kj->ij", self.weight, offset, offset)
