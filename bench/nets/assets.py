"""Trained networks on disk: `NAME.safetensors` and, beside it, `NAME.json` with its digest and history."""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from bench.nets.classifier import DigitsCNN
from bench.nets.precond import EDMPrecond
from bench.nets.unet import UNet, UNetConfig


class CorruptAsset(ValueError):
    """The weights are not those that the JSON beside them describes."""


def save_asset(path: Path, state: dict[str, Tensor], record: dict[str, Any]) -> None:
    """Write the weights to `path` (*.safetensors) and the record, with their sha256, to the JSON beside it."""
    data = save({name: value.contiguous() for name, value in state.items()})
    digest = hashlib.sha256(data).hexdigest()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    text = json.dumps({"sha256": digest, **record}, indent=1, sort_keys=True)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")


def load_asset(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read weights and record; `CorruptAsset` if the digest differs."""
    data = path.read_bytes()
    record: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    if hashlib.sha256(data).hexdigest() != record["sha256"]:
        raise CorruptAsset(f"{path.name} does not have the sha256 that {path.stem}.json states")
    return load(data), record


def load_teacher(path: Path) -> EDMPrecond:
    """The teacher D(x, sigma, label), in evaluation mode and without gradients."""
    state, record = load_asset(path)
    net = UNet(UNetConfig(**record["config"]["net"]))
    net.load_state_dict(state)
    return EDMPrecond(net, record["config"]["sigma_data"]).eval().requires_grad_(False)


def load_classifier(path: Path) -> DigitsCNN:
    """The feature network, in evaluation mode and without gradients."""
    state, record = load_asset(path)
    network = DigitsCNN(**record["config"])
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)
