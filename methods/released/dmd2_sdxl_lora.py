"""DMD2's four-step LoRA for SDXL.

arXiv 2405.14867; ``bench show dmd2_sdxl_lora`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="DMD2's four-step LoRA for SDXL.",
    family="released",
    papers=(
        Paper(
            title="Improved Distribution Matching Distillation for Fast Image Synthesis",
            authors=(
                "Tianwei Yin and Michaël Gharbi and Taesung Park and Richard Zhang and Eli Shechtman and "
                "Frédo Durand and William T. Freeman"
            ),
            year=2024,
            arxiv="2405.14867",
            code="tianweiy/DMD2",
        ),
    ),
    requires=("diffusers", "weights"),
)


class DMD2SDXLLoRA(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="tianweiy/DMD2",
        kind="lora",
        files={4: "dmd2_sdxl_4step_lora_fp16.safetensors"},
        base=("stabilityai/stable-diffusion-xl-base-1.0",),
        pipelines=("StableDiffusionXLPipeline",),
        licence="cc-by-nc-4.0",
        sampler="consistency",
        timesteps={4: (999, 749, 499, 249)},
        guidance_scale=1.0,
        prediction="eps",
        boundary=10.0,
        source={
            "settings": "https://github.com/tianweiy/DMD2",
            "files": "https://huggingface.co/tianweiy/DMD2/tree/main",
        },
        unverified=("the revision: no public source that we could read gives the full hash",),
    )
