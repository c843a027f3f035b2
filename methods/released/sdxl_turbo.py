"""SDXL-Turbo: adversarial diffusion distillation of SDXL, 512 x 512.

arXiv 2311.17042; ``bench show sdxl_turbo`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="SDXL-Turbo: adversarial diffusion distillation of SDXL, 512 x 512.",
    family="released",
    papers=(
        Paper(
            title="Adversarial Diffusion Distillation",
            authors="Axel Sauer and Dominik Lorenz and Andreas Blattmann and Robin Rombach",
            year=2023,
            arxiv="2311.17042",
            code="Stability-AI/generative-models",
        ),
    ),
    requires=("diffusers", "weights"),
)


class SDXLTurbo(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="stabilityai/sdxl-turbo",
        revision="ef0d007d296a24f621ab6d376e7055eb6116877b",
        kind="unet",
        files={0: "unet"},
        base=("stabilityai/stable-diffusion-xl-base-1.0",),
        pipelines=("StableDiffusionXLPipeline",),
        licence="sai-nc-community",
        sampler="ancestral",
        timesteps={1: (999,), 2: (999, 499), 3: (999, 666, 332), 4: (999, 749, 499, 249)},
        guidance_scale=1.0,
        prediction="eps",
        start="scaled",
        source={
            "settings": "https://huggingface.co/docs/diffusers/using-diffusers/sdxl_turbo",
            "revision": "https://huggingface.co/stabilityai/sdxl-turbo/tree/ef0d007d296a24f621ab6d376e7055eb6116877b",
        },
        note="Trained at 512 x 512: set height and width of the suite.",
    )
