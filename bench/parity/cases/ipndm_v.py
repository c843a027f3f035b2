"""iPNDM_v, which exists in one place only."""

from __future__ import annotations

from bench.parity.authors import diff_sampler
from bench.parity.base import Case

CASES = (
    *(
        Case(
            solver=f"ipndm_v[order={order},grid={grid}]",
            against="zju-pi/diff-sampler",
            what=f"ipndm_v_sampler(max_order={order})",
            reference=lambda setup, order=order: diff_sampler(  # type: ignore[misc]
                setup, "ipndm_v_sampler", max_order=order
            ),
            tolerance=1e-10,
        )
        for order in (2, 3, 4)  # order 1 raises IndexError there
        for grid in ("karras", "karras[end=sigma_min]", "vp_uniform[end=sigma_min]")
    ),
    *(
        Case(
            solver=f"ipndm_v[order={order},afs=true,grid=karras[end=sigma_min]]",
            against="zju-pi/diff-sampler",
            what=f"ipndm_v_sampler(max_order={order}, afs=True)",
            reference=lambda setup, order=order: diff_sampler(  # type: ignore[misc]
                setup, "ipndm_v_sampler", max_order=order, afs=True
            ),
            tolerance=1e-10,
        )
        for order in (2, 4)
    ),
    Case(
        solver="ab[grid=karras[end=sigma_min]]",
        against="zju-pi/diff-sampler",
        what="ipndm_v_sampler(max_order=4), beside exact weights",
        reference=lambda setup: diff_sampler(setup, "ipndm_v_sampler", max_order=4),
        tolerance=None,
        verdict="Theirs: three slips, two of which show where steps differ only. ab is exact, ipndm_v is theirs.",
    ),
)
