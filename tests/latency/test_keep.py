from __future__ import annotations

import torch
from torch import Tensor

from bench.latency.keep import Keep


def addresses(*tensors: Tensor) -> set[int]:
    return {tensor.untyped_storage().data_ptr() for tensor in tensors}


def test_what_is_read_and_not_made_inside_is_held() -> None:
    x, weight, unread = torch.ones(3, 3), torch.ones(3), torch.ones(5)
    with torch.inference_mode(), Keep() as keep:
        hidden = torch.addcmul(x, x, weight)
        result = torch.cat([hidden, hidden]).sum()
    assert set(keep.held) == addresses(x, weight)
    assert not addresses(unread, hidden, result) & set(keep.held)


def test_writing_in_place_and_views_do_not_lose_what_is_held() -> None:
    x = torch.ones(4)
    with Keep() as keep:
        x.add_(1)
        x.view(2, 2).mul_(2)
    assert set(keep.held) == addresses(x)


def test_held_tensors_outlive_their_owner() -> None:
    owner = {"rows": torch.full((3,), 7.0)}
    with Keep() as keep:
        owner["rows"] + 1
    owner.clear()
    assert [value.tolist() for value in keep.held.values()] == [[7.0, 7.0, 7.0]]
