"""Text-to-image and text-to-video in pixel space: no autoencoder, samples are pictures or clips.

diffusers has no pipeline classes for this; those of ``bench.pipelines.pixel_pipeline`` save and load its layout.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bench.errors import UsageError
from bench.pipelines.base import Condition, Pipeline, component, pixels
from bench.pipelines.schedule import ShiftedFlow
from bench.pipelines.unet import UNetPipeline, square, to_pictures


class _ClipText(Pipeline):
    """The last hidden states of a CLIP text encoder, padded to the length it was trained at."""

    interpolates = True

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> Condition:
        tokenizer = component(self.pipe, "tokenizer")
        tokens = tokenizer(
            list(prompts),
            padding="max_length",
            max_length=self.settings.max_sequence_length or tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        return {"text": component(self.pipe, "text_encoder")(tokens.input_ids.to(self.device))[0]}


class PixelText(_ClipText, UNetPipeline):
    """Pictures (3, H, W) of a ``UNet2DConditionModel``."""

    classes = ("PixelTextPipeline",)
    default_guidance = 4.0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        high, wide = square(self.pipe.unet.config.sample_size)
        factor = 2 ** (len(self.pipe.unet.config.block_out_channels) - 1)
        return (
            pixels(self.settings.height, high, factor, "height"),
            pixels(self.settings.width, wide, factor, "width"),
        )

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.pipe.unet.config.in_channels, *self.size)

    def decode(self, latents: Tensor) -> Tensor:
        return to_pictures(latents)


class PixelVideo(_ClipText):
    """Clips (C, F, H, W) of a ``WanTransformer3DModel`` that predicts a velocity."""

    classes = ("PixelTextToVideoPipeline",)
    video = True
    default_guidance = 4.0

    @property
    def denoiser(self) -> nn.Module:
        transformer: nn.Module = component(self.pipe, "transformer")
        return transformer

    @property
    def shape(self) -> tuple[int, ...]:
        chosen, (frames, height, width) = self.settings, self.pipe.config.size
        network = self.pipe.transformer.config
        per_frame, high, wide = network.patch_size
        return (
            network.in_channels,
            pixels(chosen.frames, frames, per_frame, "frames"),
            pixels(chosen.height, height, high, "height"),
            pixels(chosen.width, width, wide, "width"),
        )

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        process = self.process
        if not isinstance(process, ShiftedFlow):
            raise UsageError("a clip pipeline in pixel space needs a FlowMatchEuler scheduler")
        time = self.pipe.scheduler.config.num_train_timesteps * process.shifted(t)
        out: Tensor = self.denoiser(x_t, time, condition["text"], return_dict=False)[0]
        return out

    def decode(self, latents: Tensor) -> Tensor:
        frames = latents.transpose(1, 2)
        pictures = to_pictures(frames.flatten(0, 1))
        return pictures.view(*frames.shape[:2], *pictures.shape[1:])
