"""PixArt-LCM: latent consistency model of PixArt-alpha, four steps.

arXiv 2401.05252; ``bench show pixart_lcm`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="PixArt-LCM: latent consistency model of PixArt-alpha, four steps.",
    family="released",
    papers=(
        Paper(
            title="PIXART-δ: Fast and Controllable Image Generation with Latent Consistency Models",
            authors=(
                "Junsong Chen and Yue Wu and Simian Luo and Enze Xie and Sayak Paul and Ping Luo and "
                "Hang Zhao and Zhenguo Li"
            ),
            year=2024,
            arxiv="2401.05252",
            code="PixArt-alpha/PixArt-alpha",
        ),
    ),
    requires=("diffusers", "weights"),
)


class PixArtLCM(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="PixArt-alpha/PixArt-LCM-XL-2-1024-MS",
        revision="071672639aede86a974efb75a346acc54f62e8df",
        kind="transformer",
        files={0: "transformer"},
        base=("PixArt-alpha/PixArt-XL-2-1024-MS",),
        pipelines=("PixArtAlphaPipeline",),
        licence="openrail++",
        sampler="consistency",
        timesteps={1: (999,), 2: (999, 499), 4: (999, 759, 499, 259), 8: (999, 879, 759, 639, 499, 379, 259, 139)},
        guidance_scale=1.0,
        prediction="eps",
        boundary=10.0,
        source={
            "settings": "https://github.com/PixArt-alpha/PixArt-alpha/blob/master/asset/docs/pixart_lcm.md",
            "revision": (
                "https://huggingface.co/PixArt-alpha/PixArt-LCM-"
                "XL-2-1024-MS/tree/071672639aede86a974efb75a346acc54f62e8df"
            ),
        },
        unverified=("numbers of evaluations other than 4",),
    )
