"""Latent consistency model of Dreamshaper 7 (SD 1.5), guidance told to the network.

arXiv 2310.04378; ``bench show lcm_dreamshaper`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="Latent consistency model of Dreamshaper 7 (SD 1.5), guidance told to the network.",
    family="released",
    papers=(
        Paper(
            title="Latent Consistency Models: Synthesizing High-Resolution Images with Few-Step Inference",
            authors="Simian Luo and Yiqin Tan and Longbo Huang and Jian Li and Hang Zhao",
            year=2023,
            arxiv="2310.04378",
            code="luosiallen/latent-consistency-model",
        ),
    ),
    requires=("diffusers", "weights"),
)


class LCMDreamshaper(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="SimianLuo/LCM_Dreamshaper_v7",
        revision="db41ea3a93086e680d465c13efcbfca36ddbdb6a",
        kind="unet",
        files={0: "unet"},
        base=("Lykon/dreamshaper-7", "stable-diffusion-v1-5/stable-diffusion-v1-5", "runwayml/stable-diffusion-v1-5"),
        pipelines=("StableDiffusionPipeline", "LatentConsistencyModelPipeline"),
        licence="mit",
        sampler="consistency",
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
        guidance_scale=8.0,
        embedded=True,
        family="LatentConsistencyModelPipeline",
        prediction="eps",
        boundary=10.0,
        source={
            "settings": "https://github.com/luosiallen/latent-consistency-model",
            "revision": (
                "https://huggingface.co/SimianLuo/LCM_Dreamshaper_v7/tree/db41ea3a93086e680d465c13efcbfca"
                "36ddbdb6a/scheduler"
            ),
        },
        unverified=("that unet/ of this revision holds safetensors",),
    )
