"""Stable Diffusion 3.5 Large Turbo: latent adversarial distillation, four steps.

arXiv 2403.12015; ``bench show sd35_large_turbo`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="Stable Diffusion 3.5 Large Turbo: latent adversarial distillation, four steps.",
    family="released",
    papers=(
        Paper(
            title="Fast High-Resolution Image Synthesis with Latent Adversarial Diffusion Distillation",
            authors=(
                "Axel Sauer and Frederic Boesel and Tim Dockhorn and Andreas Blattmann and "
                "Patrick Esser and Robin Rombach"
            ),
            year=2024,
            arxiv="2403.12015",
        ),
    ),
    requires=("diffusers", "weights"),
)


class SD35LargeTurbo(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="stabilityai/stable-diffusion-3.5-large-turbo",
        revision="ec07796fc06b096cc56de9762974a28f4c632eda",
        kind="transformer",
        files={0: "transformer"},
        base=("stabilityai/stable-diffusion-3.5-large",),
        pipelines=("StableDiffusion3Pipeline",),
        licence="stabilityai-ai-community",
        sampler="euler",
        timesteps={4: (1000.0, 857.6923, 602.1505, 8.9286)},
        unit="flow",
        guidance_scale=1.0,
        prediction="velocity",
        start="scaled",
        source={
            "settings": "https://openllmlist.com/stable-diffusion-3-5-large-turbo-by-stabilityai",
            "licence": "https://huggingface.co/adamo1139/stable-diffusion-3.5-large-turbo-ungated",
            "revision": "pinned by several public repositories on github.com",
        },
        unverified=("that its scheduler shifts by 3, as the base's",),
    )
