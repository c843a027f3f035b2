"""FastWan 2.1 1.3B: three-step distribution matching with sparse attention.

arXiv 2505.13389; ``bench show fastwan_1_3b`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="FastWan 2.1 1.3B: three-step distribution matching with sparse attention.",
    family="released",
    papers=(
        Paper(
            title="VSA: Faster Video Diffusion with Trainable Sparse Attention",
            authors=(
                "Peiyuan Zhang and Haofeng Huang and Yongqi Chen and Will Lin and Zhengzhong Liu and "
                "Ion Stoica and Eric P. Xing and Hao Zhang"
            ),
            year=2025,
            arxiv="2505.13389",
            code="hao-ai-lab/FastVideo",
        ),
    ),
    requires=("diffusers", "weights"),
)


class FastWan13B(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="FastVideo/FastWan2.1-T2V-1.3B-Diffusers",
        kind="transformer",
        files={3: "transformer"},
        base=("Wan-AI/Wan2.1-T2V-1.3B-Diffusers",),
        pipelines=("WanPipeline",),
        licence="apache-2.0",
        sampler="consistency",
        timesteps={3: (1000, 757, 522)},
        unit="flow",
        guidance_scale=1.0,
        prediction="velocity",
        start="scaled",
        source={
            "settings": "https://github.com/hao-ai-lab/FastVideo/blob/main/fastvideo/configs/pipelines/wan.py",
            "files": "https://huggingface.co/FastVideo/FastWan2.1-T2V-1.3B-Diffusers/tree/main",
        },
        unverified=(
            "the revision: no public source that we could read gives the full hash",
            "that dense attention gives what sparse attention was trained for",
        ),
        note=(
            "Noise levels are the time steps themselves; the authors round them to a table with shift"
            " 8, at most 5e-4 away."
        ),
    )
