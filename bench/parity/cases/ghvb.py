"""HB, GHVB and Nesterov momentum, from the authors' wrapper of diffusers' schedulers."""

from __future__ import annotations

from torch import Tensor

from bench.parity.authors import load
from bench.parity.base import Case, Setup
from bench.parity.external import package

NAMES = {"ghvb": "GHVBScheduler", "hb": "PLMSWithHBScheduler", "nesterov": "PLMSWithNTScheduler"}


def _momentum(setup: Setup, name: str, order: float) -> Tensor:
    """Around a DDIMScheduler whose table of alphas holds our nodes, one time step apart."""
    wrapper = getattr(load(setup, "stable_diffusion/diffusion/momentum_scheduler"), name)
    n = len(setup.grid) - 1
    scheduler = package("diffusers").DDIMScheduler(num_train_timesteps=n)
    scheduler.set_timesteps(n)
    squared = 1 / (1 + setup.grid.sigma**2)
    scheduler.alphas_cumprod, scheduler.final_alpha_cumprod = squared[:-1].flip(0), squared[-1]
    solver = wrapper(scheduler, order=order)
    latents = setup.x * squared[0].sqrt()
    for t in range(n - 1, -1, -1):
        sigma, alpha = setup.grid.nodes[n - 1 - t], squared[n - 1 - t].sqrt()
        state = latents / alpha
        latents = solver.step((state - setup.denoise(state, sigma)) / sigma, t, latents)
    found: Tensor = latents / squared[-1].sqrt()
    return found


CASES = tuple(
    Case(
        solver=f"ghvb[variant={variant},order={order},grid={grid}]",
        against="sWizad/momentum-diffusion",
        what=f"{NAMES[variant]}(DDIMScheduler, order={order})",
        reference=lambda setup, variant=variant, order=order: _momentum(  # type: ignore[misc]
            setup, NAMES[variant], order
        ),
    )
    for variant, order, grid in (
        ("ghvb", 0.5, "karras"),
        ("ghvb", 1.5, "karras[end=sigma_min]"),
        ("ghvb", 2.5, "karras"),
        ("ghvb", 3.3, "vp_uniform"),
        ("ghvb", 4.0, "vp_uniform"),
        ("ghvb", 4.5, "karras[end=sigma_min]"),
        ("hb", 1.3, "karras"),
        ("hb", 2.5, "karras"),
        ("hb", 3.8, "vp_uniform[end=sigma_min]"),
        ("nesterov", 2.5, "karras"),
        ("nesterov", 3.8, "vp_uniform[end=sigma_min]"),
    )
)
