"""Flash Diffusion as a LoRA for Stable Diffusion 3, four steps.

arXiv 2406.02347; ``bench show flash_sd3`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="Flash Diffusion as a LoRA for Stable Diffusion 3, four steps.",
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


class FlashSD3(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="jasperai/flash-sd3",
        revision="4fa34709c52cdcd9e8f3539db4a8aa6f7960c4ce",
        kind="lora",
        files={4: "adapter_model.safetensors"},
        base=("stabilityai/stable-diffusion-3-medium-diffusers",),
        pipelines=("StableDiffusion3Pipeline",),
        licence="cc-by-nc-4.0",
        sampler="consistency",
        timesteps={4: (1000.0, 857.6923, 602.1505, 8.9286)},
        unit="flow",
        guidance_scale=1.0,
        prediction="velocity",
        start="scaled",
        source={
            "settings": "https://huggingface.co/jasperai/flash-sd3",
            "revision": "https://huggingface.co/jasperai/flash-sd3/tree/4fa34709c52cdcd9e8f3539db4a8aa6f7960c4ce",
        },
        unverified=(
            ("the sampler: FlashFlowMatchEulerDiscreteScheduler is in a fork of diffusers that we could not read"),
        ),
    )
