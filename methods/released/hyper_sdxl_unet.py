"""Hyper-SD's one-step U-Net of SDXL, which starts from time step 800.

arXiv 2404.13686; ``bench show hyper_sdxl_unet`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="Hyper-SD's one-step U-Net of SDXL, which starts from time step 800.",
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


class HyperSDXLUNet(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="ByteDance/Hyper-SD",
        revision="52d483a2ab8d38ce89e1d8b8f45771905f3af3f4",
        kind="unet",
        files={1: "Hyper-SDXL-1step-Unet.safetensors"},
        base=("stabilityai/stable-diffusion-xl-base-1.0",),
        pipelines=("StableDiffusionXLPipeline",),
        licence="openrail++",
        sampler="consistency",
        timesteps={1: (800,)},
        guidance_scale=1.0,
        prediction="eps",
        boundary=10.0,
        source={
            "settings": "https://huggingface.co/ByteDance/Hyper-SD, as copied in public repositories on github.com",
            "revision": "https://huggingface.co/ByteDance/Hyper-SD/tree/52d483a2ab8d38ce89e1d8b8f45771905f3af3f4",
        },
    )
