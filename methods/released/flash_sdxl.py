"""Flash Diffusion as a LoRA for stable-diffusion-xl-base-1.0, four steps.

arXiv 2406.02347; ``bench show flash_sdxl`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="Flash Diffusion as a LoRA for stable-diffusion-xl-base-1.0, four steps.",
    family="released",
    papers=(
        Paper(
            title="Flash Diffusion: Accelerating Any Conditional Diffusion Model for Few Steps Image Generation",
            authors="Clement Chadebec and Onur Tasar and Eyal Benaroche and Benjamin Aubin",
            year=2024,
            arxiv="2406.02347",
            code="gojasper/flash-diffusion",
        ),
    ),
    requires=("diffusers", "weights"),
)


class FlashSDXL(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="jasperai/flash-sdxl",
        revision="84e93604226d43e74ae9085a98ea4eaee57d8600",
        kind="lora",
        files={4: "pytorch_lora_weights.safetensors"},
        base=("stabilityai/stable-diffusion-xl-base-1.0",),
        pipelines=("StableDiffusionXLPipeline",),
        licence="cc-by-nc-nd-4.0",
        sampler="consistency",
        timesteps={4: (999, 759, 499, 259)},
        guidance_scale=1.0,
        prediction="eps",
        boundary=10.0,
        source={
            "settings": "https://github.com/gojasper/flash-diffusion",
            "revision": "https://huggingface.co/jasperai/flash-sdxl/tree/84e93604226d43e74ae9085a98ea4eaee57d8600",
        },
    )
