"""SDXL-Lightning's experimental one-step U-Net, which predicts the data.

arXiv 2402.13929; ``bench show sdxl_lightning_1step`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="SDXL-Lightning's experimental one-step U-Net, which predicts the data.",
    family="released",
    papers=(
        Paper(
            title="SDXL-Lightning: Progressive Adversarial Diffusion Distillation",
            authors="Shanchuan Lin and Anran Wang and Xiao Yang",
            year=2024,
            arxiv="2402.13929",
        ),
    ),
    requires=("diffusers", "weights"),
)


class SDXLLightning1Step(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="ByteDance/SDXL-Lightning",
        revision="c9a24f48e1c025556787b0c58dd67a091ece2e44",
        kind="unet",
        files={1: "sdxl_lightning_1step_unet_x0.safetensors"},
        base=("stabilityai/stable-diffusion-xl-base-1.0",),
        pipelines=("StableDiffusionXLPipeline",),
        licence="openrail++",
        sampler="euler",
        timesteps={1: (999,)},
        guidance_scale=1.0,
        prediction="x0",
        start="scaled",
        source={
            "settings": (
                "https://huggingface.co/ByteDance/SDXL-Lightning, as copied in public repositories on github.com"
            ),
            "revision": (
                "https://huggingface.co/ByteDance/SDXL-Lightning/tree/c9a24f48e1c025556787b0c58dd67a091ece2e44"
            ),
        },
    )
