"""``bench reference``: build, import and show."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from bench.cli import main as shell
from bench.cli import reference as cli
from bench.errors import ExitCode, UsageError
from bench.reference.statistics import load


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for number in range(5):
        Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def extractor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean colour, so that no weights are needed."""

    def mean(name: str, device: str, clips: bool = False) -> tuple[str, Callable[[Tensor], Tensor]]:
        return f"{name}@1", lambda images: images.float().mean((2, 3))

    monkeypatch.setattr(cli, "runner", mean)


def test_build_and_show(photos, extractor, tmp_path, capsys) -> None:
    out = tmp_path / "photos.npz"
    (photos / "9.png").write_bytes(b"broken")
    line = ["reference", "build", str(photos), "--out", str(out), "--resolution", "8", "--features", "3"]
    assert shell.main(line) == ExitCode.ASSET
    assert "9.png cannot be decoded" in capsys.readouterr().err and not out.exists()
    assert shell.main([*line, "--skip-bad"]) == 0
    captured = capsys.readouterr()
    made = load(out)
    assert captured.out == f"{out}  reference {made.id} of 5 images, 1 left out\n" and captured.err == ""
    assert (made.extractor, made.count, made.resolution) == ("inception@1", 5, (8, 8))
    assert made.features.shape == (3, 3)
    assert shell.main(["reference", "show", str(out)]) == 0
    lines = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert (lines["id"], lines["count"], lines["extractor"]) == (made.id, "5", "inception@1")
    assert shell.main(["reference", "show", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["skipped"]["count"] == 1


def test_few_images_are_noted(photos, extractor, tmp_path, capsys) -> None:
    line = ["reference", "build", str(photos), "--out", str(tmp_path / "x.npz"), "--limit", "3"]
    assert shell.main(line) == 0
    assert "note: 3 images for 3 features" in capsys.readouterr().err


def test_missing_weights_say_how_to_get_them(photos, tmp_path, capsys, monkeypatch) -> None:
    pytest.importorskip("torch_fidelity")
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "none"))
    assert shell.main(["reference", "build", str(photos), "--out", str(tmp_path / "x.npz")]) == ExitCode.ASSET
    assert "run bench weights fetch inception-v3-tf" in capsys.readouterr().err
    assert not (tmp_path / "x.npz").exists()


def test_the_network_is_run_by_its_name(monkeypatch) -> None:
    torch = pytest.importorskip("torch")
    from bench.features import base

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

        def prepare(self, images):
            return images.float()

        def forward(self, prepared):
            return {"features": self.scale * prepared.mean((2, 3))}

    monkeypatch.setattr(base, "network", lambda extractor: Network())
    name, run = cli.runner("inception[resize=legacy]", "cpu")
    assert name == "inception-v3-tf@6726825d/legacy"
    images = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).reshape(2, 3, 4, 4)
    assert torch.equal(run(images), images.float().mean((2, 3)))


def test_import(tmp_path, capsys) -> None:
    np.savez(tmp_path / "edm.npz", mu=np.zeros(2048), sigma=np.eye(2048))
    out = tmp_path / "ours.npz"
    line = ["reference", "import", str(tmp_path / "edm.npz"), "--out", str(out)]
    assert shell.main(line) == ExitCode.USAGE
    said = "edm.npz does not say its extractor, resolution, count; add --extractor and --resolution and --count"
    assert said in capsys.readouterr().err
    told = ["--extractor", "inception[resize=legacy]", "--resolution", "32", "--count", "50000"]
    assert shell.main([*line, *told]) == 0
    made = load(out)
    assert (made.extractor, made.resolution) == ("inception-v3-tf@6726825d/legacy", (32, 32))
    assert made.count == 50_000


def test_import_of_another_network_is_refused(tmp_path, capsys) -> None:
    np.savez(tmp_path / "other.npz", mu=np.zeros(20), sigma=np.eye(20), mu_s=np.zeros(7), sigma_s=np.eye(7))
    out = tmp_path / "ours.npz"
    line = ["reference", "import", str(tmp_path / "other.npz"), "--out", str(out), "--resolution", "32", "--count", "9"]
    line += ["--extractor", "inception[resize=legacy]"]
    assert shell.main(line) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert "has a mean of 20 numbers, and inception-v3-tf@6726825d/legacy finds 2,048; name the network" in said
    assert not out.exists()
    # spatial features are others of the same network, and never taken for the pooled ones
    assert shell.main([*line, "--spatial"]) == 0
    assert load(out).extractor == "inception-v3-tf@6726825d/legacy/spatial"


@pytest.mark.parametrize(
    ("text", "found"), [("256", (256, 256)), ("720x1280", (720, 1280)), ("unknown", None), ("8X9", (8, 9))]
)
def test_sizes(text: str, found: tuple[int, int] | None) -> None:
    assert cli.size(text) == found


@pytest.mark.parametrize("text", ["big", "0", "1x2x3", "-4", "3x"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match=f"--resolution {text}: write 256"):
        cli.size(text)


@pytest.mark.parametrize("out", ["x.pt", "none/x.npz"])
def test_a_wrong_name_is_noticed_before_the_work(tmp_path, capsys, monkeypatch, out: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert shell.main(["reference", "build", "photos", "--out", out]) == ExitCode.USAGE
    assert f"--out {out}: name a file that ends in .npz" in capsys.readouterr().err


def test_the_group_alone_is_help(capsys) -> None:
    assert shell.main(["reference"]) == 0
    assert "build" in capsys.readouterr().out
