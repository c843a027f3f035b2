"""Latent consistency model of Segmind's SSD-1B, fully tuned, guidance told to the network.

arXiv 2310.04378; ``bench show lcm_ssd_1b`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="Latent consistency model of Segmind's SSD-1B, fully tuned, guidance told to the network.",
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


class LCMSSD1B(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="latent-consistency/lcm-ssd-1b",
        kind="unet",
        files={0: "."},
        base=("segmind/SSD-1B",),
        pipelines=("StableDiffusionXLPipeline",),
        licence="openrail++",
        sampler="consistency",
        timesteps={
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
        prediction="eps",
        boundary=10.0,
        source={
            "settings": (
                "https://github.com/huggingface/diffusers/blob/main/tests/pipelines/stable_diffusion_xl/t"
                "est_stable_diffusion_xl.py"
            ),
            "timesteps": "https://docs.openvino.ai (ssd-b1 notebook: 2 to 8 steps)",
        },
        unverified=("the revision: no public source that we could read gives the full hash",),
    )
