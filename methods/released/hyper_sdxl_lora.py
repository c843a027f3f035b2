"""Hyper-SD's LoRAs for stable-diffusion-xl-base-1.0, one for each number of evaluations.

arXiv 2404.13686; ``bench show hyper_sdxl_lora`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="Hyper-SD's LoRAs for stable-diffusion-xl-base-1.0, one for each number of evaluations.",
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


class HyperSDXLLoRA(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="ByteDance/Hyper-SD",
        revision="52d483a2ab8d38ce89e1d8b8f45771905f3af3f4",
        kind="lora",
        files={
            2: "Hyper-SDXL-2steps-lora.safetensors",
            4: "Hyper-SDXL-4steps-lora.safetensors",
            8: "Hyper-SDXL-8steps-lora.safetensors",
        },
        base=("stabilityai/stable-diffusion-xl-base-1.0",),
        pipelines=("StableDiffusionXLPipeline",),
        licence="openrail++",
        sampler="euler",
        timesteps={2: (999, 499), 4: (999, 749, 499, 249), 8: (999, 874, 749, 624, 499, 374, 249, 124)},
        guidance_scale=1.0,
        prediction="eps",
        end="index0",
        source={
            "settings": "https://huggingface.co/ByteDance/Hyper-SD, as copied in public repositories on github.com",
            "revision": "https://huggingface.co/ByteDance/Hyper-SD/tree/52d483a2ab8d38ce89e1d8b8f45771905f3af3f4",
        },
    )
