"""SANA (Xie et al. 2024, arXiv 2410.10629) and its few-step students SANA-Sprint (Chen et al. 2025, arXiv 2503.09641).

A prompt goes to its language model behind the instruction that the pipeline's call has by default
(``complex_human_instruction``); the negative prompt goes alone. The size that was asked for is the size that is
generated: ``use_resolution_binning`` is off.

SANA-Sprint's pipeline speaks of TrigFlow, ``cos(s) x0 + sin(s) eps`` in units of ``sigma_data``, but turns every input
and output into those of a flow with ``t = sin(s) / (cos(s) + sin(s))``, whose velocity the network predicts. Of latents
divided by ``sigma_data``, as the pipeline returns them, it is a flow that is told t itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from bench.pipelines.base import Condition
from bench.pipelines.schedule import Schedule, ShiftedFlow
from bench.pipelines.transformer import TransformerPipeline
from bench.pipelines.unet import to_pictures

PROMPT_TOKENS = 300
MULTIPLE = 32  # of pixels, which the pipeline asks for


class Sana(TransformerPipeline):
    """A flow in the latents of a deep compression autoencoder, with linear attention."""

    classes = ("SanaPipeline",)
    default_guidance = 4.5

    encoder_options: ClassVar[Mapping[str, Any]] = {"do_classifier_free_guidance": False}

    @property
    def shape(self) -> tuple[int, ...]:
        side = self.config.sample_size * self.pipe.vae_scale_factor
        height, width = self.size((side, side), MULTIPLE)
        return (self.config.in_channels, height // self.pipe.vae_scale_factor, width // self.pipe.vae_scale_factor)

    def encode(self, prompts: Sequence[str]) -> Condition:
        """One row per prompt, behind the instruction."""
        call = inspect.signature(type(self.pipe).__call__).parameters
        return self._encode(prompts, call["complex_human_instruction"].default)

    def encode_null(self) -> Condition:
        return self._encode([self.settings.negative_prompt or ""], None)

    @torch.inference_mode()
    def _encode(self, prompts: Sequence[str], instruction: list[str] | None) -> Condition:
        text, mask, *_ = self.pipe.encode_prompt(
            list(prompts),
            device=self.device,
            max_sequence_length=self.settings.max_sequence_length or PROMPT_TOKENS,
            complex_human_instruction=instruction,
            **self.encoder_options,
        )
        return {"text": text, "mask": mask}

    def network_time(self, t: Tensor, dtype: torch.dtype) -> dict[str, Tensor]:
        """What the network is told of time (and guidance), from the process's time t (B,)."""
        return {"timestep": self.told(t) * self.config.timestep_scale}

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        out: Tensor = self.denoiser(
            x_t,
            encoder_hidden_states=condition["text"].to(x_t.dtype),
            encoder_attention_mask=condition["mask"],
            return_dict=False,
            **self.network_time(t, x_t.dtype),
        )[0]
        return out.chunk(2, dim=1)[0] if out.shape[1] == 2 * x_t.shape[1] else out

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        scaled = self.decoder_input(latents) / self.vae.config.scaling_factor
        return to_pictures(self.vae.decode(scaled, return_dict=False)[0])


class SanaSprint(Sana):
    """The students: the guidance scale is told to the network."""

    classes = ("SanaSprintPipeline",)
    guidance = "embedded"
    encoder_options: ClassVar[Mapping[str, Any]] = {}

    @cached_property
    def schedule(self) -> Schedule:
        process = ShiftedFlow()
        steps = int(self.pipe.scheduler.config.num_train_timesteps)
        return Schedule(process, "velocity", float(process.sigma(torch.tensor(1 / steps, dtype=torch.float64))))

    def network_time(self, t: Tensor, dtype: torch.dtype) -> dict[str, Tensor]:
        guidance = torch.full_like(t, self.scale).to(dtype) * self.config.guidance_embeds_scale
        return {"timestep": t, "guidance": guidance}
