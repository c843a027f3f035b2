"""Trajectory consistency distillation as a LoRA for stable-diffusion-xl-base-1.0.

arXiv 2402.19159; ``bench show tcd_lora_sdxl`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="Trajectory consistency distillation as a LoRA for stable-diffusion-xl-base-1.0.",
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


class TCDLoRASDXL(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="h1t/TCD-SDXL-LoRA",
        revision="ea69e290a201cbb9ac232be2d5c81ef6dc0fc3a2",
        kind="lora",
        files={0: "pytorch_lora_weights.safetensors"},
        base=("stabilityai/stable-diffusion-xl-base-1.0",),
        pipelines=("StableDiffusionXLPipeline",),
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
            "files": "https://huggingface.co/h1t/TCD-SDXL-LoRA/tree/main",
            "revision": "https://huggingface.co/h1t/TCD-SDXL-LoRA/tree/ea69e290a201cbb9ac232be2d5c81ef6dc0fc3a2",
        },
        note=("The authors recommend a higher eta with more evaluations; 0.3 is what all their examples have."),
    )
