"""Trajectory distribution matching as a LoRA for Dreamshaper 7, four steps.

arXiv 2503.06674; ``bench show tdm_dreamshaper`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="Trajectory distribution matching as a LoRA for Dreamshaper 7, four steps.",
    family="released",
    papers=(
        Paper(
            title="Learning Few-Step Diffusion Models by Trajectory Distribution Matching",
            authors="Yihong Luo and Tianyang Hu and Jiacheng Sun and Yujun Cai and Jing Tang",
            year=2025,
            arxiv="2503.06674",
            code="Luo-Yihong/TDM",
        ),
    ),
    requires=("diffusers", "weights"),
)


class TDMDreamshaper(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="Luo-Yihong/TDM_dreamshaper_LoRA",
        kind="lora",
        files={4: "tdm_dreamshaper.pt"},
        base=("Lykon/dreamshaper-7", "stable-diffusion-v1-5/stable-diffusion-v1-5", "runwayml/stable-diffusion-v1-5"),
        pipelines=("StableDiffusionPipeline",),
        licence="not read",
        sampler="dpm_solver_pp",
        timesteps={4: (999, 749, 500, 250)},
        guidance_scale=1.0,
        prediction="eps",
        source={"settings": "https://github.com/Luo-Yihong/TDM"},
        unverified=("the revision: no public source that we could read gives the full hash", "the licence"),
        note="Released as a pickle: convert it to tdm_dreamshaper.safetensors first.",
    )
