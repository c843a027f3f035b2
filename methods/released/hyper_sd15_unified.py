"""Hyper-SD's unified LoRA for stable-diffusion-v1-5, 1 to 8 evaluations with TCD.

arXiv 2404.13686; ``bench show hyper_sd15_unified`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="Hyper-SD's unified LoRA for stable-diffusion-v1-5, 1 to 8 evaluations with TCD.",
    family="released",
    papers=(
        Paper(
            title="Hyper-SD: Trajectory Segmented Consistency Model for Efficient Image Synthesis",
            authors=(
                "Yuxi Ren and Xin Xia and Yanzuo Lu and Jiacheng Zhang and Jie Wu and Pan Xie and "
                "Xing Wang and Xuefeng Xiao"
            ),
            year=2024,
            arxiv="2404.13686",
        ),
    ),
    requires=("diffusers", "weights"),
)


class HyperSD15Unified(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="ByteDance/Hyper-SD",
        revision="52d483a2ab8d38ce89e1d8b8f45771905f3af3f4",
        kind="lora",
        files={0: "Hyper-SD15-1step-lora.safetensors"},
        base=("stable-diffusion-v1-5/stable-diffusion-v1-5", "runwayml/stable-diffusion-v1-5"),
        pipelines=("StableDiffusionPipeline",),
        licence="openrail++",
        sampler="tcd",
        timesteps={
            1: (999,),
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
        eta=1.0,
        source={
            "settings": "https://huggingface.co/ByteDance/Hyper-SD, as copied in public repositories on github.com",
            "revision": "https://huggingface.co/ByteDance/Hyper-SD/tree/52d483a2ab8d38ce89e1d8b8f45771905f3af3f4",
        },
        note="A lower eta gives more detail with several evaluations.",
    )
