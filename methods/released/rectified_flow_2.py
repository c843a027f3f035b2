"""2-Rectified Flow on the U-Net of SD 1.5: few Euler steps of a straightened flow.

arXiv 2309.06380; ``bench show rectified_flow_2`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="2-Rectified Flow on the U-Net of SD 1.5: few Euler steps of a straightened flow.",
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


class RectifiedFlow2(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="XCLiu/2_rectified_flow_from_sd_1_5",
        kind="unet",
        files={0: "unet"},
        base=("stable-diffusion-v1-5/stable-diffusion-v1-5", "runwayml/stable-diffusion-v1-5"),
        pipelines=("StableDiffusionPipeline",),
        licence="cc-by-nc-4.0",
        sampler="euler",
        timesteps={
            2: (1000.0, 500.0),
            4: (1000.0, 750.0, 500.0, 250.0),
            8: (1000.0, 875.0, 750.0, 625.0, 500.0, 375.0, 250.0, 125.0),
        },
        unit="flow",
        guidance_scale=1.5,
        prediction="data_velocity",
        time_scale=1000.0,
        source={"settings": "https://github.com/gnobitab/InstaFlow/blob/main/code/README.md"},
        unverified=(
            "the revision: no public source that we could read gives the full hash",
            "that unet/ holds safetensors",
        ),
    )
