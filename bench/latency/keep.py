"""What a call reads that it has not made itself: a CUDA graph needs it where it is, for as long as it is replayed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)


def _address(tensor: Tensor) -> int:
    """Of the tensor's storage; subclasses without one have their own."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):
        return id(tensor)


class Keep(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Holds every tensor that an operation inside reads and that no operation inside has made.

    Such as embeddings that a network keeps for its last prompts only: without this, others would push them out, their
    memory would be used again, and a graph would go on reading it.

    Attributes:
        held: by the address of their storage.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held: dict[int, Tensor] = {}
        self._made: set[int] = set()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        read = [*_tensors(args), *_tensors(list(named.values()))]
        result = func(*args, **named)
        for tensor in read:
            address = _address(tensor)
            if address not in self._made:
                self.held.setdefault(address, tensor)
        self._made.update(map(_address, _tensors(result)))
        self._made.difference_update(self.held)  # a view of what is held, or it written in place
        return result
