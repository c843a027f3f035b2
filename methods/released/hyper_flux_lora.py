"""Hyper-SD's LoRAs for FLUX.1-dev, 8 and 16 evaluations.

arXiv 2404.13686; ``bench show hyper_flux_lora`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="Hyper-SD's LoRAs for FLUX.1-dev, 8 and 16 evaluations.",
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


class HyperFluxLoRA(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="ByteDance/Hyper-SD",
        revision="52d483a2ab8d38ce89e1d8b8f45771905f3af3f4",
        kind="lora",
        files={8: "Hyper-FLUX.1-dev-8steps-lora.safetensors", 16: "Hyper-FLUX.1-dev-16steps-lora.safetensors"},
        lora_scale=0.125,
        base=("black-forest-labs/FLUX.1-dev",),
        pipelines=("FluxPipeline",),
        licence="flux-1-dev-non-commercial-license",
        sampler="euler",
        timesteps={
            8: (1000.0, 956.7237, 904.5308, 840.3488, 759.5109, 654.5668, 512.8441, 310.9011),
            16: (
                1000.0,
                979.3273,
                956.7237,
                931.9056,
                904.5308,
                874.1826,
                840.3488,
                802.3924,
                759.5109,
                710.6793,
                654.5668,
                589.4138,
                512.8441,
                421.5687,
                310.9011,
                173.9266,
            ),
        },
        unit="flow",
        guidance_scale=3.5,
        embedded=True,
        prediction="velocity",
        start="scaled",
        source={
            "settings": "https://huggingface.co/cuio/Hyper-SD, a copy of the model card",
            "revision": "https://huggingface.co/ByteDance/Hyper-SD/tree/52d483a2ab8d38ce89e1d8b8f45771905f3af3f4",
        },
        unverified=(
            "that the sampler and its times are the base's own",
            "the licence: LICENSE.md of the repository sets one per base model; we read what others say of it",
        ),
        note=(
            "Times are those of FLUX.1-dev at 1024 x 1024 (mu = 1.15); its scheduler shifts them with the resolution."
        ),
    )
