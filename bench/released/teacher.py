"""The teacher of a suite with a diffusers pipeline: as any teacher, and able to load released students.

One student is kept at a time, so that a sweep holds one copy of the base's weights and at most one of a student's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from bench.api import Problem, Unsupported
from bench.nfe import Ledger
from bench.pipelines.base import Pipeline
from bench.pipelines.network import GuidedRows, PipelineNetwork
from bench.released.checkpoint import Checkpoint
from bench.released.method import ReleasedProblem, Student
from bench.released.students import build
from bench.sampling import EMPTY, Teacher


@dataclass
class Shelf:
    """The student that was loaded last."""

    key: object = None
    pipeline: Pipeline | None = None


@dataclass(frozen=True)
class PipelineTeacher(Teacher):
    """A teacher whose network is a ``PipelineNetwork``.

    Attributes:
        shelf: keeps the last student.
    """

    shelf: Shelf = field(default_factory=Shelf, compare=False)

    def _load(self, card: Checkpoint, nfe: int, scale: float) -> Pipeline:
        key = (card, card.file(nfe), scale)
        if self.shelf.key != key or self.shelf.pipeline is None:
            self.shelf.key, self.shelf.pipeline = None, None  # freed before the next one is loaded
            with torch.inference_mode(False):
                self.shelf.pipeline = build(card, nfe, self._teacher.pipeline, scale)
            self.shelf.key = key
        return self.shelf.pipeline

    @property
    def _teacher(self) -> PipelineNetwork:
        if not isinstance(self.network, PipelineNetwork):
            raise Unsupported("this suite's teacher is no diffusers pipeline")
        return self.network

    def _released(self, index: Sequence[int], ledger: Ledger) -> Callable[[Checkpoint, int, float | None], Student]:
        def load(card: Checkpoint, nfe: int, guidance_scale: float | None) -> Student:
            scale = card.guidance(nfe) if guidance_scale is None else guidance_scale
            pipeline = self._load(card, nfe, scale)
            table = self._teacher.table
            label = self.suite.label(index).to(self.device)
            # a network that is told the scale makes one evaluation
            weight = 1.0 if card.embedded else pipeline.weight
            counted = ledger.network(PipelineNetwork(pipeline, table))
            bound = GuidedRows(counted, label, len(table.prompts), weight)
            return Student(ledger.denoiser(bound), pipeline.process)

        return load

    def problem(
        self, seed: int, index: Sequence[int], ledger: Ledger, artifact: Mapping[str, Tensor] = EMPTY
    ) -> Problem:
        """What a method sees of these samples."""
        plain = super().problem(seed, index, ledger, artifact)
        given = {each.name: getattr(plain, each.name) for each in fields(plain)}
        return ReleasedProblem(**given, checkpoint=self._released(index, ledger))
