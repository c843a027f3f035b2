"""Where images come from, one at a time: folders, tar files, npz files, torchvision and Hugging Face data sets.

::

    photos/                                   all images below, in the order of their names; or all .tar files in it
    shard.tar                                 a WebDataset, or any tar file with images
    samples.npz                               ADM's arr_0 (N, H, W, 3) uint8
    torchvision:CIFAR10?split=train&root=DIR  as it is there; nothing is downloaded
    hf:owner/name?revision=COMMIT&split=test  from the hub or its cache, streamed; column=image by default
"""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import AssetError, UsageError
from bench.reference.images import Pixels, decode

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".gif")

Item = tuple[str, Callable[[], Pixels]]
"""The name of an image, and what decodes it; decoding may raise what Pillow raises."""


@dataclass(frozen=True)
class Source:
    """Images to read once.

    Attributes:
        kind: ``folder``, ``tar``, ``npz``, ``torchvision`` or ``hf``.
        name: for people and provenance.
        items: gives the images.
        details: split, revision, parameters.
        root: what names begin with on this machine and nowhere else.
    """

    kind: str
    name: str
    items: Callable[[], Iterator[Item]]
    details: dict[str, str] = field(default_factory=dict)
    root: str = ""


def open_source(text: str) -> Source:
    """The source of a specification, see the top of this file.

    Raises:
        UsageError: it is not written like one, or there is no such file.
        AssetError: a data set is not here.
    """
    scheme, colon, rest = text.partition(":")
    if colon and scheme in ("torchvision", "hf"):
        from bench.reference.datasets import hugging_face, torchvision

        name, _, tail = rest.partition("?")
        choices = dict(pair.partition("=")[::2] for pair in tail.split("&") if pair)
        return torchvision(name, choices) if scheme == "torchvision" else hugging_face(name, choices)
    path = Path(text).expanduser()
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        raise UsageError(f"there is no {path}; name a folder, a .tar or .npz file, torchvision:NAME or hf:OWNER/NAME")
    if tarfile.is_tarfile(path):
        return Source("tar", path.name, lambda: _tar(path), root=f"{path.parent}/")
    if path.suffix == ".npz":
        return Source("npz", path.name, lambda: _npz(path), root=f"{path.parent}/")
    raise UsageError(f"{path} is neither a folder nor a .tar or .npz file; name one of these")


def _folder(path: Path) -> Source:
    files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if files:
        return Source("folder", path.name, lambda: ((str(p), _from_file(p)) for p in files), root=f"{path}/")
    shards = sorted(path.glob("*.tar"))
    if not shards:
        raise UsageError(f"there are no images and no .tar files in {path}; name another folder")
    return Source("tar", path.name, lambda: (item for shard in shards for item in _tar(shard)), root=f"{path}/")


def opened(data: io.BytesIO | Path) -> Image:
    """An image of Pillow's, not decoded yet."""
    from PIL import Image

    return Image.open(data)


def _from_file(path: Path) -> Callable[[], Pixels]:
    def read() -> Pixels:
        with opened(path) as image:
            return decode(image)

    return read


def _from_bytes(data: bytes) -> Callable[[], Pixels]:
    return lambda: decode(opened(io.BytesIO(data)))


def _tar(path: Path) -> Iterator[Item]:
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                setattr(archive, "members", [])  # noqa: B010 - or it would remember every one; not in the stubs
                if member.isfile() and member.name.lower().endswith(SUFFIXES):
                    file = archive.extractfile(member)
                    assert file is not None
                    yield f"{path}/{member.name}", _from_bytes(file.read())
    except (tarfile.TarError, EOFError, OSError) as error:
        raise AssetError(f"{path} breaks off or is damaged ({error}); restore it") from error


def _npz(path: Path) -> Iterator[Item]:
    try:
        with zipfile.ZipFile(path) as archive, archive.open("arr_0.npy") as file:
            shape, fortran, dtype = _header(file)
            if dtype != np.uint8 or len(shape) != 4 or shape[-1] != 3 or fortran:
                raise AssetError(f"{path} has arr_0 of {dtype} {shape}, not images (N, H, W, 3) of uint8; convert it")
            size = int(np.prod(shape[1:]))
            for number in range(shape[0]):
                pixels = np.frombuffer(_exactly(file, size, path), np.uint8).reshape(shape[1:])
                yield f"{path}/arr_0[{number}]", lambda pixels=pixels: pixels  # type: ignore[misc]
    except KeyError as error:
        raise AssetError(f"{path} has no images (arr_0); statistics are read by bench reference import") from error
    except (zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
        raise AssetError(f"{path} cannot be read ({error}); restore it") from error


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    layout: Any = np.lib.format  # its functions have no types
    read = layout.read_array_header_1_0 if layout.read_magic(file) == (1, 0) else layout.read_array_header_2_0
    shape, fortran, dtype = read(file)
    return shape, fortran, dtype


def _exactly(file: Any, size: int, path: Path) -> bytes:
    data: bytes = file.read(size)
    if len(data) != size:
        raise AssetError(f"{path} breaks off in the middle of an image; restore it")
    return data
