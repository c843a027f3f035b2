"""The predictor-corrector sampler of Song et al. 2021."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from bench.parity.base import Case, Setup
from bench.parity.cases._score_sde import one_by_one, pc_sampler

AUTHORS = "yang-song/score_sde_pytorch"
EVEN = (2, 4, 8, 10, 20)


def _alone(setup: Setup, sde: str, predictor: str, snr: float) -> Tensor:
    return one_by_one(setup, partial(pc_sampler, predictor=predictor, corrector="langevin", sde=sde, snr=snr))


def _case(sde: str, predictor: str, theirs: str) -> tuple[Case, ...]:
    """The predictor alone, and with a corrector for one sample at a time and for all of them together."""
    ours = f"predictor={predictor},sde={sde}"
    process = f"{'VESDE' if sde == 've' else 'VPSDE'}, {theirs}"
    return (
        Case(
            solver=f"reverse_diffusion[{ours},corrector_steps=0]",
            against=AUTHORS,
            what=f"get_pc_sampler({process}, none)",
            reference=partial(pc_sampler, predictor=theirs, corrector="none", sde=sde, snr=0.16, n_steps=0),
        ),
        Case(
            solver=f"reverse_diffusion[{ours}]",
            against=AUTHORS,
            what=f"get_pc_sampler({process}, langevin), batches of one",
            reference=partial(_alone, sde=sde, predictor=theirs, snr=0.16),
            nfes=EVEN,
        ),
        Case(
            solver=f"reverse_diffusion[{ours},corrector_steps=2,snr=0.1,norms=batch]",
            against=AUTHORS,
            what=f"get_pc_sampler({process}, langevin, n_steps=2, snr=0.1)",
            reference=partial(pc_sampler, predictor=theirs, corrector="langevin", sde=sde, snr=0.1, n_steps=2),
            nfes=(3, 6, 9, 21),
        ),
    )


CASES = (
    *_case("ve", "reverse_diffusion", "reverse_diffusion"),
    *_case("ve", "ancestral", "ancestral_sampling"),
    *_case("vp", "reverse_diffusion", "reverse_diffusion"),
    *_case("vp", "ancestral", "ancestral_sampling"),
    Case(
        solver="reverse_diffusion",
        against=AUTHORS,
        what="get_pc_sampler(VESDE, reverse_diffusion, langevin), a batch of eight",
        reference=partial(pc_sampler, predictor="reverse_diffusion", corrector="langevin", snr=0.16),
        nfes=EVEN,
        tolerance=None,
        verdict="Theirs: the step of the corrector comes from norms averaged over the batch, so a sample depends on "
        "the others. norms=batch is theirs to round-off, and so is the default for batches of one.",
    ),
)
