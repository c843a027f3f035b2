"""CausVid's bidirectional three-step student of Wan 2.1 1.3B.

arXiv 2412.07772; ``bench show causvid`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="CausVid's bidirectional three-step student of Wan 2.1 1.3B.",
    family="released",
    papers=(
        Paper(
            title="From Slow Bidirectional to Fast Autoregressive Video Diffusion Models",
            authors=(
                "Tianwei Yin and Qiang Zhang and Richard Zhang and William T. Freeman and "
                "Frédo Durand and Eli Shechtman and Xun Huang"
            ),
            year=2024,
            arxiv="2412.07772",
            code="tianweiy/CausVid",
        ),
    ),
    requires=("diffusers", "weights"),
)


class CausVid(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="tianweiy/CausVid",
        kind="transformer",
        files={3: "bidirectional_checkpoint2/model.pt"},
        base=("Wan-AI/Wan2.1-T2V-1.3B-Diffusers",),
        pipelines=("WanPipeline",),
        licence="cc-by-nc-4.0",
        sampler="consistency",
        timesteps={3: (1000, 757, 522)},
        unit="flow",
        guidance_scale=1.0,
        prediction="velocity",
        start="scaled",
        source={
            "settings": (
                "https://github.com/tianweiy/CausVid/blob/master/configs/wan_bidirectional_dmd_from_scratch.yaml"
            ),
            "files": "https://github.com/tianweiy/CausVid",
        },
        unverified=(
            "the revision: no public source that we could read gives the full hash",
            "the file's name in the folder",
        ),
        note="Released as a pickle with Wan's own names; a converted file must have diffusers' names.",
    )
