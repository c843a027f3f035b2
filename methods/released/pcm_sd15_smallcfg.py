"""Phased consistency model as LoRAs for stable-diffusion-v1-5, for no or little guidance.

arXiv 2405.18407; ``bench show pcm_sd15_smallcfg`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="Phased consistency model as LoRAs for stable-diffusion-v1-5, for no or little guidance.",
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


class PCMSD15Smallcfg(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="wangfuyun/PCM_Weights",
        revision="f4fbd17f73bde8fd37dcd3fdca5b2d687d51d68b",
        kind="lora",
        files={
            2: "sd15/pcm_sd15_smallcfg_2step_converted.safetensors",
            4: "sd15/pcm_sd15_smallcfg_4step_converted.safetensors",
            8: "sd15/pcm_sd15_smallcfg_8step_converted.safetensors",
            16: "sd15/pcm_sd15_smallcfg_16step_converted.safetensors",
        },
        base=("stable-diffusion-v1-5/stable-diffusion-v1-5", "runwayml/stable-diffusion-v1-5"),
        pipelines=("StableDiffusionPipeline",),
        licence="not stated on the model card",
        sampler="euler",
        timesteps={
            2: (999, 499),
            4: (999, 749, 499, 249),
            8: (999, 874, 749, 624, 499, 374, 249, 124),
            16: (999, 937, 874, 811, 749, 687, 624, 561, 499, 437, 374, 311, 249, 187, 124, 61),
        },
        guidance_scale=1.0,
        prediction="eps",
        end="index0",
        source={
            "settings": "https://huggingface.co/wangfuyun/PCM_Weights",
            "revision": (
                "https://huggingface.co/wangfuyun/PCM_Weights/tree/f4fbd17f73bde8fd37dcd3fdca5b2d687d51d68b/sd15"
            ),
        },
        unverified=("the licence",),
        note="The card says DDIM or Euler with trailing spacing; the authors' demo runs TCD.",
    )
