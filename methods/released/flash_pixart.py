"""Flash Diffusion as a LoRA for PixArt-XL-2-1024-MS, four steps.

arXiv 2406.02347; ``bench show flash_pixart`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="Flash Diffusion as a LoRA for PixArt-XL-2-1024-MS, four steps.",
    family="released",
    papers=(
        Paper(
            title="Flash Diffusion: Accelerating Any Conditional Diffusion Model for Few Steps Image Generation",
            authors="Clement Chadebec and Onur Tasar and Eyal Benaroche and Benjamin Aubin",
            year=2024,
            arxiv="2406.02347",
            code="gojasper/flash-diffusion",
        ),
    ),
    requires=("diffusers", "weights"),
)


class FlashPixArt(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="jasperai/flash-pixart",
        kind="lora",
        files={4: "adapter_model.safetensors"},
        base=("PixArt-alpha/PixArt-XL-2-1024-MS",),
        pipelines=("PixArtAlphaPipeline",),
        licence="cc-by-nc-4.0",
        sampler="consistency",
        timesteps={4: (999, 759, 499, 259)},
        guidance_scale=1.0,
        prediction="eps",
        boundary=10.0,
        source={"settings": "https://github.com/gojasper/flash-diffusion"},
        unverified=(
            "the revision: no public source that we could read gives the full hash",
            "the licence of the weights",
            "the file's name, peft's own",
        ),
    )
