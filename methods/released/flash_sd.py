"""Flash Diffusion as a LoRA for stable-diffusion-v1-5, four steps.

arXiv 2406.02347; ``bench show flash_sd`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="Flash Diffusion as a LoRA for stable-diffusion-v1-5, four steps.",
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


class FlashSD(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="jasperai/flash-sd",
        revision="c8f7c0c243677855c2a4b832199885a3a81cdaac",
        kind="lora",
        files={4: "pytorch_lora_weights.safetensors"},
        base=("stable-diffusion-v1-5/stable-diffusion-v1-5", "runwayml/stable-diffusion-v1-5"),
        pipelines=("StableDiffusionPipeline",),
        licence="cc-by-nc-4.0",
        sampler="consistency",
        timesteps={4: (999, 759, 499, 259)},
        guidance_scale=1.0,
        prediction="eps",
        boundary=10.0,
        source={
            "settings": "https://github.com/gojasper/flash-diffusion",
            "revision": "https://huggingface.co/jasperai/flash-sd/tree/c8f7c0c243677855c2a4b832199885a3a81cdaac",
        },
    )
