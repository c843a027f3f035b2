"""FastHunyuan: HunyuanVideo distilled to six steps by consistency distillation.

arXiv 2505.13389; ``bench show fast_hunyuan`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="FastHunyuan: HunyuanVideo distilled to six steps by consistency distillation.",
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


class FastHunyuan(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="FastVideo/FastHunyuan-diffusers",
        kind="transformer",
        files={6: "transformer"},
        base=("hunyuanvideo-community/HunyuanVideo",),
        pipelines=("HunyuanVideoPipeline",),
        licence="tencent-hunyuan-community",
        sampler="euler",
        timesteps={6: (1000.0, 988.3721, 971.4286, 944.4444, 894.7368, 772.7273)},
        unit="flow",
        guidance_scale=6.0,
        embedded=True,
        prediction="velocity",
        start="scaled",
        source={
            "settings": (
                "https://huggingface.co/FastVideo/FastHunyuan/blob/725712e1adf5b3dbf7cb706d9beb19fc30143cd4/README.md"
            ),
            "guidance_scale": "https://github.com/hao-ai-lab/FastVideo/blob/main/fastvideo/configs/pipelines/hunyuan.py",
        },
        unverified=(
            "the revision: no public source that we could read gives the full hash",
            "that the paper is its method",
        ),
        note="A suite with HunyuanVideoPipeline is needed.",
    )
