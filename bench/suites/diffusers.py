"""Any pipeline of diffusers as a suite: a folder or a repository, prompts, and the user's settings.

``bench run --suite diffusers:PATH`` for the quick case; a TOML file for the rest (``docs/my-diffusers-model.md``)::

    suite = "diffusers"              # what a file with a model is for if it does not say
    model = "owner/name@revision"    # or a folder
    prompts = "captions.txt"         # see bench.prompts; classes and unconditional pipelines need none
    metrics = ["clip_score", "rmse"]

Teacher: the pipeline's denoiser with its own encoders, guidance and decoder. Samples are latents (pixels where there is
no autoencoder); sampling starts at the largest level of the pipeline's own schedule.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import cache
from typing import Literal

import torch
from pydantic import Field

from bench.errors import UsageError
from bench.info import Info
from bench.pipelines.base import Pipeline, Settings
from bench.pipelines.content import content
from bench.pipelines.families import family_of
from bench.pipelines.loading import Source, lora_file, open_pipeline
from bench.pipelines.repository import outline
from bench.prompts import describe_prompts
from bench.quoting import unquote
from bench.reference.statistics import Reference
from bench.suites._pipeline import PipelineSuite
from bench.suites._values import SpecList, Specs, Text, read_references

INFO = Info(
    summary="Any pipeline of diffusers, image or video: your checkpoint, your prompts; needs [diffusers].",
    requires=("network",),
)


class Diffusers(PipelineSuite):
    """Generate with a pipeline of diffusers.

    Attributes:
        model: a folder, ``owner/name`` or ``owner/name@revision``.
        prompts: a file or a set of ``bench.prompts``; class numbers or names, separated by ``;``, where the pipeline
            knows classes; all classes by default.
        prompt_count, prompt_seed: how many to draw and how; all by default.
        variant: of the weights' files, such as ``fp16``.
        guidance_scale: the pipeline's own default if not given; up to 1 is without guidance, as in diffusers.
        negative_prompt: what guidance leads away from; ``%00`` is the empty text.
        height, width, frames: of what is generated; the pipeline's own by default.
        frame_rate, max_sequence_length: where the pipeline is told them.
        samples, batch_size: per cell, and at once.
        metrics: separated by ``;``, the first one ranks.
        reference_files: of ``bench reference build``, separated by ``;``.
        solution_steps: evaluations of the reference solution that ``rmse`` and ``lpips`` compare with.
        lora, lora_scale: LoRA weights that are merged in: a safetensors file or ``owner/name:file``.
        offload: ``model`` or ``sequential`` keeps modules in host memory until needed; GPU only.
        slicing, tiling: less memory, more time.
        compile: a backend of ``torch.compile`` for the denoiser, such as ``inductor``.
        allow_code: ``owner/name@commit`` whose own Python code may run.
    """

    model: Text
    prompts: Text = ""
    prompt_count: int | None = Field(default=None, ge=1)
    prompt_seed: int = Field(default=0, ge=0)
    variant: Text = ""
    guidance_scale: float | None = Field(default=None, ge=0)
    negative_prompt: Text | None = None
    height: int | None = Field(default=None, ge=1)
    width: int | None = Field(default=None, ge=1)
    frames: int | None = Field(default=None, ge=1)
    frame_rate: float | None = Field(default=None, gt=0)
    max_sequence_length: int | None = Field(default=None, ge=1)
    samples: int = Field(default=64, ge=1)
    batch_size: int = Field(default=8, ge=1)
    metrics: SpecList = Specs(("rmse",))
    reference_files: Text = ""
    solution_steps: int = Field(default=100, ge=2)
    lora: Text = ""
    lora_scale: float = 1.0
    offload: Literal["none", "model", "sequential"] = "none"
    slicing: bool = False
    tiling: bool = False
    compile: Text = ""
    allow_code: Text = ""

    @property
    def batch(self) -> int:
        """Samples at once."""
        return self.batch_size

    @property
    def reference_steps(self) -> int:
        return self.solution_steps

    @property
    def source(self) -> Source:
        """What determines the modules."""
        return Source(
            model=unquote(self.model),
            variant=unquote(self.variant),
            allow_code=unquote(self.allow_code),
            lora=unquote(self.lora),
            lora_scale=self.lora_scale,
            offload=self.offload,
            slicing=self.slicing,
            tiling=self.tiling,
            compile=unquote(self.compile),
        )

    @property
    def settings(self) -> Settings:
        """What the user chose of the pipeline's own options."""
        return Settings(
            height=self.height,
            width=self.width,
            frames=self.frames,
            frame_rate=self.frame_rate,
            guidance_scale=self.guidance_scale,
            negative_prompt=None if self.negative_prompt is None else unquote(self.negative_prompt),
            max_sequence_length=self.max_sequence_length,
        )

    def family(self) -> type[Pipeline]:
        return family_of(self.source.find().class_name)

    def open(self, device: torch.device, dtype: torch.dtype) -> Pipeline:
        return open_pipeline(self.source, self.settings, device, dtype)

    def texts(self) -> tuple[str, ...]:
        named = unquote(self.prompts)
        if self.family().text:
            return _texts(named, self.prompt_count, self.prompt_seed)[0]
        return tuple(part.strip() for part in named.split(";")) if named else self.pipeline.default_prompts()

    def texts_of(self, pipeline: Pipeline) -> tuple[str, ...]:
        return self.texts() if self.prompts or pipeline.text else pipeline.default_prompts()

    def content(self) -> str:
        source = self.source
        more = (lora_file(source.lora),) if source.lora else ()
        parts = [content(source.find(), source.variant, more), repr(self.settings), self._prompts_id()]
        # in lower precision or compiled, results may differ in the last digits; tiling shows seams
        parts += [str(part) for part in (source.lora_scale, source.tiling, source.compile, self.solution_steps)]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]

    def _prompts_id(self) -> str:
        named = unquote(self.prompts)
        return _texts(named, self.prompt_count, self.prompt_seed)[1] if self.family().text else named

    def references(self) -> tuple[Reference, ...]:
        return read_references(self.reference_files)

    def verify(self) -> None:
        """The files are there and of a kind that is known, sizes are possible, there are prompts; nothing is loaded."""
        self.content()
        with suppress(KeyError, TypeError, AttributeError):  # an older configuration says less; loading fills it up
            assert self.family()(outline(self.source.find()), self.settings).shape


@cache
def _texts(prompts: str, count: int | None, seed: int) -> tuple[tuple[str, ...], str]:
    """The prompts and their identity."""
    if not prompts:
        raise UsageError(
            "this pipeline generates from texts; name a file or a set: prompts=captions.txt or prompts=own"
        )
    found = describe_prompts(prompts, count, seed)
    return tuple(prompt.text for prompt in found.prompts), found.id
