"""LCM-LoRA for stable-diffusion-v1-5: latent consistency as an adapter.

arXiv 2311.05556; ``bench show lcm_lora_sd15`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="LCM-LoRA for stable-diffusion-v1-5: latent consistency as an adapter.",
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


class LCMLoRASD15(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="latent-consistency/lcm-lora-sdv1-5",
        kind="lora",
        files={0: "pytorch_lora_weights.safetensors"},
        base=("stable-diffusion-v1-5/stable-diffusion-v1-5", "runwayml/stable-diffusion-v1-5"),
        pipelines=("StableDiffusionPipeline",),
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
            )
        },
        unverified=(
            "the revision: no public source that we could read gives the full hash",
            "the licence",
            "numbers of evaluations other than 4",
        ),
    )
