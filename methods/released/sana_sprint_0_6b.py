"""SANA-Sprint 0.6B: continuous-time consistency distillation, guidance told to the network.

arXiv 2503.09641; ``bench show sana_sprint_0_6b`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="SANA-Sprint 0.6B: continuous-time consistency distillation, guidance told to the network.",
    family="released",
    papers=(
        Paper(
            title="SANA-Sprint: One-Step Diffusion with Continuous-Time Consistency Distillation",
            authors=(
                "Junsong Chen and Shuchen Xue and Yuyang Zhao and Jincheng Yu and Sayak Paul and "
                "Junyu Chen and Han Cai and Song Han and Enze Xie"
            ),
            year=2025,
            arxiv="2503.09641",
            code="NVlabs/Sana",
        ),
    ),
    requires=("diffusers", "weights"),
)


class SanaSprint06B(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="Efficient-Large-Model/Sana_Sprint_0.6B_1024px_diffusers",
        kind="transformer",
        files={0: "transformer"},
        base=("Efficient-Large-Model/Sana_600M_1024px_diffusers",),
        pipelines=("SanaPipeline", "SanaSprintPipeline"),
        licence="not read",
        sampler="consistency",
        timesteps={1: (1000.0,), 2: (1000.0, 782.708), 4: (1000.0, 707.1084, 500.0009, 292.8938)},
        unit="flow",
        guidance_scale=4.5,
        embedded=True,
        family="SanaSprintPipeline",
        prediction="velocity",
        start="scaled",
        source={
            "settings": (
                "https://github.com/huggingface/diffusers/blob/main/src/diffusers/pipelines/sana/pipeline"
                "_sana_sprint.py"
            )
        },
        unverified=("the revision: no public source that we could read gives the full hash", "the licence"),
        note="TrigFlow angles pi/2, 1.3, ... as times of the rectified flow, tan(a) / (1 + tan(a)).",
    )
