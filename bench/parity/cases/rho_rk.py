"""Runge-Kutta in rho: the authors' tableaus, and the trapezoidal rule elsewhere."""

from __future__ import annotations

from bench.parity.base import Case
from bench.parity.cases._th_deis import th_deis
from bench.parity.external import k_diffusion
from bench.process import VPLinear

BUDGETS = {2: (2, 8, 10, 20), 3: (3, 9, 12, 21), 4: (4, 8, 12, 20)}
NAMES = {
    "heun2": "2heun",
    "kutta3": "3kutta",
    "heun3": "3heun",
    "ralston3": "3ral",
    "houwen3": "3vdh",
    "ssp3": "3ssprk",
    "rk4": "4rk",
}

CASES = (
    *(
        Case(
            solver=f"rho_rk[tableau={ours},grid=time_uniform[end=sigma_min]]",
            against="qsh-zh/deis",
            what=f"th_deis, method='rho_rk', rk_method='{theirs}'",
            reference=lambda setup, theirs=theirs: th_deis(  # type: ignore[misc]
                setup, "rho_rk", rk_method=theirs
            ),
            nfes=BUDGETS[int(theirs[0])],
            process=VPLinear(),
        )
        for ours, theirs in NAMES.items()
    ),
    Case(
        solver="rho_rk[tableau=heun2,grid=karras[end=append]]",
        against="k-diffusion",
        what="sample_heun",
        reference=lambda setup: k_diffusion(setup, "sample_heun"),
        nfes=(1, 3, 5, 9, 19),
    ),
)
