r"""Exponential integrators for the data prediction: the weights that several solvers share, and the single-step plan.

In ``lambda = -log sigma`` a step of length h solves ``x_t = e^{-h} x_s + int_0^h e^{tau - h} D(tau) dtau`` (see
``bench.coefficients``). With noise of strength ``eta`` the linear part decays as ``e^{-(1 + eta) h}``, so the weights
are those of a step of length ``(1 + eta) h``; and with ``-h`` in place of h they are, times sigma, the weights of the
predicted noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from bench.coefficients import data_weights, phi

Plan = Literal["to_zero", "fast", "full"]
"""How a budget is divided into intervals of a single-step solver, see ``interval_orders``."""

Stage = tuple[float, list[float]]
"""Where a state is, as a share c of the step, and the weights of the predictions so far."""


def multistep_weights(h: float, older: Sequence[float], midpoint: bool, curvature: float) -> list[float]:
    r"""Weights of the predictions, newest first, in a step of DPM-Solver++(1, 2M, 3M); their sum is ``1 - e^{-h}``.

    With ``r_i = h_i / h``, ``D_1 = (m_0 - m_1)/r_0`` and ``d = (m_1 - m_2)/r_1`` the step adds ``(1 - e^{-h}) m_0`` and

    * two predictions: ``w D_1``, w being half the first weight (midpoint) or ``h phi_2(-h)``;
    * three: ``h phi_2(-h) (D_1 + r_0/(r_0+r_1) (D_1 - d)) + curvature h phi_3(-h) (D_1 - d)/(r_0+r_1)``.

    Args:
        h: length of the step, finite.
        older: lengths of the steps before, newest first; one less than there are predictions, at most two.
        midpoint: the rule of two predictions.
        curvature: 2 integrates the parabola exactly, 1 is what the codes do.
    """
    p = -math.expm1(-h)
    if not older:
        return [p]
    r_0 = older[0] / h
    first = p / 2 if midpoint and len(older) == 1 else h * phi(2, -h)
    if len(older) == 1:
        return [p + first / r_0, -first / r_0]
    r_1 = older[1] / h
    # what D_1 - d is multiplied with, in units of r_0
    lean = (first * r_0 + curvature * h * phi(3, -h)) / (r_0 + r_1)
    newer, elder = (first + lean) / r_0, -lean / r_1
    return [p + newer, elder - newer, -elder]


def stages(order: int, h: float, exact: bool, c: float = 0.5) -> list[Stage]:
    """The states of a single-step solver of order 1 to 3, the last one the result: exponential Runge-Kutta.

    Order 2 has its node at c, order 3 at 1/3 and 2/3. A state is the integral of the polynomial through predictions:

    * the first one of a step and of order 1: the constant;
    * the second one of order 3: the line through both;
    * the result of order 2: that line if ``exact``, else ``(1 - e^{-h}) (m_0 + (m_1 - m_0) / 2c)``;
    * the result of order 3: the parabola through all if ``exact``, else the line through the first and the last.

    Args:
        order: 1 to 3, the number of predictions.
        h: length of the step, finite; negative for the noise prediction.
        exact: see above.
        c: node of order 2, in (0, 1].
    """
    if order == 1:
        return [(1.0, data_weights([0.0], h))]
    if order == 2:
        p, half = -math.expm1(-h), -math.expm1(-h) / (2 * c)
        return [(c, data_weights([0.0], c * h)), (1.0, data_weights([0.0, c * h], h) if exact else [p - half, half])]
    low, high = h / 3, 2 * h / 3
    first, last = data_weights([0.0, high], h)
    result = data_weights([0.0, low, high], h) if exact else [first, 0.0, last]
    return [(1 / 3, data_weights([0.0], low)), (2 / 3, data_weights([0.0, low], high)), (1.0, result)]


def interval_orders(nfe: int, order: int, plan: Plan) -> list[int]:
    """The order of each interval of a single-step solver, which is its evaluations; their sum is ``nfe``.

    * ``to_zero``: as many intervals of full order as ``nfe - 1`` evaluations allow, one of lower order with what
      remains, and one of order 1, which is all there is on a step to sigma = 0, where h is infinite.
    * ``full``: full intervals and one with what remains.
    * ``fast``: the same, but ``..., 2, 1`` where order 3 leaves no remainder: DPM-Solver-fast (2206.00927).

    Args:
        nfe: evaluations, at least 1.
        order: of a full interval.
        plan: one of the three.
    """
    if plan == "to_zero":
        full, rest = divmod(nfe - 1, order)
        return [order] * full + [rest] * (rest > 0) + [1]
    full, rest = divmod(nfe, order)
    if plan == "fast" and order == 3 and rest == 0:
        return [3] * (full - 1) + [2, 1]
    return [order] * full + [rest] * (rest > 0)


def refusal(nodes: Sequence[float], orders: Sequence[int]) -> str:
    """Why these orders cannot be had on a grid with these noise levels; empty if they can."""
    if nodes[-1] > 0 or orders[-1] == 1:
        return ""
    return (
        f"this plan ends with an interval of order {orders[-1]} at {sum(orders)} evaluations, but the step to sigma 0 "
        "has order 1; use plan=to_zero or a grid that ends above 0, such as karras[end=sigma_min]"
    )
