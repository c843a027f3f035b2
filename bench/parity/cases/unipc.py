"""UniPC, with both functions B(h)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from bench.parity.authors import diff_sampler, lambda_solver, load
from bench.parity.base import NFES, Case, Setup
from bench.parity.external import azula, diffusers

NAME = "UniPCMultistepScheduler"
END = "grid=karras[end=sigma_min]"
CORRECTED = (
    "A fault of diff-sampler's: with fewer than max_order steps the corrector runs on the last one too and costs one "
    "evaluation more than is reported. corrector_last=true does the same, and counts it."
)


def _authors(setup: Setup, variant: str, **options: Any) -> Tensor:
    module = load(setup, "uni_pc")
    return lambda_solver(setup, module.UniPC, {"variant": variant}, steps=setup.nfe, **options)


CASES = (
    *(
        Case(
            solver=f"unipc[order={order},variant={variant},lower_final=always,grid=karras[end={end}]]",
            against="diffusers",
            what=f"{NAME}(solver_order={order}, solver_type='{variant}', final_sigmas_type='{end}')",
            reference=lambda setup, order=order, variant=variant, end=end: diffusers(  # type: ignore[misc]
                setup, NAME, solver_order=order, solver_type=variant, final_sigmas_type=end
            ),
            verdict="bh1 at sigma 0 is NaN in diffusers, which multiplies an infinite B(h) with 0."
            if (variant, end) == ("bh1", "sigma_min")
            else "",
        )
        for order in (1, 2, 3)
        for variant, end in (("bh1", "sigma_min"), ("bh2", "sigma_min"), ("bh2", "zero"))
    ),
    *(
        Case(
            solver=f"unipc[order=3,corrector={str(corrector).lower()},{END}]",
            against="diffusers",
            what=f"{NAME}(solver_order=3, lower_order_final=False, disable_corrector={'[]' if corrector else 'all'})",
            reference=lambda setup, corrector=corrector: diffusers(  # type: ignore[misc]
                setup,
                NAME,
                solver_order=3,
                lower_order_final=False,
                final_sigmas_type="sigma_min",
                disable_corrector=[] if corrector else list(range(setup.nfe)),
            ),
        )
        for corrector in (True, False)
    ),
    Case(
        solver=f"unipc[{END}]",
        against="diffusers",
        what=f"{NAME}(final_sigmas_type='sigma_min'), its defaults",
        reference=lambda setup: diffusers(setup, NAME, final_sigmas_type="sigma_min"),
        tolerance=None,
        verdict="diffusers lowers the order of the last step at every number of steps, ours has one rule for all: "
        "lower_final=always or lower_order_final=False make them equal.",
    ),
    Case(
        solver=f"unipc[order=3,corrector=false,{END}]",
        against="azula",
        what="xEABSampler(order=3)",
        reference=lambda setup: azula(setup, "xEABSampler", order=3),
        tolerance=None,
        verdict="UniP-2, here the second step of UniP-3, is simplified by its authors to a weight of 1/2; azula "
        "integrates exactly. dpm_solver_pp[order=3,solver_type=heun,fix_3m=true] is azula's.",
    ),
    *(
        Case(
            solver=f"unipc[order={order},variant={variant},lower_final=always,{END}]",
            against="wl-zhao/UniPC",
            what=f"UniPC(variant='{variant}').sample(order={order}){default}",
            reference=lambda setup, order=order, variant=variant: _authors(  # type: ignore[misc]
                setup, variant, order=order
            ),
            nfes=tuple(n for n in NFES if n >= order),
            verdict=f"With fewer than {order} steps theirs refuses." if order > 1 else "",
        )
        for order in (1, 2, 3)
        for variant, default in (("bh1", ", its default"), ("bh2", ""))
    ),
    Case(
        solver=f"unipc[lower_final=always,{END}]",
        against="wl-zhao/UniPC",
        what="UniPC().sample(), its default bh1 beside our bh2",
        reference=lambda setup: _authors(setup, "bh1"),
        nfes=NFES[1:],
        tolerance=None,
        verdict="A choice, not a fault: the default B(h) is bh1 in the authors' code, bh2 in diffusers, diff-sampler "
        "and here. variant=bh1 makes them equal.",
    ),
    *(
        Case(
            solver=f"unipc[order={order},variant={variant},lower_final={lower},threshold=0.995,{extra}{END}]",
            against="zju-pi/diff-sampler",
            what=f"unipc_sampler(max_order={order}, variant='{variant}'){what}",
            reference=lambda setup, order=order, variant=variant: diff_sampler(  # type: ignore[misc]
                setup, "unipc_sampler", max_order=order, variant=variant
            ),
            nfes=nfes,
            verdict=verdict,
        )
        for variant in ("bh1", "bh2")
        for order, lower, extra, nfes, what, verdict in (
            (2, "always", "", NFES[1:], "", ""),
            (3, "always", "", NFES[2:], "", ""),
            (3, 0, "corrector_last=true,", (2, 3), ", called with one and two steps", CORRECTED),
        )
    ),
    Case(
        solver=f"unipc[order=3,lower_final=always,{END}]",
        against="zju-pi/diff-sampler",
        what="unipc_sampler(max_order=3), without threshold=0.995 here",
        reference=lambda setup: diff_sampler(setup, "unipc_sampler", max_order=3),
        nfes=NFES[2:],
        tolerance=None,
        verdict="A fault of diff-sampler: it forces dynamic thresholding at 0.995, which clips data that is not within "
        "[-1, 1] and divides by the bound. threshold=0.995 makes them equal; here it is off by default.",
    ),
)
