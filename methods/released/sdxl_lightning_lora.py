"""SDXL-Lightning as a LoRA.

arXiv 2402.13929; ``bench show sdxl_lightning_lora`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="SDXL-Lightning as a LoRA.",
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


class SDXLLightningLoRA(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="ByteDance/SDXL-Lightning",
        revision="c9a24f48e1c025556787b0c58dd67a091ece2e44",
        kind="lora",
        files={
            2: "sdxl_lightning_2step_lora.safetensors",
            4: "sdxl_lightning_4step_lora.safetensors",
            8: "sdxl_lightning_8step_lora.safetensors",
        },
        base=("stabilityai/stable-diffusion-xl-base-1.0",),
        pipelines=("StableDiffusionXLPipeline",),
        licence="openrail++",
        sampler="euler",
        timesteps={2: (999, 499), 4: (999, 749, 499, 249), 8: (999, 874, 749, 624, 499, 374, 249, 124)},
        guidance_scale=1.0,
        prediction="eps",
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
