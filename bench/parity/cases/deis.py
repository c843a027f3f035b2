"""DEIS: three algorithms of the name, each beside the code that means it."""

from __future__ import annotations

import math

from bench.parity.authors import diff_sampler
from bench.parity.base import NFES, TOLERANCE, Case
from bench.parity.cases._th_deis import th_deis
from bench.parity.external import azula, diffusers, k_diffusion
from bench.process import VPLinear

END = "grid=karras[end=sigma_min]"
UNIFORM = "grid=time_uniform[end=sigma_min]"
RIEMANN = (
    "Their integrals are sums of 10,000 left end points, ours Gauss-Legendre: the difference is their error. No "
    "parameter here reaches it; with more points theirs come to ours, see the next row."
)
MORE = ("", 10_000, None, RIEMANN), (", 500,000 points", 500_000, TOLERANCE, "The points are raised in the driver.")


def _diff_sampler_process() -> VPLinear:
    """The process whose time diff-sampler takes: VP between 0.002 and 80, the smallest level at time 0.001."""
    low, high, start = math.log1p(0.002**2), math.log1p(80.0**2), 1e-3
    slope = 2 * (low / start - high) / (start - 1)
    return VPLinear(high - slope / 2, high + slope / 2)


CASES = (
    *(
        Case(
            solver=f"deis[variant=logrho,order={order},lower_final={lower},{END}]",
            against="diffusers",
            what=f"DEISMultistepScheduler(solver_order={order}, lower_order_final={lower > 0})",
            reference=lambda setup, order=order, lower=lower: diffusers(  # type: ignore[misc]
                setup, "DEISMultistepScheduler", solver_order=order, lower_order_final=lower > 0
            ),
        )
        for order in (1, 2, 3)
        for lower in (15, 0)
    ),
    Case(
        solver=f"deis[order=3,{UNIFORM}]",
        against="diffusers",
        what="DEISMultistepScheduler(solver_order=3, lower_order_final=False), beside tab",
        reference=lambda setup: diffusers(setup, "DEISMultistepScheduler", solver_order=3, lower_order_final=False),
        process=VPLinear(),
        tolerance=None,
        verdict="Two methods of one name: diffusers' polynomials are in log rho (here variant=logrho), tAB's in time.",
    ),
    *(
        Case(
            solver=f"deis[variant=rhoab,order={order},{END}]",
            against="azula",
            what=f"zABSampler(order={order})",
            reference=lambda setup, order=order: azula(setup, "zABSampler", order=order),  # type: ignore[misc]
        )
        for order in (2, 3, 4)
    ),
    *(
        Case(
            solver=f"deis[variant=logrho,order={order},{END}]",
            against="azula",
            what=f"zEABSampler(order={order})",
            reference=lambda setup, order=order: azula(setup, "zEABSampler", order=order),  # type: ignore[misc]
        )
        for order in (2, 3, 4)
    ),
    Case(
        solver=f"deis[variant=logrho,order=2,{END}]",
        against="azula",
        what="REABSampler(order=2)",
        reference=lambda setup: azula(setup, "REABSampler", order=2),
        tolerance=None,
        verdict="A fault of azula, beside a solver of the same order as there is none of its kind here: the weight "
        "sqrt(alpha_s^2 + sigma_t^2) should have sigma_s^2, so it converges with slope 1, not 2. Its zEAB is right.",
    ),
    *(
        Case(
            solver=f"deis[variant=rhoab,order={order},{END}]",
            against="k-diffusion",
            what=f"sample_lms(order={order})",
            reference=lambda setup, order=order: k_diffusion(  # type: ignore[misc]
                setup, "sample_lms", order=order
            ),
        )
        for order in (2, 3, 4)
    ),
    Case(
        solver=f"deis[variant=rhoab,order=4,{END}]",
        against="zju-pi/diff-sampler",
        what="deis_sampler(deis_mode='rhoab', max_order=4)",
        reference=lambda setup: diff_sampler(setup, "deis_sampler", deis="rhoab", max_order=4),
        tolerance=None,
        verdict="A fault of diff-sampler: its coefficients for rhoab read max_order as a degree. At 4 the weights of "
        "step 4 are used for all later ones, 2 and 3 raise ValueError. Right with max_order - 1, see the next row.",
    ),
    *(
        Case(
            solver=f"deis[variant=rhoab,order={order},{END}]",
            against="zju-pi/diff-sampler",
            what=f"deis_sampler(max_order={order}), its coefficients made with max_order={order - 1}",
            reference=lambda setup, order=order: diff_sampler(  # type: ignore[misc]
                setup, "deis_sampler", deis="rhoab", max_order=order, highest=order - 1
            ),
        )
        for order in (2, 3, 4)
    ),
    *(
        Case(
            solver=f"deis[order={order},{END}]",
            against="zju-pi/diff-sampler",
            what=f"deis_sampler(deis_mode='tab', max_order={order}){what}",
            reference=lambda setup, order=order, points=points: diff_sampler(  # type: ignore[misc]
                setup, "deis_sampler", deis="tab", max_order=order, points=points
            ),
            process=_diff_sampler_process(),
            tolerance=tolerance,
            verdict=verdict,
        )
        for order in (2, 3, 4)
        for what, points, tolerance, verdict in MORE
    ),
    *(
        Case(
            solver=f"deis[order={order},{UNIFORM}]",
            against="qsh-zh/deis",
            what=f"th_deis, method='t_ab', ab_order={order - 1}{what}",
            reference=lambda setup, order=order, points=points: th_deis(  # type: ignore[misc]
                setup, "t_ab", points, ab_order=order - 1
            ),
            nfes=tuple(n for n in NFES if n >= order),
            process=VPLinear(),
            tolerance=tolerance,
            verdict=verdict,
        )
        for order in (2, 3, 4)
        for what, points, tolerance, verdict in MORE
    ),
    Case(
        solver=f"deis[variant=rhoab,{UNIFORM}]",
        against="qsh-zh/deis",
        what="th_deis, method='rho_ab', ab_order=3",
        reference=lambda setup: th_deis(setup, "rho_ab", ab_order=3),
        nfes=NFES[3:],
        process=VPLinear(),
        tolerance=1e-4,
        verdict="Riemann sums of 10,000 points again.",
    ),
)
