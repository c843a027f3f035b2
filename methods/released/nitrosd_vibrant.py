"""NitroSD-Vibrant: dynamic adversarial training of SDXL, 1 to 4 steps, shifted time.

arXiv 2412.02030; ``bench show nitrosd_vibrant`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="NitroSD-Vibrant: dynamic adversarial training of SDXL, 1 to 4 steps, shifted time.",
    family="released",
    papers=(
        Paper(
            title="NitroFusion: High-Fidelity Single-Step Diffusion through Dynamic Adversarial Training",
            authors="Dar-Yen Chen and Hmrishav Bandyopadhyay and Kai Zou and Yi-Zhe Song",
            year=2024,
            arxiv="2412.02030",
            code="ChenDarYen/NitroFusion",
        ),
    ),
    requires=("diffusers", "weights"),
)


class NitroSDVibrant(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="ChenDY/NitroFusion",
        kind="unet",
        files={0: "nitrosd-vibrant_unet.safetensors"},
        base=("stabilityai/stable-diffusion-xl-base-1.0",),
        pipelines=("StableDiffusionXLPipeline",),
        licence="openrail++",
        sampler="consistency",
        timesteps={1: (999,), 2: (999, 499), 3: (999, 749, 499), 4: (999, 749, 499, 249)},
        guidance_scale=1.0,
        prediction="eps",
        boundary=10.0,
        called_at=0.5,
        source={"settings": "https://github.com/ChenDarYen/NitroFusion"},
        unverified=("the revision: no public source that we could read gives the full hash",),
        note="As the authors' TimestepShiftLCMScheduler: 500/1000 of the time step for all but the noise.",
    )
