"""DPM-Solver++ along the SDE: k-diffusion's 2M and 3M, diffusers' sde-dpmsolver++."""

from __future__ import annotations

from bench.parity.base import NFES, Case
from bench.parity.external import diffusers, k_diffusion

APPEND, END = "grid=karras[end=append]", "grid=karras[end=sigma_min]"
MULTI = "DPMSolverMultistepScheduler"
CRASH = "With one step k-diffusion raises: the length of a step that is not taken is kept for the next."

CASES = (
    *(
        Case(
            solver=f"dpm_solver_pp_sde[solver_type={kind},eta={eta},{APPEND}]",
            against="k-diffusion",
            what=f"sample_dpmpp_2m_sde(solver_type='{kind}', eta={eta})",
            reference=lambda setup, kind=kind, eta=eta: k_diffusion(  # type: ignore[misc]
                setup, "sample_dpmpp_2m_sde", noisy=True, solver_type=kind, eta=eta
            ),
            nfes=NFES[1:],
            verdict=CRASH,
        )
        for kind, eta in (("midpoint", 1.0), ("heun", 1.0), ("midpoint", 0.5), ("heun", 0.0))
    ),
    *(
        Case(
            solver=f"dpm_solver_pp_sde[order=3,solver_type=heun,eta={eta},{APPEND}]",
            against="k-diffusion",
            what=f"sample_dpmpp_3m_sde(eta={eta})",
            reference=lambda setup, eta=eta: k_diffusion(  # type: ignore[misc]
                setup, "sample_dpmpp_3m_sde", noisy=True, eta=eta
            ),
            nfes=NFES[1:],
            verdict=CRASH,
        )
        for eta in (1.0, 0.4, 0.0)
    ),
    *(
        Case(
            solver=f"dpm_solver_pp_sde[order={order},solver_type={kind},lower_final=15,{END}]",
            against="diffusers",
            what=f"{MULTI}(solver_order={order}, solver_type='{kind}', algorithm_type='sde-dpmsolver++')",
            reference=lambda setup, order=order, kind=kind: diffusers(  # type: ignore[misc]
                setup,
                MULTI,
                noisy=True,
                solver_order=order,
                solver_type=kind,
                algorithm_type="sde-dpmsolver++",
                final_sigmas_type="sigma_min",
            ),
        )
        for order, kind in ((1, "midpoint"), (2, "midpoint"), (2, "heun"))
    ),
    Case(
        solver=f"dpm_solver_pp_sde[order=3,lower_final=15,{END}]",
        against="diffusers",
        what=f"{MULTI}(solver_order=3, algorithm_type='sde-dpmsolver++')",
        reference=lambda setup: diffusers(
            setup,
            MULTI,
            noisy=True,
            solver_order=3,
            algorithm_type="sde-dpmsolver++",
            final_sigmas_type="sigma_min",
        ),
        nfes=(5, 8, 10, 20),
        tolerance=None,
        verdict="A fault of diffusers: the weight of its second difference has - 1/2 where + 1/2 is right, so it tends "
        "to -1 instead of 0 for short steps. Its ODE and k-diffusion's 3M SDE have the right sign, as ours.",
    ),
)
