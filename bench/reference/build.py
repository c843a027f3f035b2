"""Statistics of a source of images under an extractor, one batch at a time."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import AssetError
from bench.reference.images import Pixels, Preparation
from bench.reference.moments import Moments
from bench.reference.sources import Source
from bench.reference.statistics import Reference

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 32
DAMAGED = (OSError, ValueError, SyntaxError, EOFError, zlib.error, IndexError, TypeError)
NAMED = 10


@dataclass(frozen=True)
class Order:
    """What to build.

    Attributes:
        extractor: id of the feature network.
        extract: images (B, 3, H, W) or clips (B, F, 3, H, W), uint8, to features (B, d) float32.
        preparation: of the images before the extractor.
        keep: features to keep for nearest neighbours and KID, drawn uniformly.
        seed: of that draw.
        limit: images to take from the beginning; all if None.
        skip_bad: leave out and count images that cannot be decoded.
    """

    extractor: str
    extract: Callable[[Tensor], Tensor]
    preparation: Preparation
    keep: int = 0
    seed: int = 0
    limit: int | None = None
    skip_bad: bool = False


class _Reader:
    """Prepared images of a source; remembers what could not be decoded, and the sizes it has met."""

    def __init__(self, source: Source, order: Order) -> None:
        self.source = source
        self.order = order
        self.bad: list[str] = []
        self.sizes: set[tuple[int, int]] = set()

    def __iter__(self) -> Iterator[Pixels]:
        for name, decode in self.source.items():
            try:
                pixels = decode()
            except AssetError:
                raise
            except Exception as error:
                if not (isinstance(error, DAMAGED) or type(error).__name__ == "DecompressionBombError"):
                    raise
                if not self.order.skip_bad:
                    raise AssetError(
                        f"{name} cannot be decoded ({error}); restore it, or leave such images out with --skip-bad"
                    ) from error
                self.bad.append(name)
                continue
            prepared = self.order.preparation(name, pixels)
            self.sizes.add((prepared.shape[-3], prepared.shape[-2]))
            yield prepared


def batches(images: Iterator[Pixels]) -> Iterator[Tensor]:
    """Images of equal size together, (B, 3, H, W) uint8, or clips, (B, F, 3, H, W); at most ``BATCH`` of them."""
    waiting: list[Pixels] = []
    for pixels in images:
        if waiting and (len(waiting) == BATCH or waiting[0].shape != pixels.shape):
            yield _stacked(waiting)
            waiting = []
        waiting.append(pixels)
    if waiting:
        yield _stacked(waiting)


def _stacked(waiting: list[Pixels]) -> Tensor:
    import torch

    return torch.from_numpy(np.stack(waiting)).movedim(-1, -3).contiguous()


def build(source: Source, order: Order, tell: Callable[[int], None] = lambda count: None) -> Reference:
    """The statistics of a source.

    Args:
        source: the images; read once.
        order: what to do with them.
        tell: told how many images are done.

    Raises:
        AssetError: an image cannot be decoded, or has the wrong size; it is named.
        UsageError: fewer than two images are left.
    """
    reader = _Reader(source, order)
    moments = Moments(order.keep, order.seed)
    for batch in batches(islice(reader, order.limit)):
        moments.add(order.extract(batch).detach().cpu().float().numpy())
        tell(moments.count)
    mean, covariance, features = moments.finish()
    size = next(iter(reader.sizes)) if len(reader.sizes) == 1 else None
    return Reference(
        extractor=order.extractor,
        resolution=size,
        preprocessing=order.preparation.way,
        count=moments.count,
        mean=mean,
        covariance=covariance,
        features=features,
        provenance=_provenance(source, order, reader.bad),
    )


def _provenance(source: Source, order: Order, bad: list[str]) -> dict[str, Any]:
    packages = ("fewstep-bench", "torch", "numpy", "pillow")
    return {
        "made": "built",
        "source": {"kind": source.kind, "name": source.name, **source.details},
        "content_sha256": order.preparation.content,
        "limit": order.limit,
        "kept_features": {"asked": order.keep, "seed": order.seed},
        "skipped": {"count": len(bad), "first": [name.removeprefix(source.root) for name in bad[:NAMED]]},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: _version(name) for name in packages},
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
