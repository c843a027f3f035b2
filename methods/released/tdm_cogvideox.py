"""Trajectory distribution matching as a LoRA for CogVideoX-2B, four steps.

arXiv 2503.06674; ``bench show tdm_cogvideox`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="Trajectory distribution matching as a LoRA for CogVideoX-2B, four steps.",
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


class TDMCogVideoX(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="Luo-Yihong/TDM_CogVideoX-2B_LoRA",
        kind="lora",
        files={4: "pytorch_lora_weights.safetensors"},
        base=("THUDM/CogVideoX-2b", "zai-org/CogVideoX-2b"),
        pipelines=("CogVideoXPipeline",),
        licence="not read",
        sampler="euler",
        timesteps={4: (999, 856, 665, 399)},
        guidance_scale=1.0,
        source={"settings": "https://github.com/Luo-Yihong/TDM"},
        unverified=(
            "the revision: no public source that we could read gives the full hash",
            "the licence",
            "the file's name, the default of load_lora_weights",
            "the sampler at these times: the example runs the pipeline's own scheduler",
        ),
        note="Times are those the authors trained on.",
    )
