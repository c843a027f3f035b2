"""The files of a released student: where they are, what they hold, and their hash.

They come from a folder of the user's or from the local cache of the hub, at the pinned revision. Nothing is downloaded
and no pickle is read.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath

from torch import Tensor

from bench.api import Unsupported
from bench.pipelines.content import sha256
from bench.pipelines.repository import require
from bench.released.checkpoint import PICKLES, Checkpoint

FOLDERS = "BENCH_RELEASED"
"""Environment variable: a folder with ``owner/name`` folders in it, looked at before the cache of the hub."""


def locate(card: Checkpoint, path: str) -> Path:
    """A file or folder of the checkpoint's repository on this machine.

    Raises:
        Unsupported: it is not there; says which command brings it.
    """
    chosen = os.environ.get(FOLDERS)
    if chosen and (found := Path(chosen, *card.repository.split("/"), path)).exists():
        return found
    cached = _cached(card, path)
    if cached is not None and cached.exists():
        return cached
    raise Unsupported(f"{path or 'the weights'} of {card.repository} is not on this machine; {card.command}")


def _cached(card: Checkpoint, path: str) -> Path | None:
    """The path in the snapshot that the hub's cache holds of the pinned revision."""
    require("huggingface_hub")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(card.repository, revision=card.revision or None, local_files_only=True), path)
    except (LocalEntryNotFoundError, OSError, ValueError) as error:
        partial = getattr(error, "snapshot_path", "")  # where some of the repository's files are, perhaps this one
        return Path(partial, path) if partial else None


def readable(card: Checkpoint, path: str) -> Path:
    """A file or folder that can be loaded; of a pickle, the safetensors file that the user has made of it.

    Raises:
        Unsupported: it is not there; says which command brings it, or that it must be converted.
    """
    if not path.endswith(PICKLES):
        return locate(card, path)
    wanted = str(PurePosixPath(path).with_suffix(".safetensors"))
    try:
        return locate(card, wanted)
    except Unsupported as error:
        name = PurePosixPath(wanted).name
        raise Unsupported(
            f"{path} of {card.repository} is a pickle, which is not read; convert it to {name} beside it "
            f"({card.command})"
        ) from error


def tensors(card: Checkpoint, path: str) -> dict[str, Tensor]:
    """The tensors of one safetensors file.

    Raises:
        Unsupported: the file is a pickle, is missing or cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = readable(card, path)
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise Unsupported(f"{path} of {card.repository} is not a whole safetensors file: {error}") from error


def identity(card: Checkpoint, nfe: int) -> str:
    """The hash of the files a student is made of; empty for a number of evaluations that was not released.

    Raises:
        Unsupported: a file is not on this machine; says which command brings it.
    """
    if nfe not in card.timesteps:
        return ""
    total = hashlib.sha256()
    for path in filter(None, (card.file(nfe), card.lora)):
        found = readable(card, path)
        files = sorted(found.glob("*")) if found.is_dir() else [found]
        for file in files:
            if file.suffix in (".safetensors", ".json"):
                total.update(f"{file.name}:{sha256(file)}\n".encode())
    return total.hexdigest()
