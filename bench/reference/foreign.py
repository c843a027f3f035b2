"""Statistics of other programs: mean and covariance, or features, in an npz file.

EDM (``fid-refs/*.npz``), clean-fid, pytorch-fid and TTUR write ``mu`` and ``sigma``; ADM's reference batches have them
beside ``mu_s`` and ``sigma_s`` (the spatial features of sFID) and images ``arr_0``. What clean-fid keeps for KID
(``*_kid.npz``) is ``feats``, the features of all images. None of them says which network, resolution and count they are
from, so the user has to. Pickles (EDM2's ``.pkl``) can run code when they are read: they
are refused.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from bench.errors import AssetError, UsageError
from bench.reference.statistics import Reference

PAIRS = {"pool": ("mu", "sigma"), "spatial": ("mu_s", "sigma_s")}


@dataclass(frozen=True)
class Told:
    """What the file does not say.

    Attributes:
        extractor: id of the feature network.
        resolution: (height, width) of the images; None if unknown.
        count: images.
        preprocessing: id, or words, for what was done to the images.
        which: ``pool``, or ``spatial`` for ADM's second pair.
        width: numbers that the network finds in an image; None if nobody knows.
    """

    extractor: str
    resolution: tuple[int, int] | None
    count: int
    preprocessing: str = "unstated"
    which: str = "pool"
    width: int | None = None


def _refuse_pickles(path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {path}; name an .npz file with mu and sigma") from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; name an .npz file with mu and sigma") from error
    if path.suffix.lower() in (".pkl", ".pickle") or start[:1] == b"\x80":
        raise AssetError(
            f"{path} is a Python pickle (as EDM2's references are), which can run code when it is read; in the "
            f"environment of its authors, save its mu and sigma by numpy.savez and import that"
        )


Contents = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float32] | None]
"""Mean, covariance, and the features themselves where the file has them."""


def _of_features(path: Path, found: NDArray[np.float32], count: int) -> Contents:
    if found.ndim != 2 or len(found) < 2:
        raise AssetError(f"{path} has feats of shape {found.shape}, not (n, d); get it again")
    if len(found) != count:
        raise AssetError(f"{path} has features of {len(found):,} images, not of {count:,}; state the right count")
    rows = found.astype(np.float64)
    return rows.mean(0), np.cov(rows, rowvar=False), found.astype(np.float32)


def _contents(path: Path, which: str, count: int) -> Contents:
    mean_name, covariance_name = PAIRS[which]
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            names = set(archive.files)
            if {mean_name, covariance_name} <= names:
                return archive[mean_name].astype(np.float64), archive[covariance_name].astype(np.float64), None
            if "feats" in names:
                return _of_features(path, archive["feats"], count)
    except (OSError, ValueError, TypeError, AttributeError, EOFError, BadZipFile) as error:
        raise AssetError(f"{path} cannot be read as an .npz file without pickles ({error}); get it again") from error
    if "header" in names:
        raise AssetError(f"{path} is a reference of this program already; use it as it is")
    if "arr_0" in names:
        raise AssetError(f"{path} holds images, not statistics; run bench reference build {path}")
    found = ", ".join(sorted(names)) or "nothing"
    raise AssetError(f"{path} has {found}, not {mean_name} and {covariance_name}; name a file with statistics")


def read_foreign(path: Path, told: Told) -> Reference:
    """The statistics of another program's file.

    Raises:
        UsageError: there is no such file, or it was made with another network.
        AssetError: it is a pickle, cannot be read, or holds something else.
    """
    _refuse_pickles(path)
    mean, covariance, features = _contents(path, told.which, told.count)
    mean = np.atleast_1d(mean.squeeze())
    if told.width is not None and mean.shape != (told.width,):
        raise UsageError(
            f"{path} has a mean of {mean.size:,} numbers, and {told.extractor} finds {told.width:,}; name the network "
            f"that it was made with by --extractor"
        )
    return Reference(
        extractor=told.extractor,
        resolution=told.resolution,
        preprocessing=told.preprocessing,
        count=told.count,
        mean=mean,
        covariance=covariance,
        features=features,
        provenance={
            "made": "imported",
            "source": {"kind": "npz", "name": path.name, "which": told.which},
            "content_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )
