"""Weights on disk: what is written comes back, and anything else is refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from bench.errors import AssetError
from bench.weights import load_weights, read_verified, save_weights


def test_round_trip(tmp_path: Path) -> None:
    state = nn.Linear(2, 3).state_dict()
    save_weights(tmp_path / "new" / "a.safetensors", state, {"config": {"x": [1, 2]}})
    again, record = load_weights(tmp_path / "new" / "a.safetensors")
    assert again.keys() == state.keys()
    assert all(torch.equal(again[k], state[k]) for k in state)
    assert record["config"] == {"x": [1, 2]}


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_weights(path, {"w": torch.zeros(2)}, {})
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(AssetError, match=r"a\.safetensors"):
        load_weights(path)


def test_truncated_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_weights(path, {"w": torch.zeros(64)}, {})
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(AssetError, match="truncated or changed"):
        read_verified(path)


@pytest.mark.parametrize("text", ["", "{}", "[]", "{"])
def test_a_record_that_states_nothing_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.safetensors"
    save_weights(path, {"w": torch.zeros(2)}, {})
    path.with_suffix(".json").write_text(text, encoding="utf-8")
    with pytest.raises(AssetError, match="cannot be read"):
        read_verified(path)
