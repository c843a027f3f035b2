"""Weights on disk: ``NAME.safetensors`` and, beside it, ``NAME.json`` with their SHA-256 and history."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import AssetError

if TYPE_CHECKING:
    from torch import Tensor


def read_verified(path: Path) -> tuple[bytes, dict[str, Any]]:
    """The file and the record beside it.

    Raises:
        AssetError: one of the two is missing or unreadable, or the file is not what the record describes.
    """
    try:
        record: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        data, stated = path.read_bytes(), record["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AssetError(f"{path} or the JSON beside it cannot be read ({error!r}); restore both files") from error
    if hashlib.sha256(data).hexdigest() != stated:
        raise AssetError(f"{path} is not the file that {path.stem}.json describes (truncated or changed); restore it")
    return data, record


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and record.

    Raises:
        AssetError: as ``read_verified``.
    """
    from safetensors.torch import load

    data, record = read_verified(path)
    return load(data), record


def save_weights(path: Path, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
    """Write the tensors to ``path`` (*.safetensors) and the record, with their SHA-256, to the JSON beside it."""
    from safetensors.torch import save

    data = save({name: value.contiguous() for name, value in tensors.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    text = json.dumps({"sha256": hashlib.sha256(data).hexdigest(), **record}, indent=1, sort_keys=True)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
