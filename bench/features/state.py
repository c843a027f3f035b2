"""Weights from a file: tensors and nothing else, whatever the file claims to be."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.errors import AssetError

SIZES = ("input_resolution", "context_length", "vocab_size")  # numbers among the tensors of OpenAI's files


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors file, a PyTorch file or a TorchScript archive; no pickle runs beyond tensors.

    Raises:
        AssetError: it cannot be read, or holds something else.
    """
    try:
        found = _read(path)
    except Exception as error:  # a damaged file may raise anything
        raise AssetError(f"{path} cannot be read as weights ({type(error).__name__}); fetch it again") from error
    found = found.get("state_dict", found) if isinstance(found, dict) else found
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise AssetError(f"{path} holds no table of tensors; fetch it again")
    return found


def _read(path: Path) -> object:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    if _is_torchscript(path):  # its code is not Python, and is not run
        return {key: value for key, value in load_script(path).state_dict().items() if key not in SIZES}
    return torch.load(path, map_location="cpu", weights_only=True)


def load_script(path: Path) -> nn.Module:
    """A TorchScript archive on the CPU.

    Raises:
        RuntimeError: it is none, or is damaged.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # that this will be gone one day helps no user
        module: nn.Module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    return module


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("constants.pkl") for name in archive.namelist())
