r"""CLIP score: how well pictures fit their captions, by the cosine of two embeddings.

``scale * cos`` (Hessel et al. 2021, arXiv 2104.08718, who write 2.5 max(cos, 0)): what is called CLIP score is 100 cos
in one paper, cos in the next, of another network in a third. Network, checkpoint, scale, floor and template are in the
id.

``detail`` has a control: the mean over all pairs of a picture and a caption of another text (``shuffled``), in closed
form, so that neither chance nor the batch size is in it, and how far above it the score is, in standard errors of the
difference (``above_shuffled``). A score near its control says nothing about captions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Tensor

from bench.batch import Batch, Lacking
from bench.features.base import extract, network
from bench.features.clip import NAME, ClipNetwork, OpenClip
from bench.info import Info, Paper
from bench.metrics._features import Rows
from bench.metrics._intervals import standard_error
from bench.metrics._scores import captions, mean_of
from bench.metrics.base import Estimate, Metric, Space, Statistics

INFO = Info(
    summary="Cosine of CLIP embeddings of a picture and its caption, times a scale; model and checkpoint by open-clip.",
    papers=(
        Paper(
            title="CLIPScore: A Reference-free Evaluation Metric for Image Captioning",
            authors="Jack Hessel and Ari Holtzman and Maxwell Forbes and Ronan Le Bras and Yejin Choi",
            year=2021,
            arxiv="2104.08718",
        ),
    ),
    requires=("images", "prompts"),
)

Array = NDArray[np.float64]
GIVEN = "clip"
"""Where a suite with a CLIP model of its own puts ``(image (B, d), text (B, d))`` in ``Batch.extracted``."""


@dataclass(frozen=True, eq=False)
class Pairs(Statistics):
    """Pictures and captions.

    Attributes:
        images, texts: (n, d) embeddings.
        scores: (n, 1) cosines, float64.
        keys: (n,) a hash of each caption.
    """

    images: Rows
    texts: Rows
    scores: Rows
    keys: NDArray[np.int64]

    def __add__(self, other: Pairs) -> Pairs:
        keys = np.concatenate([self.keys, other.keys])
        return Pairs(self.images + other.images, self.texts + other.texts, self.scores + other.scores, keys)


def _keys(texts: Iterable[str]) -> NDArray[np.int64]:
    digests = (hashlib.sha256(text.encode()).digest()[:8] for text in texts)
    return np.array([int.from_bytes(digest, "big", signed=True) for digest in digests], np.int64)


def against_all(x: Rows, y: Rows) -> Array:
    """(n,): sum over rows of y of ``x_i . y_j``."""
    total = sum(rows.sum(0) for _, rows in y.chunks())
    return np.concatenate([rows @ total for _, rows in x.chunks()])


class ClipScore(Metric[Pairs]):
    """The mean over samples.

    Attributes:
        model: open-clip's name of the architecture, or ``suite`` for a model that the suite brings along.
        checkpoint: open-clip's tag of the weights.
        scale: what the cosine is multiplied by: 100, 1 or 2.5.
        floor: whether negative cosines count as 0.
        template: what is embedded, ``{}`` standing for the caption, as in ``A photo depicts {}``.
    """

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    label: ClassVar[str] = "CLIP score ({features})"
    space: ClassVar[Space] = "features"
    needs_reference: ClassVar[bool] = False

    model: str = Field(default="ViT-L-14", pattern=NAME)
    checkpoint: str = Field(default="openai", pattern=NAME)
    scale: float = Field(default=100.0, gt=0)
    floor: bool = False
    template: str = "{}"

    @field_validator("template")
    @classmethod
    def _template(cls, value: str) -> str:
        if value.count("{}") != 1 or any(character in value for character in ":/[],=\n"):
            raise ValueError("a template has {} once, and none of : / [ ] , =")
        return value

    def extractor(self) -> OpenClip | None:
        """The network; None for the suite's own."""
        return None if self.model == "suite" else OpenClip(model=self.model, checkpoint=self.checkpoint)

    def network_id(self) -> str:
        network = self.extractor()
        floor = "max0" if self.floor else ""
        return f"{network.id}/{self.scale:g}{floor}cos" if network else ""

    def weights(self) -> tuple[str, ...]:
        network = self.extractor()
        return network.weights() if network else ()

    def problem(self) -> str:
        network = self.extractor()
        return network.problem() if network else ""

    def _embeddings(self, batch: Batch, texts: tuple[str, ...]) -> tuple[Tensor, Tensor]:
        wanted = self.extractor()
        if wanted is None:
            if GIVEN not in batch.extracted:
                raise Lacking("the suite has no CLIP model; write clip_score[model=ViT-L-14,checkpoint=openai]")
            images, given = batch.extracted[GIVEN]
            return images, given
        images = extract(wanted, batch)
        judge = network(wanted)
        assert isinstance(judge, ClipNetwork)
        return images, judge.texts(texts)

    def statistics(self, batch: Batch) -> Pairs:
        texts = tuple(self.template.replace("{}", caption) for caption in captions(batch))
        images, embedded = self._embeddings(batch, texts)
        x, t = Rows.of(images.float(), "images"), Rows.of(embedded.float(), "captions")
        cosine = (x.double * t.double).sum(1)
        return Pairs(x, t, Rows(cosine[:, None]), _keys(texts))

    def value(self, statistics: Pairs, reference: Pairs | None) -> Estimate:
        cosine = statistics.scores.double[:, 0]
        found = mean_of(self.scale * (np.maximum(cosine, 0.0) if self.floor else cosine))
        return Estimate(found.value, found.low, found.high, found.interval, self._control(statistics), found.influence)

    def _control(self, pairs: Pairs) -> dict[str, float]:
        """The mean over pairs of different captions, without floor, and how far above it the plain mean is."""
        cosine = pairs.scores.double[:, 0]
        _, group, counts = np.unique(pairs.keys, return_inverse=True, return_counts=True)
        others = len(cosine) - counts[group]  # captions of another text than a picture's own
        if not others.any():
            return {}
        by_image = against_all(pairs.images, pairs.texts) - counts[group] * cosine
        by_text = against_all(pairs.texts, pairs.images) - np.bincount(group, cosine)[group]
        shuffled = float(by_image.sum() / others.sum())
        # each sample's first-order contribution to the difference: as a pair, as a picture and as a caption
        influence = cosine - (by_image + by_text - 2 * shuffled * others) / others.mean()
        error = standard_error(influence)
        margin = float(cosine.mean()) - shuffled
        above = {"above_shuffled": margin / error} if error > 0 else {}
        return {"shuffled": self.scale * shuffled, **above}
