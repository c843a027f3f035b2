"""What is said of a file of weights for a network of one's own that cannot be read."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import nn

from bench.errors import AssetError
from bench.pipelines.raw import _fill


@pytest.mark.parametrize("keep", [0, 5, 20, 100, -1])
def test_a_file_that_was_cut_is_damaged(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(save(nn.Linear(3, 4).state_dict())[:keep])
    with pytest.raises(AssetError, match=r"cannot be read as safetensors: .*; it is damaged: bring it again") as caught:
        _fill(nn.Linear(3, 4), path)
    assert "convert" not in str(caught.value)


@pytest.mark.parametrize("old", [False, True])
def test_a_pickle_has_to_be_converted(tmp_path: Path, old: bool) -> None:
    buffer = io.BytesIO()
    torch.save(nn.Linear(3, 4).state_dict(), buffer, _use_new_zipfile_serialization=not old)
    path = tmp_path / "weights.pt"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(AssetError, match=r"cannot be read as safetensors: .*; convert it \(see bench convert\)"):
        _fill(nn.Linear(3, 4), path)


def test_a_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"cannot be read: .*; check the path"):
        _fill(nn.Linear(3, 4), tmp_path)
