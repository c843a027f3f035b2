"""Exponential moving average of a module's weights."""

from typing import Final

import torch
from torch import Tensor, nn

WARM_UP: Final = 10


class EMA:
    """average <- d_t average + (1 - d_t) weights, with d_t = min(decay, (1 + t) / (10 + t)) for update t = 0, 1, ...

    The ramp forgets the random initialisation however short the training is. Buffers are copied, not
    averaged. `state` is detached from the module and safe to save.

    Args:
        module: whose weights are followed; the average starts at them.
        decay: the final d, in [0, 1).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), not {decay}")
        self.decay = decay
        self.updates = 0
        self.state: dict[str, Tensor] = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the average towards the module's present weights."""
        decay = min(self.decay, (1 + self.updates) / (WARM_UP + self.updates))
        trained = {name for name, _ in module.named_parameters()}
        for name, value in module.state_dict().items():
            if name in trained:
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)
        self.updates += 1
