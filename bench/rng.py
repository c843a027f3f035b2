"""Randomness: a generator per sample, derived from (suite, seed, sample index).

Sample i does not depend on batch size, worker count, order, device or method; the initial noise and the noise a
stochastic method draws later are separate streams, so all methods start from the same noise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def derive(*parts: object) -> int:
    """A 63-bit seed from what determines a stream; stable across processes and versions of Python."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*parts: object) -> torch.Generator:
    """A CPU generator for the stream named by ``parts``."""
    return torch.Generator().manual_seed(derive(*parts))


class SampleNoise:
    """Gaussian noise for a batch, each sample from its own generator.

    Args:
        key: (suite name, seed, stream), stream being ``"initial"`` or ``"method"``.
        index: the samples' indices, one per row of the batch.
        shape: the shape of one sample.
        dtype, device: of the tensors returned; numbers are always drawn on the CPU in float32, so that devices and
            precisions start from the same noise.
    """

    def __init__(
        self,
        key: tuple[str, int, str],
        index: Sequence[int],
        shape: Sequence[int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        suite, seed, stream = key
        self._names = [(suite, seed, stream, i) for i in index]
        self._generators: list[torch.Generator] | None = None
        self._shape = tuple(shape)
        self._dtype = dtype
        self._device = device

    def normal(self) -> Tensor:
        """(B, *shape) independent standard normal numbers; each call continues every sample's stream."""
        if self._generators is None:  # most methods draw nothing
            self._generators = [generator(*name) for name in self._names]
        out = torch.empty(len(self._names), *self._shape, dtype=torch.float32)  # whatever the default is
        for row, source in zip(out, self._generators, strict=True):
            row.normal_(generator=source)
        return out.to(self._device, self._dtype)
