"""AnimateDiff-Lightning: motion modules distilled progressively and adversarially.

arXiv 2403.12706; ``bench show animatediff_lightning`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="AnimateDiff-Lightning: motion modules distilled progressively and adversarially.",
    family="released",
    papers=(
        Paper(
            title="AnimateDiff-Lightning: Cross-Model Diffusion Distillation",
            authors="Shanchuan Lin and Xiao Yang",
            year=2024,
            arxiv="2403.12706",
        ),
    ),
    requires=("diffusers", "weights"),
)


class AnimateDiffLightning(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="ByteDance/AnimateDiff-Lightning",
        revision="368eff5011273f6f7ff8d2b73382fc28f66ad25d",
        kind="motion",
        files={
            1: "animatediff_lightning_1step_diffusers.safetensors",
            2: "animatediff_lightning_2step_diffusers.safetensors",
            4: "animatediff_lightning_4step_diffusers.safetensors",
            8: "animatediff_lightning_8step_diffusers.safetensors",
        },
        base=("emilianJR/epiCRealism",),
        pipelines=("AnimateDiffPipeline",),
        licence="creativeml-openrail-m",
        sampler="euler",
        timesteps={1: (999,), 2: (999, 499), 4: (999, 749, 499, 249), 8: (999, 874, 749, 624, 499, 374, 249, 124)},
        guidance_scale=1.0,
        prediction="eps",
        schedule={"beta_schedule": "linear"},
        start="scaled",
        source={
            "settings": (
                "https://huggingface.co/ByteDance/AnimateDiff-Lightning, as copied in public repositories on github.com"
            ),
            "revision": (
                "https://huggingface.co/ByteDance/AnimateDiff-Lightning/tree/368eff5011273f6f7ff8d2b73382fc28f66ad25d"
            ),
        },
        note="The one-step modules are released for research only.",
    )
