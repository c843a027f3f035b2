"""Second-order steps and ancestral steps of k-diffusion, and EDM's general second-order Runge-Kutta method."""

from __future__ import annotations

from functools import partial

from bench.parity.base import Case
from bench.parity.cases._edm import edm
from bench.parity.external import k_diffusion

ODD = (1, 3, 5, 9, 19)
CASES = (
    Case(
        solver="dpm2[grid=karras[end=append]]",
        against="k-diffusion",
        what="sample_dpm_2",
        reference=partial(k_diffusion, name="sample_dpm_2"),
        nfes=ODD,
    ),
    Case(
        solver="dpm2[grid=karras[end=sigma_min]]",
        against="k-diffusion",
        what="sample_dpm_2",
        reference=partial(k_diffusion, name="sample_dpm_2"),
        nfes=(2, 8, 10, 20),
    ),
    *(
        Case(
            solver=f"dpm2[eta={eta},s_noise={s_noise},grid=karras[end={end}]]",
            against="k-diffusion",
            what=f"sample_dpm_2_ancestral(eta={eta}, s_noise={s_noise})",
            reference=partial(k_diffusion, name="sample_dpm_2_ancestral", noisy=True, eta=eta, s_noise=s_noise),
            nfes=ODD if end == "append" else (2, 8, 10, 20),
        )
        for eta, s_noise, end in ((1.0, 1.0, "append"), (0.4, 1.1, "append"), (1.0, 1.0, "sigma_min"))
    ),
    *(
        Case(
            solver=f"dpm2[order=1,eta={eta},s_noise={s_noise},grid=karras[end=append]]",
            against="k-diffusion",
            what=f"sample_euler_ancestral(eta={eta}, s_noise={s_noise})",
            reference=partial(k_diffusion, name="sample_euler_ancestral", noisy=True, eta=eta, s_noise=s_noise),
        )
        for eta, s_noise in ((1.0, 1.0), (0.4, 1.1))
    ),
    *(
        Case(
            solver=f"dpm2[midpoint=alpha,alpha={alpha},grid=karras[end=append]]",
            against="NVlabs/edm",
            what=f"ablation_sampler(alpha={alpha})",
            reference=partial(edm, name="ablation_sampler", alpha=alpha),
            nfes=ODD[1:],  # with one step its grid is NaN
        )
        for alpha in (0.5, 0.7, 1.0)
    ),
)
