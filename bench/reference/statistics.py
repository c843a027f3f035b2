"""The statistics of one data set under one extractor, and the file that holds them.

A file is an npz without pickled objects: ``mean`` (d,), ``covariance`` (d, d), optionally ``features`` (n, d), and
``header``, UTF-8 JSON as uint8, with everything else. The identity of the statistics is a hash of what they say, not of
when and where they were made.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from bench.errors import AssetError, UsageError
from bench.store import write_durable

FORMAT = "fewstep-bench reference 1"


@dataclass(frozen=True, eq=False)
class Reference:
    """Statistics of the features of a data set.

    Attributes:
        extractor: id of the feature network, such as ``inception-v3-tf@6726825d/clean``.
        resolution: (height, width) of the images before the extractor's own resize; None if unknown.
        preprocessing: id of what was done to the images before the extractor, ``none`` for nothing.
        count: images.
        mean: (d,) float64.
        covariance: (d, d) float64, divided by count - 1.
        features: (n, d) float32 of some of the images, or None; nearest neighbours and KID need them.
        provenance: source, split, content hash, versions, date: whatever was known.
    """

    extractor: str
    resolution: tuple[int, int] | None
    preprocessing: str
    count: int
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    features: NDArray[np.float32] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that the parts fit together.

        Raises:
            AssetError: shapes do not, a number is not finite, the covariance is not symmetric, or count is below 2.
        """
        problem = _problem(self)
        if problem:
            raise AssetError(f"these are not the statistics of a data set: {problem}; build or import them again")

    @cached_property
    def id(self) -> str:
        """Eight hexadecimal digits of the hash of everything but the provenance."""
        found = hashlib.sha256(json.dumps(_terms(self), sort_keys=True).encode())
        for array in (self.mean, self.covariance, self.features):
            found.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
        return found.hexdigest()[:8]

    def check(
        self, extractor: str, resolution: tuple[int, int] | None = None, preprocessing: str | None = None
    ) -> None:
        """Refuse to compare features that were not made the same way.

        None, on either side, agrees with all.

        Raises:
            UsageError: extractor, resolution or preprocessing differ.
        """
        pairs = [("extractor", self.extractor, extractor)]
        if preprocessing is not None:
            pairs.append(("preprocessing", self.preprocessing, preprocessing))
        if self.resolution is not None and resolution is not None:
            pairs.append(("resolution", _size(self.resolution), _size(resolution)))
        differing = [f"{what} {ours}, not {asked}" for what, ours, asked in pairs if ours != asked]
        if differing:
            raise UsageError(
                f"reference {self.id} has {' and '.join(differing)}; such numbers are not comparable: "
                f"build a matching one with bench reference build"
            )

    def save(self, path: Path) -> None:
        """Write the file, all of it or nothing.

        Raises:
            OutputError: the folder cannot be written to, or is full.
        """
        header = {"format": FORMAT, **_terms(self), "provenance": self.provenance}
        text = json.dumps(header, sort_keys=True).encode()
        arrays = {"mean": self.mean, "covariance": self.covariance, "header": np.frombuffer(text, np.uint8)}
        if self.features is not None:
            arrays["features"] = self.features
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]  # numpy's stubs mix arrays up with allow_pickle
        write_durable(path, buffer.getvalue())


def load(path: Path) -> Reference:
    """Read a file of ``save``.

    Raises:
        AssetError: it cannot be read, or is of another kind.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if "header" not in archive.files:
                raise AssetError(f"{path} is not a reference of this program; run bench reference import {path}")
            header = json.loads(archive["header"].tobytes())
            features = archive["features"] if "features" in archive.files else None
            mean, covariance = archive["mean"], archive["covariance"]
        if header["format"] != FORMAT:
            raise AssetError(f"{path} has format {header['format']!r}, this version reads {FORMAT!r}; upgrade bench")
        size = header["resolution"]
        return Reference(
            extractor=header["extractor"],
            resolution=None if size is None else (int(size[0]), int(size[1])),
            preprocessing=header["preprocessing"],
            count=int(header["count"]),
            mean=mean,
            covariance=covariance,
            features=features,
            provenance=header["provenance"],
        )
    except FileNotFoundError as error:
        raise AssetError(f"there is no file {path}; make it with bench reference build or import") from error
    except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, BadZipFile) as error:
        raise AssetError(
            f"{path} cannot be read as reference statistics ({type(error).__name__}); restore it or build it again"
        ) from error


def _terms(reference: Reference) -> dict[str, Any]:
    return {
        "extractor": reference.extractor,
        "resolution": None if reference.resolution is None else list(reference.resolution),
        "preprocessing": reference.preprocessing,
        "count": reference.count,
    }


def _size(resolution: tuple[int, int]) -> str:
    return f"{resolution[0]}x{resolution[1]}"


def _problem(reference: Reference) -> str:
    mean, covariance, features = reference.mean, reference.covariance, reference.features
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
        return f"a mean of shape {mean.shape} with a covariance of shape {covariance.shape}"
    if features is not None and (features.ndim != 2 or features.shape[1] != len(mean)):
        return f"features of shape {features.shape} with a mean of shape {mean.shape}"
    if reference.count < 2:
        return f"a count of {reference.count}"
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        return "a number is not finite"
    if not np.allclose(covariance, covariance.T, rtol=1e-6, atol=1e-6 * float(np.abs(covariance).max(initial=0))):
        return "the covariance is not symmetric"
    return ""
