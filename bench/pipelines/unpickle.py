"""Read the tensors of an EDM checkpoint without running anything that it holds; run as a process of its own.

NVlabs/edm (Karras et al. 2022, arXiv 2206.00364) saves whole objects by pickle, with their source code, which its own
loader executes (``torch_utils/persistence.py``). Here every class and function that a pickle may name is on a list, and
stands for an inert record or for the rebuilding of a tensor; anything else is refused. The source code is text.

Usage: ``python -I unpickle.py CHECKPOINT OUT NETWORK``; the answer is one line of JSON. It imports nothing of bench.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
import torch._utils
from safetensors.torch import save
from torch import Tensor

SKIPPED = re.compile(r"torch\.nn\.(modules|parameter)(\.\w+)*")
FORBIDDEN = (
    "subprocess.",
    "socket.",
    "ctypes.",
    "shutil.",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.remove",
    "os.rename",
    "os.putenv",
    "webbrowser.",
)


class Refused(Exception):
    """The file is not what it should be; the sentence says how."""


class Record(dict[str, Any]):
    """Stands for ``dnnlib.EasyDict``."""


class Inert:
    """Stands for a module: it keeps its state and does nothing."""

    state: dict[str, Any]
    source = ""
    name = ""

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        return super().__new__(cls)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = state


def persistent(meta: Record) -> Inert:
    """Stands for ``_reconstruct_persistent_obj``, which would execute ``module_src``."""
    found = Inert()
    found.state, found.source, found.name = meta["state"], str(meta["module_src"]), str(meta["class_name"])
    return found


def storage(data: bytes) -> Any:
    """Stands for ``torch.storage._load_from_bytes``, which would unpickle without limits."""
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): lambda data, requires_grad, hooks: data,
    ("torch.storage", "_load_from_bytes"): storage,
    ("torch", "Size"): torch.Size,
    ("dnnlib.util", "EasyDict"): Record,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): persistent,
    **{
        ("torch", str(kind).removeprefix("torch.")): kind
        for kind in vars(torch).values()
        if isinstance(kind, torch.dtype)
    },
}


class Reader(pickle.Unpickler):
    """An unpickler that knows the names in ``ALLOWED`` and modules of torch, which become inert."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in ALLOWED:
            return ALLOWED[module, name]
        if SKIPPED.fullmatch(module) and name.isidentifier():
            return Inert
        raise Refused(f"it asks for {module}.{name}, which no checkpoint needs, so it was not read any further")


def tensors(node: Any, prefix: str = "") -> dict[str, Tensor]:
    """The state dict of an inert module."""
    found: dict[str, Tensor] = {}
    if not isinstance(node, Inert) or not isinstance(node.state, dict):
        raise Refused("what it holds is no network")
    temporary = node.state.get("_non_persistent_buffers_set", set())
    for group in ("_parameters", "_buffers"):
        for name, value in node.state.get(group, {}).items():
            if isinstance(value, Tensor) and name not in temporary:
                found[prefix + name] = value.detach().clone().contiguous()
    for name, child in node.state.get("_modules", {}).items():
        if child is not None:
            found.update(tensors(child, f"{prefix}{name}."))
    return found


def guard(event: str, arguments: tuple[Any, ...]) -> None:
    """A second lock behind the list: no process, no socket, no removed or renamed file while a pickle is read."""
    if event.startswith(FORBIDDEN):
        raise Refused(f"it tried {event}")


def plain(value: Any) -> Any:
    """What JSON can hold of a value; the rest as text."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else type(value).__name__


def read(source: Path, network: str) -> tuple[Inert, dict[str, Tensor]]:
    """The inert network of a checkpoint and its state dict.

    Raises:
        Refused: the file is no such checkpoint, or asks for more than tensors.
    """
    try:
        with source.open("rb") as file:
            content = Reader(file).load()
    except Refused:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise Refused(f"it cannot be read as a pickle of tensors ({type(error).__name__})") from error
    if not isinstance(content, dict) or network not in content:
        known = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise Refused(f"it has no {network!r}; it has: {known}")
    return content[network], tensors(content[network])


def convert(source: Path, out: Path, network: str) -> dict[str, Any]:
    """Write the tensors of ``network`` in a checkpoint as safetensors; what is known of it. Raises as ``read``."""
    storage(_example())  # what torch imports late is imported before the guard is up
    sys.addaudithook(guard)
    node, state = read(source, network)
    out.write_bytes(save(state))
    arguments = {key: plain(node.state.get(key)) for key in ("_init_args", "_init_kwargs")}
    return {"class_name": node.name, "source": node.source, "tensors": len(state), **arguments}


def _example() -> bytes:
    """A storage as a pickle of a tensor holds it."""
    stored: Any = torch.zeros(1)
    _, (data,) = stored._typed_storage().__reduce__()
    return bytes(data)


if __name__ == "__main__":
    try:
        answer = convert(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
    except Refused as refused:
        answer = {"refused": str(refused)}
    sys.stdout.write(json.dumps(answer))
