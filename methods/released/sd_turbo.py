"""SD-Turbo: adversarial diffusion distillation of Stable Diffusion 2.1.

arXiv 2311.17042; ``bench show sd_turbo`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="SD-Turbo: adversarial diffusion distillation of Stable Diffusion 2.1.",
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


class SDTurbo(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="stabilityai/sd-turbo",
        revision="b261bac6fd2cf515557d5d0707481eafa0485ec2",
        kind="unet",
        files={0: "unet"},
        base=("stabilityai/stable-diffusion-2-1-base", "stabilityai/stable-diffusion-2-1"),
        pipelines=("StableDiffusionPipeline",),
        licence="sai-nc-community",
        sampler="euler",
        timesteps={1: (999,), 2: (999, 499), 3: (999, 666, 332), 4: (999, 749, 499, 249)},
        guidance_scale=1.0,
        prediction="eps",
        start="scaled",
        source={
            "settings": "https://huggingface.co/docs/diffusers/api/pipelines/stable_diffusion/sdxl_turbo",
            "timesteps": "https://huggingface.co/stabilityai/sd-turbo",
            "sampler": "its scheduler_config.json, as copied in public repositories on github.com",
            "revision": "pinned by several public repositories on github.com",
        },
        unverified=("the licence's name",),
    )
