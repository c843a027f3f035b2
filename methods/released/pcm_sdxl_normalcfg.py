"""Phased consistency model as LoRAs for stable-diffusion-xl-base-1.0, for normal guidance.

arXiv 2405.18407; ``bench show pcm_sdxl_normalcfg`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="Phased consistency model as LoRAs for stable-diffusion-xl-base-1.0, for normal guidance.",
    family="released",
    papers=(
        Paper(
            title="Phased Consistency Model",
            authors=(
                "Fu-Yun Wang and Zhaoyang Huang and Alexander William Bergman and Dazhong Shen and "
                "Peng Gao and Michael Lingelbach and Keqiang Sun and Weikang Bian and Guanglu Song and "
                "Yu Liu and Hongsheng Li and Xiaogang Wang"
            ),
            year=2024,
            arxiv="2405.18407",
            code="G-U-N/Phased-Consistency-Model",
        ),
    ),
    requires=("diffusers", "weights"),
)


class PCMSDXLNormalcfg(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="wangfuyun/PCM_Weights",
        revision="f4fbd17f73bde8fd37dcd3fdca5b2d687d51d68b",
        kind="lora",
        files={
            4: "sdxl/pcm_sdxl_normalcfg_4step_converted.safetensors",
            8: "sdxl/pcm_sdxl_normalcfg_8step_converted.safetensors",
            16: "sdxl/pcm_sdxl_normalcfg_16step_converted.safetensors",
        },
        base=("stabilityai/stable-diffusion-xl-base-1.0",),
        pipelines=("StableDiffusionXLPipeline",),
        licence="not stated on the model card",
        sampler="euler",
        timesteps={
            4: (999, 749, 499, 249),
            8: (999, 874, 749, 624, 499, 374, 249, 124),
            16: (999, 937, 874, 811, 749, 687, 624, 561, 499, 437, 374, 311, 249, 187, 124, 61),
        },
        guidance_scale=3.0,
        guidance_by_nfe={4: 3.0, 8: 4.5, 16: 7.5},
        prediction="eps",
        end="index0",
        source={
            "settings": "https://huggingface.co/wangfuyun/PCM_Weights",
            "revision": (
                "https://huggingface.co/wangfuyun/PCM_Weights/tree/f4fbd17f73bde8fd37dcd3fdca5b2d687d51d68b/sdxl"
            ),
        },
        unverified=("the licence", "the scale at 16 evaluations, taken from the demo"),
        note="Scales are the middle of the ranges on the card: 2.5 to 3.5 with 4 steps, 3 to 6 with 8.",
    )
