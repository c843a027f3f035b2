"""PeRFlow: piecewise rectified flow for SDXL (Dreamshaper).

arXiv 2405.07510; ``bench show perflow_sdxl`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="PeRFlow: piecewise rectified flow for SDXL (Dreamshaper).",
    family="released",
    papers=(
        Paper(
            title="PeRFlow: Piecewise Rectified Flow as Universal Plug-and-Play Accelerator",
            authors="Hanshu Yan and Xingchao Liu and Jiachun Pan and Jun Hao Liew and Qiang Liu and Jiashi Feng",
            year=2024,
            arxiv="2405.07510",
            code="magic-research/piecewise-rectified-flow",
        ),
    ),
    requires=("diffusers", "weights"),
)


class PeRFlowSDXL(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="hansyan/perflow-sdxl-dreamshaper",
        kind="unet",
        files={0: "unet/diffusion_pytorch_model.v0-fix.safetensors"},
        base=("stabilityai/stable-diffusion-xl-base-1.0",),
        pipelines=("StableDiffusionXLPipeline",),
        licence="not read",
        sampler="perflow",
        timesteps={
            4: (1000, 750, 500, 250),
            6: (1000, 875, 750, 625, 500, 250),
            8: (1000, 875, 750, 625, 500, 375, 250, 125),
        },
        guidance_scale=2.0,
        prediction="eps",
        windows=4,
        window_form="ddim_eps",
        source={
            "settings": (
                "https://github.com/magic-research/piecewise-rectified-flow/blob/main/scripts/sdxl_t2i_merged.py"
            )
        },
        unverified=(
            "the revision: no public source that we could read gives the full hash",
            "the licence",
            "the file's name, made from the variant v0-fix",
        ),
    )
