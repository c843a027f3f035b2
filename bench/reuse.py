r"""Features that outlive a step: a network capability for methods that do not run the whole network every time.

::

    x ── shallow ──────────────── skip ──────────────── head ─> out
             └── encoder ── middle ── decoder ── deep ──┘

A U-Net that can be run in parts has ``partial(x, t, label, memory, part)`` beside its forward pass:

* ``full``: everything, and the features are kept in ``memory``;
* ``deep``: shallow and head only, with the kept deep feature (DeepCache, arXiv 2312.00858);
* ``encoder``: the decoder only, with the kept skip and middle features (Faster Diffusion, arXiv 2312.09608).

Every call is one evaluation and one network evaluation, whatever its part: what is saved shows in FLOPs and in time.
"""

from __future__ import annotations

from typing import Literal, Protocol, TypeGuard, runtime_checkable

from torch import Tensor

Part = Literal["full", "deep", "encoder"]
Memory = dict[str, Tensor | tuple[Tensor, ...]]


@runtime_checkable
class Partial(Protocol):
    """A network that can be run in parts."""

    def partial(self, x: Tensor, t: Tensor, label: Tensor, memory: Memory, part: Part) -> Tensor:
        """The output (B, ...) with some features taken from, or all written to, ``memory``.

        Args:
            x: (B, ...) input of the network.
            t: (B,) what the network is told of the noise level.
            label: (B,) classes.
            memory: features of the last full pass; replaced by a full one, unchanged by the others.
            part: what is computed.
        """
        ...


class CachedDenoiser(Protocol):
    """A counted denoiser whose calls say which part of the network they compute."""

    def __call__(self, x: Tensor, sigma: float | Tensor, part: Part = "full") -> Tensor:
        """x0_hat (B, ...); the first call must be ``full``."""
        ...


class Recall:
    """A network with a memory of its last full pass, called like the network itself.

    Guidance must run both halves in one batch, or the memory of one would serve the other.

    Attributes:
        part: what the next calls compute.
    """

    def __init__(self, network: Partial) -> None:
        self.network = network
        self.memory: Memory = {}
        self.part: Part = "full"

    def __call__(self, x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        return self.network.partial(x, sigma, label, self.memory, self.part)


def supports_reuse(network: object) -> TypeGuard[Partial]:
    """Whether a network, and the one inside it if it is a wrapper, can be run in parts."""
    inner = getattr(network, "net", network)
    return isinstance(network, Partial) and isinstance(inner, Partial)


def tensor(memory: Memory, name: str) -> Tensor:
    """One kept feature.

    Raises:
        ValueError: there was no full pass.
    """
    found = memory.get(name)
    if not isinstance(found, Tensor):
        raise ValueError("no full pass has been made, so there are no features to reuse")
    return found
