"""The integrals of DPM-Solver-v3 against quadrature in high precision; its statistics against least squares."""

from __future__ import annotations

import math
import weakref
from itertools import pairwise

import mpmath
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from bench.ems import Statistics, taylor
from bench.ems_fit import Moments, collect

LEVELS = [1.7, 0.9, 0.55, 0.2]  # uneven, and narrower than the steps below: beyond them the ends hold
VALUES = {"l": [0.9, 0.5, 0.7, 0.1], "s": [0.4, -0.8, 0.3, -1.2], "b": [0.2, -0.3, 0.5, 0.1]}


def artifact(*shape: int) -> dict[str, Tensor]:
    """The values above for the first coordinate, reversed for the others."""
    found = {"sigma": torch.tensor(LEVELS, dtype=torch.float64)}
    for name, values in VALUES.items():
        column = torch.tensor(values, dtype=torch.float64)
        wide = torch.stack([column] + [column.flip(0)] * (math.prod(shape) - 1), 1)
        found[name] = wide.view(-1, *shape)
    return found


def piecewise(values: list[float]) -> object:
    nodes = [-math.log(level) for level in LEVELS]

    def at(lam: object) -> object:
        if lam <= nodes[0]:
            return mpmath.mpf(values[0])
        for (a, b), (u, v) in zip(pairwise(nodes), pairwise(values), strict=True):
            if lam <= b:
                return u + (v - u) * (lam - a) / (mpmath.mpf(b) - a)
        return mpmath.mpf(values[-1])

    return at


def coefficients(reverse: bool) -> list:
    """l, s and b as functions of lambda, of the first coordinate or of the others."""
    return [piecewise(values[::-1] if reverse else values) for values in VALUES.values()]


def quadrature(sigma_s: float, sigma_t: float, reverse: bool) -> list[float]:
    """P, Q, R, bias and three moments of one step, by quadrature; the bias, a double integral, as an ODE."""
    linear, scale, bias = coefficients(reverse)
    start, end = -math.log(sigma_s), -math.log(sigma_t)

    inner = [lam for lam in (-math.log(level) for level in LEVELS) if start < lam < end]

    def area(function: object, to: object) -> object:
        """The trapezoidal rule between the kinks, exact for what is linear there."""
        knots = [start, *(lam for lam in inner if lam < to), to]
        return sum((b - a) * (function(a) + function(b)) / 2 for a, b in pairwise(knots))

    def quad(function: object, to: object) -> object:
        knots = [start, *(lam for lam in inner if lam < to), to]
        return mpmath.quad(function, knots, maxdegree=4)

    def grow(u: object) -> object:
        return mpmath.exp(area(linear, u) + area(scale, u))

    def slope(u: float, y: list[float]) -> list[float]:  # of P, Q, R and the bias
        return [float(linear(u)), float(scale(u)), math.exp(-y[1]) * float(bias(u)), math.exp(y[0] + y[1]) * y[2]]

    state = [0.0] * 4
    for low, high in pairwise([start, *inner, end]):
        state = solve_ivp(slope, (low, high), state, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    moments = [quad(lambda u, k=k: grow(u) * (u - start) ** k, end) for k in range(3)]
    remainder = quad(lambda u: mpmath.exp(-area(scale, u)) * bias(u), end)
    return [float(value) for value in (area(linear, end), area(scale, end), remainder, state[3], *moments)]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("step", [(0.8, 0.6), (2.0, 0.15)])
def test_integrals(step: tuple[float, float], reverse: bool) -> None:
    mpmath.mp.dps = 15
    found = Statistics.from_artifact(artifact(2)).integrals(*step, 3)
    values = [found.p, found.q, found.r, found.bias, *found.moments]
    ours = [float(value[int(reverse)]) for value in values]
    assert ours == pytest.approx(quadrature(*step, reverse), rel=1e-8, abs=1e-9)


def test_shapes_and_single_numbers() -> None:
    image = Statistics.from_artifact(artifact(1, 2, 3)).integrals(1.2, 0.3, 2)
    assert {value.shape for value in (image.p, image.q, image.r, image.bias, *image.moments)} == {(1, 2, 3)}
    flat = Statistics.from_artifact(artifact(6)).integrals(1.2, 0.3, 2)
    assert torch.equal(flat.bias.view(1, 2, 3), image.bias)
    one = Statistics.degenerate().integrals(40.0, 1e-3, 4)
    h = math.log(40.0 / 1e-3)
    exact = [mpmath.quad(lambda u, k=k: mpmath.exp(u) * u**k, mpmath.linspace(0, h, 12)) for k in range(4)]
    assert [float(value) for value in one.moments] == pytest.approx([float(value) for value in exact], rel=1e-13)
    assert [float(value) for value in (one.p, one.q, one.r, one.bias)] == pytest.approx([h, 0, 0, 0], abs=1e-13)


def test_linear_at() -> None:
    statistics = Statistics.from_artifact(artifact(2))
    for sigma in (5.0, 1.7, 1.2, 0.55, 0.3, 0.2, 0.01):
        expected = [float(piecewise(values)(-math.log(sigma))) for values in (VALUES["l"], VALUES["l"][::-1])]
        assert statistics.linear_at(sigma).tolist() == pytest.approx(expected, rel=1e-12)


def test_a_step_solves_what_it_claims_to() -> None:
    """dx/dlambda = -l x - f with f' = s f + b and f given at the start: two coupled equations."""
    done = Statistics.from_artifact(artifact(2)).integrals(1.2, 0.3, 1)
    x, f = torch.tensor([[0.7, 0.7]], dtype=torch.float64), torch.tensor([[-0.4, -0.4]], dtype=torch.float64)
    end = done.advance(x, [f])
    edges = [-math.log(level) for level in (1.2, 0.9, 0.55, 0.3)]
    for column in range(2):
        linear, scale, bias = coefficients(bool(column))

        def slope(t: float, y: list[float], at: tuple = (linear, scale, bias)) -> list[float]:
            linear, scale, bias = (float(function(t)) for function in at)
            return [-linear * y[0] - y[1], scale * y[1] + bias]

        state = [0.7, -0.4]
        for span in pairwise(edges):
            state = solve_ivp(slope, span, state, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
        assert float(end[0, column]) == pytest.approx(state[0], abs=1e-9)
        # g is constant along this solution: seen from the start, f at the end is f at the start
        late = torch.full((1, 2), state[1], dtype=torch.float64)
        assert float(done.into_frame(late)[0, column]) == pytest.approx(-0.4, abs=1e-9)
        assert float(done.next_frame(f)[0, column]) == pytest.approx(state[1], abs=1e-9)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_taylor_is_exact_for_polynomials(count: int) -> None:
    tau = [0.0, -0.7, 0.4, -1.9][:count]
    coefficients = [1.5, -0.3, 0.8, 2.1][:count]
    values = [torch.tensor([sum(c * t**k for k, c in enumerate(coefficients))], dtype=torch.float64) for t in tau]
    assert [float(c) for c in taylor(tau, values)] == pytest.approx(coefficients)


def test_taylor_of_pseudo_order_uses_the_nearest_values_only() -> None:
    tau, values = [0.0, -0.7, 0.4, -1.9], [torch.tensor([v], dtype=torch.float64) for v in (1.0, 0.3, -0.6, 2.2)]
    found = taylor(tau, values, pseudo=True)
    for k in range(4):
        assert float(found[k]) == pytest.approx(float(taylor(tau[: k + 1], values[: k + 1])[k]))


def test_one_pass_is_least_squares() -> None:
    generator = torch.Generator().manual_seed(0)
    lam = torch.tensor([-1.0, -0.4, 0.1, 0.9], dtype=torch.float64)
    x, x0_hat, drift, diagonal = torch.randn(4, 4, 50, 3, generator=generator, dtype=torch.float64)  # level, sample, d
    moments = Moments(4, (3,))
    for rows in (slice(0, 20), slice(20, 50)):
        for level in range(4):
            moments.add(level, diagonal[level, rows], (x[level, rows], x0_hat[level, rows], drift[level, rows]))
        moments.count += rows.stop - rows.start
    found = moments.statistics(lam, 0.0)
    linear = 1 - diagonal.mean(1)
    torch.testing.assert_close(found["l"], linear)
    (slope,) = torch.gradient(linear, spacing=(lam,), dim=0)
    f = (1 - linear)[:, None] * x - x0_hat
    first = -slope[:, None] * x + (1 - linear)[:, None] * (x0_hat - x) - drift
    for level in range(4):
        for j in range(3):
            left = torch.stack([f[level, :, j], torch.ones(50, dtype=torch.float64)], 1)
            s, b = torch.linalg.lstsq(left, first[level, :, j]).solution
            assert found["s"][level, j] == pytest.approx(float(s))
            assert found["b"][level, j] == pytest.approx(float(b))
    variance = f[0, :, 0].var(correction=0)
    held = moments.statistics(lam, 0.5)["s"][0, 0]
    assert held == pytest.approx(float(found["s"][0, 0] * variance / (variance + 0.25)))


class Toy:
    """A fitting task on noise-free numbers; it notes what is asked of it."""

    sigma_max = 3.0

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(5)
        self.pool = torch.randn(50, 2, 2, generator=self.generator, dtype=torch.float64)
        self.largest, self.levels, self.alive, self.told = 0, set(), [], []

    def data(self, count: int) -> object:
        self.largest = max(self.largest, count)
        self.alive = [seen for seen in self.alive if seen() is not None]
        assert len(self.alive) <= 1  # the batch before may still have a name, no other
        x = self.pool[torch.randint(50, (count,), generator=self.generator)]

        def denoise(x: Tensor, sigma: float) -> Tensor:
            self.levels.add(sigma)
            return (x / (1 + sigma)).tanh()

        batch = type("Batch", (), {"x": x, "denoise": staticmethod(denoise)})()
        self.alive.append(weakref.ref(batch))
        return batch

    def progress(self, done: int, total: int, message: str = "") -> None:
        self.told.append((done, total))


def test_batches_change_neither_the_result_nor_what_is_kept() -> None:
    sigma = torch.tensor([3.0, 1.0, 0.5, 0.1], dtype=torch.float64)
    found, sizes = {}, {}
    for batch in (1, 5, 20):
        toy = Toy()
        moments = collect(toy, sigma, 20, batch)  # type: ignore[arg-type]
        found[batch] = moments.statistics(-sigma.log(), 1e-4)
        sizes[batch] = sum(value.numel() for value in (moments.diagonal, moments.first, moments.second))
        assert (toy.largest, moments.count, toy.told[-1]) == (batch, 20, (20, 20))
        assert max(toy.levels) <= 3.0  # never above sigma_max, and both sides of a level inside
    for batch in (5, 20):
        for name, value in found[1].items():
            torch.testing.assert_close(found[batch][name], value, rtol=1e-9, atol=1e-10)
    more = collect(Toy(), sigma, 60, 5)  # type: ignore[arg-type]
    assert set(sizes.values()) == {sum(value.numel() for value in (more.diagonal, more.first, more.second))} == {144}
    assert not torch.allclose(more.statistics(-sigma.log(), 1e-4)["l"], found[5]["l"])
    assert collect(Toy(), sigma, 7, 5).count == 7  # type: ignore[arg-type]


def test_data_with_noise_and_signs() -> None:
    """All levels of a sample have the noise of unit variance in common; signs make a diagonal Jacobian exact."""
    toy, levels = Toy(), (2.0, 0.5)
    toy.pool = torch.full_like(toy.pool, 0.4)
    gains = torch.tensor([[0.1, 0.5], [0.9, 0.3]], dtype=torch.float64)
    data = toy.data

    def linear(count: int) -> object:
        batch = data(count)
        batch.denoise = lambda x, sigma: gains * x
        return batch

    toy.data = linear  # type: ignore[method-assign]
    moments = collect(toy, torch.tensor(levels, dtype=torch.float64), 400, 400)  # type: ignore[arg-type]
    torch.testing.assert_close(moments.diagonal / 400, gains.expand(2, 2, 2))
    mean, square = moments.first[:, 0] / 400, moments.second[:, 0] / 400
    for k, level in enumerate(levels):
        assert float(mean[k].mean()) == pytest.approx(0.4, abs=0.15 * level)
        assert float((square[k] - mean[k] ** 2).mean()) == pytest.approx(level**2, rel=0.1)
    torch.testing.assert_close((mean[0] - 0.4) / 2.0, (mean[1] - 0.4) / 0.5)
