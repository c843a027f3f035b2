"""PeRFlow: piecewise rectified flow for SD 1.5, as a difference of weights.

arXiv 2405.07510; ``bench show perflow_sd15`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="PeRFlow: piecewise rectified flow for SD 1.5, as a difference of weights.",
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


class PeRFlowSD15(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="hansyan/perflow-sd15-delta-weights",
        revision="70fdf0d75df7fb80462df81e330e50aade64ed28",
        kind="delta",
        files={0: "diffusion_pytorch_model.v0-1.safetensors"},
        base=("Lykon/dreamshaper-8", "stable-diffusion-v1-5/stable-diffusion-v1-5", "runwayml/stable-diffusion-v1-5"),
        pipelines=("StableDiffusionPipeline",),
        licence="cc-by-nc-4.0",
        sampler="perflow",
        timesteps={
            4: (1000, 750, 500, 250),
            6: (1000, 875, 750, 625, 500, 250),
            8: (1000, 875, 750, 625, 500, 375, 250, 125),
        },
        guidance_scale=7.5,
        guidance_by_nfe={4: 4.5, 6: 6.0},
        prediction="eps",
        windows=4,
        window_form="diff_eps",
        source={
            "settings": "https://github.com/magic-research/piecewise-rectified-flow",
            "guidance_scale": (
                "https://github.com/magic-research/piecewise-rectified-flow/blob/main/scripts/sd15_t2i_dW.py"
            ),
            "revision": (
                "https://huggingface.co/hansyan/perflow-sd15-delta-"
                "weights/tree/70fdf0d75df7fb80462df81e330e50aade64ed28"
            ),
        },
    )
