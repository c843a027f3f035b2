"""Trajectory distribution matching as a LoRA for Stable Diffusion 3, four steps.

arXiv 2503.06674; ``bench show tdm_sd3_lora`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="Trajectory distribution matching as a LoRA for Stable Diffusion 3, four steps.",
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


class TDMSD3LoRA(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="Luo-Yihong/TDM_sd3_lora",
        kind="lora",
        files={4: "pytorch_lora_weights.safetensors"},
        lora_scale=0.125,
        base=("stabilityai/stable-diffusion-3-medium-diffusers",),
        pipelines=("StableDiffusion3Pipeline",),
        licence="not read",
        sampler="dpm_solver_pp",
        timesteps={4: (999.8332, 947.1688, 856.8978, 666.3702)},
        unit="flow",
        guidance_scale=1.0,
        prediction="velocity",
        time_floor=True,
        source={"settings": "https://github.com/Luo-Yihong/TDM"},
        unverified=(
            "the revision: no public source that we could read gives the full hash",
            "the licence",
            "the file's name, the default of load_lora_weights",
        ),
        note="DPMSolverMultistepScheduler with flow_shift 6; the network is told whole time steps.",
    )
