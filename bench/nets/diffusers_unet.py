"""The U-Nets of diffusers, run in parts: see ``bench.reuse``.

``UNet2DModel`` and ``UNet2DConditionModel`` keep their own forward pass, with all its embeddings and options; what is
replaced is the work of single blocks. A block that need not run returns what it returned in the last full pass:

* ``encoder``: the blocks of the way down and the middle one;
* ``deep``: all blocks but the outermost of each way, so that only shallow features are new (DeepCache's branch 0).

Nothing of diffusers is imported: any network with ``conv_in``, ``down_blocks``, ``mid_block`` and ``up_blocks`` serves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

from torch import Tensor, nn

from bench.reuse import Memory, Part

Forward = Callable[..., Any]


def _blocks(unet: Any) -> Iterator[tuple[str, nn.Module, frozenset[Part]]]:
    """Name, module and the parts in which it does not run."""
    encoder: frozenset[Part] = frozenset({"encoder"})
    both: frozenset[Part] = frozenset({"encoder", "deep"})
    yield "conv_in", unet.conv_in, encoder
    for i, block in enumerate(unet.down_blocks):
        yield f"down{i}", block, encoder if i == 0 else both
    if unet.mid_block is not None:
        yield "mid", unet.mid_block, both
    for i, block in enumerate(unet.up_blocks):
        yield f"up{i}", block, frozenset() if i == len(unet.up_blocks) - 1 else frozenset({"deep"})


class DiffusersUNet(nn.Module):
    """A U-Net of diffusers that can be run in parts.

    Args:
        unet: called as ``unet(x, t, condition, return_dict=False)``, where condition is its class labels or its encoder
            hidden states. The forward methods of its blocks are wrapped in place; called by itself it works as before.
        options: further arguments of every call, such as ``added_cond_kwargs``.
    """

    def __init__(self, unet: nn.Module, **options: Any) -> None:
        super().__init__()
        self.unet = unet
        self.options = options
        self._memory: Memory | None = None  # only during a call of ``partial``
        self._part: Part = "full"
        for name, block, skipped in list(_blocks(unet)):
            # an attribute of the instance goes before the class's method, so weights keep their names
            block.forward = self._recalling(name, block.forward, skipped)

    def _recalling(self, name: str, forward: Forward, skipped: frozenset[Part]) -> Forward:
        def recalling(*args: Any, **kwargs: Any) -> Any:
            if self._memory is None:
                return forward(*args, **kwargs)
            if self._part in skipped:
                if name not in self._memory:
                    raise ValueError("no full pass has been made, so there are no features to reuse")
                return self._memory[name]
            out = forward(*args, **kwargs)
            if self._part == "full":
                self._memory[name] = out
            return out

        return recalling

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """x (B, C, H, W), t (B,) the model's own time, condition (B,) or (B, L, E) -> (B, C, H, W)."""
        return cast(Tensor, self.unet(x, t, condition, **self.options, return_dict=False)[0])

    def partial(self, x: Tensor, t: Tensor, label: Tensor, memory: Memory, part: Part) -> Tensor:
        """See ``bench.reuse.Partial``; ``label`` is the condition."""
        self._memory, self._part = memory, part
        try:
            return self.forward(x, t, label)
        finally:
            self._memory = None
