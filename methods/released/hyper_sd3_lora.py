"""Hyper-SD's LoRAs for Stable Diffusion 3, made for guidance.

arXiv 2404.13686; ``bench show hyper_sd3_lora`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="Hyper-SD's LoRAs for Stable Diffusion 3, made for guidance.",
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


class HyperSD3LoRA(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="ByteDance/Hyper-SD",
        revision="52d483a2ab8d38ce89e1d8b8f45771905f3af3f4",
        kind="lora",
        files={
            4: "Hyper-SD3-4steps-CFG-lora.safetensors",
            8: "Hyper-SD3-8steps-CFG-lora.safetensors",
            16: "Hyper-SD3-16steps-CFG-lora.safetensors",
        },
        lora_scale=0.125,
        base=("stabilityai/stable-diffusion-3-medium-diffusers",),
        pipelines=("StableDiffusion3Pipeline",),
        licence="stabilityai-ai-community",
        sampler="euler",
        timesteps={
            4: (1000.0, 857.6923, 602.1505, 8.9286),
            8: (1000.0, 947.5425, 882.7878, 800.8373, 693.7931, 548.0456, 337.9722, 8.9286),
            16: (
                1000.0,
                976.817,
                951.3798,
                923.3425,
                892.2853,
                857.6923,
                818.9233,
                775.1736,
                725.4174,
                668.3267,
                602.1505,
                524.5327,
                432.2251,
                320.6215,
                182.9653,
                8.9286,
            ),
        },
        unit="flow",
        guidance_scale=5.0,
        guidance_by_nfe={4: 3.0, 8: 5.0, 16: 7.0},
        prediction="velocity",
        start="scaled",
        source={
            "settings": "https://huggingface.co/ByteDance/Hyper-SD, as copied in public repositories on github.com",
            "guidance_scale": "https://huggingface.co/ByteDance/Hyper-SD/commit/f959d506c7a1b80d5c0750abeb703b98e57026bf",
            "revision": "https://huggingface.co/ByteDance/Hyper-SD/tree/52d483a2ab8d38ce89e1d8b8f45771905f3af3f4",
        },
        unverified=(
            "that the sampler and its times are the base's own",
            "the licence: LICENSE.md of the repository sets one per base model; we read what others say of it",
        ),
        note="Times are those of FlowMatchEulerDiscreteScheduler with the base's shift of 3.",
    )
