"""Trajectory consistency distillation as a LoRA for stable-diffusion-2-1-base.

arXiv 2402.19159; ``bench show tcd_lora_sd21`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="Trajectory consistency distillation as a LoRA for stable-diffusion-2-1-base.",
    family="released",
    papers=(
        Paper(
            title="Trajectory Consistency Distillation",
            authors=(
                "Jianbin Zheng and Minghui Hu and Zhongyi Fan and Chaoyue Wang and Changxing Ding and "
                "Dacheng Tao and Tat-Jen Cham"
            ),
            year=2024,
            arxiv="2402.19159",
            code="jabir-zheng/TCD",
        ),
    ),
    requires=("diffusers", "weights"),
)


class TCDLoRASD21(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="h1t/TCD-SD21-base-LoRA",
        kind="lora",
        files={0: "pytorch_lora_weights.safetensors"},
        base=("stabilityai/stable-diffusion-2-1-base",),
        pipelines=("StableDiffusionPipeline",),
        licence="mit",
        sampler="tcd",
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
        end="index0",
        eta=0.3,
        source={
            "settings": "https://github.com/jabir-zheng/TCD",
            "files": "https://huggingface.co/h1t/TCD-SD21-base-LoRA/tree/main",
        },
        unverified=(
            "the revision: no public source that we could read gives the full hash",
            "settings: those of the SDXL LoRA",
        ),
        note=("The authors recommend a higher eta with more evaluations; 0.3 is what all their examples have."),
    )
