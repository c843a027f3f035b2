"""Jacobian products, forward and by differences, and the slope along the flow, against automatic differentiation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bench.jacobian import STEP, flow_derivative, jacobian_product
from bench.suites.mixture import mixture

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(5, 2, generator=GENERATOR, dtype=torch.float64)
V = torch.randn(5, 2, generator=GENERATOR, dtype=torch.float64)


def closed_form(x: Tensor, sigma: float | Tensor) -> Tensor:
    return mixture("mixture-2d").denoise(x, sigma)


def exact(sigma: float) -> Tensor:
    rows = [torch.autograd.functional.jacobian(lambda y: closed_form(y[None], sigma)[0], x) for x in X]
    return torch.einsum("bij,bj->bi", torch.stack(rows), V)


@pytest.mark.parametrize("sigma", [0.3, 2.0])
def test_forward(sigma: float) -> None:
    calls = []

    def counted(x: Tensor, sigma: float) -> Tensor:
        calls.append(sigma)
        return closed_form(x, sigma)

    x0_hat, product = jacobian_product(counted, X, sigma, V)
    assert len(calls) == 1
    torch.testing.assert_close(x0_hat, closed_form(X, sigma))
    torch.testing.assert_close(product, exact(sigma))


class Opaque(torch.autograd.Function):
    """An operation without a forward derivative."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()


@pytest.mark.parametrize("hide", [lambda x: Opaque.apply(x), lambda x: x.detach()], ids=["raises", "no tangent"])
@pytest.mark.parametrize("sigma", [0.3, 2.0])
def test_by_differences(hide: object, sigma: float) -> None:
    levels = []

    def hidden(x: Tensor, sigma: float) -> Tensor:
        levels.append(sigma)
        return closed_form(hide(x), sigma)

    x0_hat, product = jacobian_product(hidden, X, sigma, V)
    torch.testing.assert_close(x0_hat, closed_form(X, sigma))
    torch.testing.assert_close(product, exact(sigma), rtol=0, atol=2 * STEP**2)
    assert set(levels) == {sigma}
    assert len(levels) <= 4
    assert not product.requires_grad


def test_of_fused_attention() -> None:
    class Attention(torch.nn.Module):
        def forward(self, x: Tensor, sigma: float) -> Tensor:
            tokens = x.view(len(x), 1, 4, 8)
            return torch.nn.functional.scaled_dot_product_attention(tokens, tokens, tokens).view_as(x)

    x, v = torch.randn(2, 3, 32, generator=GENERATOR)
    calls = []
    network = Attention()

    def denoise(x: Tensor, sigma: float) -> Tensor:
        calls.append(sigma)
        return network(x, sigma)

    _, product = jacobian_product(denoise, x, 1.0, v)
    assert len(calls) == 1
    difference = (network(x + 1e-3 * v, 1.0) - network(x - 1e-3 * v, 1.0)) / 2e-3
    torch.testing.assert_close(product, difference, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(("sigma", "tolerance"), [(0.3, 1e-3), (2.0, 1e-3), (9.9, 3e-4), (10.0, 3e-4)])
def test_along_the_flow(sigma: float, tolerance: float) -> None:
    levels = []

    def noted(x: Tensor, sigma: float) -> Tensor:
        levels.append(sigma)
        return closed_form(x, sigma)

    x0_hat = closed_form(X, sigma)
    found = flow_derivative(noted, X, sigma, x0_hat, 10.0)
    lam = torch.tensor(-math.log(sigma), dtype=torch.float64)
    columns = torch.autograd.functional.jacobian(lambda t: closed_form(X, torch.exp(-t)), lam)
    rows = [torch.autograd.functional.jacobian(lambda y: closed_form(y[None], sigma)[0], x) for x in X]
    exact = columns + torch.einsum("bij,bj->bi", torch.stack(rows), x0_hat - X)
    torch.testing.assert_close(found, exact, rtol=0, atol=tolerance)
    assert max(levels) == min(sigma * (1 + STEP), 10.0)
    assert min(levels) == pytest.approx(sigma / (1 + STEP))
