"""LCM-LoRA for stable-diffusion-xl-base-1.0: latent consistency as an adapter.

arXiv 2311.05556; ``bench show lcm_lora_sdxl`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="LCM-LoRA for stable-diffusion-xl-base-1.0: latent consistency as an adapter.",
    family="released",
    papers=(
        Paper(
            title="LCM-LoRA: A Universal Stable-Diffusion Acceleration Module",
            authors=(
                "Simian Luo and Yiqin Tan and Suraj Patil and Daniel Gu and Patrick von Platen and "
                "Apolinário Passos and Longbo Huang and Jian Li and Hang Zhao"
            ),
            year=2023,
            arxiv="2311.05556",
            code="luosiallen/latent-consistency-model",
        ),
    ),
    requires=("diffusers", "weights"),
)


class LCMLoRASDXL(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="latent-consistency/lcm-lora-sdxl",
        revision="e4f4bc876032ad70aa9d241af2a2f33db0f3f048",
        kind="lora",
        files={0: "pytorch_lora_weights.safetensors"},
        base=("stabilityai/stable-diffusion-xl-base-1.0",),
        pipelines=("StableDiffusionXLPipeline",),
        licence="openrail++",
        sampler="consistency",
        timesteps={
            2: (999, 499),
            3: (999, 679, 339),
            4: (999, 759, 499, 259),
            5: (999, 799, 599, 399, 199),
            6: (999, 839, 679, 499, 339, 179),
            7: (999, 859, 719, 579, 439, 299, 159),
            8: (999, 879, 759, 639, 499, 379, 259, 139),
        },
        guidance_scale=1.0,
        prediction="eps",
        boundary=10.0,
        source={
            "settings": (
                "https://github.com/huggingface/diffusers/blob/main/docs/source/en/using-"
                "diffusers/inference_with_lcm.md"
            ),
            "revision": (
                "https://huggingface.co/latent-consistency/lcm-lora-sdxl/tree/e4f4bc876032ad70aa9d241af2a2f33db0f3f048"
            ),
        },
        unverified=("numbers of evaluations other than 4",),
    )
