"""ModelScope's text-to-video (Wang et al. 2023, arXiv 2308.06571) and ZeroScope.

Stable Diffusion's text encoder and VAE, and a U-Net that also convolves and attends in time.
"""

from __future__ import annotations

from bench.pipelines.unet import ClipUNetPipeline


class TextToVideo(ClipUNetPipeline):
    """Latents (C, F, h, w) of a clip."""

    classes = ("TextToVideoSDPipeline",)
    default_guidance = 9.0
