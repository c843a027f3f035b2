"""InstaFlow-0.9B: one-step rectified flow on the U-Net of SD 1.5.

arXiv 2309.06380; ``bench show instaflow`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="InstaFlow-0.9B: one-step rectified flow on the U-Net of SD 1.5.",
    family="released",
    papers=(
        Paper(
            title="InstaFlow: One Step is Enough for High-Quality Diffusion-Based Text-to-Image Generation",
            authors="Xingchao Liu and Xiwen Zhang and Jianzhu Ma and Jian Peng and Qiang Liu",
            year=2023,
            arxiv="2309.06380",
            code="gnobitab/InstaFlow",
        ),
    ),
    requires=("diffusers", "weights"),
)


class InstaFlow(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="XCLiu/instaflow_0_9B_from_sd_1_5",
        revision="5095524f30694797f224357bc4eaaff75925ffa8",
        kind="unet",
        files={0: "unet"},
        base=("stable-diffusion-v1-5/stable-diffusion-v1-5", "runwayml/stable-diffusion-v1-5"),
        pipelines=("StableDiffusionPipeline",),
        licence="cc-by-nc-4.0",
        sampler="euler",
        timesteps={1: (1000.0,)},
        unit="flow",
        guidance_scale=1.0,
        prediction="data_velocity",
        time_scale=1000.0,
        source={
            "settings": "https://github.com/gnobitab/InstaFlow/blob/main/code/README.md",
            "revision": (
                "https://huggingface.co/XCLiu/instaflow_0_9B_from_sd_1_5/tree/5095524f30694797f224357bc4e"
                "aaff75925ffa8/unet"
            ),
        },
    )
