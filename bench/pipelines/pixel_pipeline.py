"""Containers for models without an autoencoder, which diffusers has no pipeline class for; see ``families.pixel_text``.

They hold, save and load components in diffusers' layout and nothing else: sampling is the registry's.
"""

from __future__ import annotations

from typing import Any

import diffusers

_Base: Any = diffusers.DiffusionPipeline


class PixelTextPipeline(_Base):  # type: ignore[misc]
    """Pictures from texts: a conditional U-Net, a CLIP text encoder and its tokenizer, a scheduler."""

    model_cpu_offload_seq = "text_encoder->unet"

    def __init__(self, unet: Any, text_encoder: Any, tokenizer: Any, scheduler: Any) -> None:
        super().__init__()
        self.register_modules(unet=unet, text_encoder=text_encoder, tokenizer=tokenizer, scheduler=scheduler)


class PixelTextToVideoPipeline(_Base):  # type: ignore[misc]
    """Clips from texts: a transformer like Wan's, a CLIP text encoder and its tokenizer, a scheduler.

    Args:
        size: frames, height and width of the clips that the transformer was trained on.
    """

    model_cpu_offload_seq = "text_encoder->transformer"

    def __init__(
        self,
        transformer: Any,
        text_encoder: Any,
        tokenizer: Any,
        scheduler: Any,
        size: tuple[int, int, int] = (16, 32, 32),  # without a default diffusers would look for a component
    ) -> None:
        super().__init__()
        self.register_modules(
            transformer=transformer, text_encoder=text_encoder, tokenizer=tokenizer, scheduler=scheduler
        )
        self.register_to_config(size=list(size))
