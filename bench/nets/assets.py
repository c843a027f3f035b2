"""The trained networks of the digits suite, rebuilt from their weights."""

from __future__ import annotations

from pathlib import Path

from bench.nets.classifier import DigitsCNN
from bench.nets.precond import EDMPrecond
from bench.nets.unet import UNet, UNetConfig
from bench.weights import load_weights


def load_teacher(path: Path) -> EDMPrecond:
    """The teacher D(x, sigma, label), in evaluation mode and without gradients."""
    state, record = load_weights(path)
    net = UNet(UNetConfig(**record["config"]["net"]))
    net.load_state_dict(state)
    return EDMPrecond(net, record["config"]["sigma_data"]).eval().requires_grad_(False)


def load_classifier(path: Path) -> DigitsCNN:
    """The feature network, in evaluation mode and without gradients."""
    state, record = load_weights(path)
    network = DigitsCNN(**record["config"])
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)
