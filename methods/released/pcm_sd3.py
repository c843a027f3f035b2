"""Phased consistency model as LoRAs for Stable Diffusion 3, deterministic.

arXiv 2405.18407; ``bench show pcm_sd3`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="Phased consistency model as LoRAs for Stable Diffusion 3, deterministic.",
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


class PCMSD3(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="wangfuyun/PCM_Weights",
        revision="def27ed2e4061a5ae047fcba65e719431ad409e5",
        kind="lora",
        files={
            2: "sd3/pcm_deterministic_2step_shift1.safetensors",
            4: "sd3/pcm_deterministic_4step_shift3.safetensors",
        },
        base=("stabilityai/stable-diffusion-3-medium-diffusers",),
        pipelines=("StableDiffusion3Pipeline",),
        licence="not stated on the model card",
        sampler="euler",
        timesteps={2: (1000.0, 500.0), 4: (1000.0, 904.7619, 750.0, 513.1579)},
        unit="flow",
        guidance_scale=1.2,
        prediction="velocity",
        start="scaled",
        source={
            "settings": (
                "https://github.com/G-U-N/Phased-Consistency-"
                "Model/blob/master/code/text_to_image_sd3/pcm_fm_deterministic_scheduler.py"
            ),
            "guidance_scale": (
                "https://github.com/G-U-N/Phased-Consistency-Model/blob/master/code/text_to_image_sd3/sd3_test.py"
            ),
            "files": "https://huggingface.co/wangfuyun/PCM_Weights",
            "revision": (
                "https://huggingface.co/wangfuyun/PCM_Weights/blob/def27ed2e4061a5ae047fcba65e719431ad409e5/README.md"
            ),
        },
        unverified=(
            "the licence",
            "the folder of the files",
            "2 evaluations: the authors' script gives that LoRA 4",
        ),
    )
