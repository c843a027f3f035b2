"""OpenAI's consistency model by training on ImageNet 64 x 64, one or two steps.

arXiv 2303.01469; ``bench show ct_imagenet64`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="OpenAI's consistency model by training on ImageNet 64 x 64, one or two steps.",
    family="released",
    papers=(
        Paper(
            title="Consistency Models",
            authors="Yang Song and Prafulla Dhariwal and Mark Chen and Ilya Sutskever",
            year=2023,
            arxiv="2303.01469",
            code="openai/consistency_models",
        ),
    ),
    requires=("diffusers", "weights"),
)


class CTIMAGENET64(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="openai/diffusers-ct_imagenet64",
        revision="49a22186f1e0d8de438dfe0bd52418db9689a608",
        kind="unet",
        files={0: "unet"},
        base=("openai/diffusers-ct_imagenet64",),
        pipelines=("ConsistencyModelPipeline",),
        licence="mit",
        sampler="consistency",
        timesteps={1: (80.0,), 2: (80.0, 1.912844)},
        unit="sigma",
        guidance_scale=1.0,
        start="scaled",
        sigma_floor=0.002,
        clip=True,
        source={
            "settings": "https://github.com/openai/consistency_models/blob/main/scripts/launch.sh",
            "revision": (
                "https://huggingface.co/openai/diffusers-"
                "ct_imagenet64/blame/49a22186f1e0d8de438dfe0bd52418db9689a608/model_index.json"
            ),
        },
        note="The suite is the same repository: its teacher is the student itself.",
    )
