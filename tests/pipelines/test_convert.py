"""EDM's pickles become safetensors; nothing that a pickle holds is run."""

from __future__ import annotations

import os
import pickle
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from bench.cli.main import main
from bench.errors import AssetError, UsageError
from bench.pipelines.convert import convert_edm
from bench.pipelines.unpickle import Refused, read

PERSISTENCE = '''
class EasyDict(dict):
    """The attribute dictionary of dnnlib."""

def _reconstruct_persistent_obj(meta):
    raise AssertionError("the real one runs the source code")
'''


class Net(nn.Module):
    """Stands for a network of EDM: modules of its own and of torch, parameters, buffers of both kinds."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self._init_args, self._init_kwargs = (), {"width": width}
        self.enc = nn.ModuleDict({"8x8_conv": nn.Linear(width, 2)})
        self.norm = nn.LayerNorm(2)
        self.scale = nn.Parameter(torch.rand(2, dtype=torch.float64))
        self.register_buffer("freqs", torch.arange(4))
        self.register_buffer("temporary", torch.ones(1), persistent=False)
        self.nothing: nn.Module | None = None

    def __reduce__(self) -> Any:
        meta = sys.modules["dnnlib.util"].EasyDict(  # type: ignore[attr-defined]
            type="class", version=6, module_src=SOURCE, class_name="Net", state=dict(self.__dict__)
        )
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta,)  # type: ignore[attr-defined]


SOURCE = "raise SystemExit('the source code was run')"


@pytest.fixture
def edm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules with the names that EDM's pickles have in them."""
    for name in ("dnnlib", "dnnlib.util", "torch_utils", "torch_utils.persistence"):
        module = types.ModuleType(name)
        exec(PERSISTENCE, module.__dict__)  # our own text
        for value in list(vars(module).values()):
            if getattr(value, "__module__", None) == "builtins" or isinstance(value, type | types.FunctionType):
                value.__module__ = name
        monkeypatch.setitem(sys.modules, name, module)
    yield


def checkpoint(file: Path, net: Net, protocol: int) -> Path:
    loss = sys.modules["dnnlib.util"].EasyDict(sigma=0.5)  # type: ignore[attr-defined]
    file.write_bytes(pickle.dumps({"ema": net, "loss_fn": loss, "dataset_kwargs": {"size": (3, 4)}}, protocol))
    return file


@pytest.mark.parametrize("protocol", [3, 4, 5])  # 3 is the lowest that EDM's Python could write
def test_every_protocol_gives_the_tensors(edm: None, tmp_path: Path, protocol: int) -> None:
    net = Net()
    _, state = read(checkpoint(tmp_path / "x.pkl", net, protocol), "ema")
    torch.testing.assert_close(state, dict(net.state_dict()), rtol=0, atol=0)


def test_tensors_are_those_of_the_network(edm: None, tmp_path: Path) -> None:
    net = Net().requires_grad_(False)
    file = checkpoint(tmp_path / "edm-net.pkl", net, 4)
    found = convert_edm(file, tmp_path / "out", trusted=True)
    state = load_file(found.weights)
    expected = net.state_dict()
    assert state.keys() == expected.keys() and found.tensors == len(expected)
    for name, value in expected.items():
        assert torch.equal(state[name], value) and state[name].dtype == value.dtype
    assert found.source.read_text() == SOURCE
    assert '"width": 3' in found.record.read_text() and '"Net"' in found.record.read_text()


class Runs:
    """A pickle that wants to make a file."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> Any:
        return self.call, self.arguments


@pytest.mark.parametrize("place", ["root", "inside"])
@pytest.mark.parametrize("call", ["system", "eval", "open", "load", "getattr"])
def test_a_pickle_that_tries_to_run_code_fails_to(tmp_path: Path, call: str, place: str) -> None:
    mark = tmp_path / "ran"
    tries = {
        "system": Runs(os.system, f"touch {mark}"),
        "eval": Runs(eval, f"open({str(mark)!r}, 'w').close()"),
        "open": Runs(open, str(mark), "w"),
        "load": Runs(torch.load, str(mark)),
        "getattr": Runs(getattr, Runs(__import__, "os"), "getcwd"),
    }
    content = tries[call] if place == "root" else {"ema": {"state": tries[call]}}
    file = tmp_path / "evil.pkl"
    file.write_bytes(pickle.dumps(content))
    with pytest.raises(Refused, match="it asks for"):
        read(file, "ema")
    assert not mark.exists()


def test_a_storage_that_tries_to_run_code_fails_to(tmp_path: Path) -> None:
    """EDM's tensors hold pickles of their own, which torch would read without limits."""
    mark = tmp_path / "ran"
    inner = pickle.dumps(Runs(os.system, f"touch {mark}"))
    file = tmp_path / "evil.pkl"
    file.write_bytes(pickle.dumps({"ema": Runs(torch.storage._load_from_bytes, inner)}))
    with pytest.raises(Refused, match="cannot be read as a pickle of tensors"):
        read(file, "ema")
    assert not mark.exists()


def test_the_command_refuses_it_too(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    file = tmp_path / "evil.pkl"
    file.write_bytes(pickle.dumps({"ema": Runs(os.system, f"touch {mark}")}))
    with pytest.raises(AssetError, match=r"was refused: it asks for posix\.system") as caught:
        convert_edm(file, tmp_path / "out", trusted=True)
    assert "\n" not in str(caught.value)
    assert not mark.exists() and not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not a pickle", "cannot be read as a pickle of tensors"),
        (pickle.dumps({"other": 1}), "it has no 'ema'; it has: other"),
        (pickle.dumps([1]), "it has no 'ema'; it has: list"),
        (pickle.dumps({"ema": 1}), "what it holds is no network"),
    ],
)
def test_another_file_is_one_sentence(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "x.pkl"
    file.write_bytes(content)
    with pytest.raises(Refused, match=words):
        read(file, "ema")


def test_nothing_is_read_without_the_users_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.pkl"
    file.write_bytes(b"")
    with pytest.raises(UsageError, match="--i-trust-this-file"):
        convert_edm(file, tmp_path / "out", trusted=False)
    assert not (tmp_path / "out").exists()
    assert main(["convert", "edm", str(file), "--out", str(tmp_path / "out")]) == 2
    assert main(["convert", "sd", str(file), "--out", str(tmp_path / "out")]) == 2
    assert main(["convert", "edm", str(tmp_path / "no"), "--out", str(tmp_path / "out"), "--i-trust-this-file"]) == 2
    assert "Traceback" not in capsys.readouterr().err
