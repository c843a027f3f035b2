"""What is installed: a wheel with every file of the two packages, weights included."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from bench.cli.main import COMMANDS


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of this checkout, built without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, root], check=True)
    return zipfile.ZipFile(next(folder.glob("fewstep_bench-*.whl")))


def test_every_file_of_the_packages_is_in_the_wheel(root: Path, wheel: zipfile.ZipFile) -> None:
    here = {
        path.relative_to(root).as_posix()
        for package in ("bench", "methods")
        for path in (root / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == here
    assert {name.rpartition(".")[2] for name in packed} >= {"py", "typed", "safetensors", "json"}


def test_every_command_has_a_module(wheel: zipfile.ZipFile) -> None:
    assert {f"bench/cli/{name}.py" for name in COMMANDS} <= set(wheel.namelist())


def test_the_script_and_the_licence_are_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    text = {
        name.partition(".dist-info/")[2]: wheel.read(name).decode()
        for name in wheel.namelist()
        if ".dist-info/" in name
    }
    assert "bench = bench.cli.main:main" in text["entry_points.txt"]
    assert "Apache License" in text["licenses/LICENSE"]


def test_one_version_everywhere(root: Path) -> None:
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    assert f"version: {version}\n" in (root / "CITATION.cff").read_text()


def test_tools_have_one_version_in_tox_and_in_the_extra(root: Path) -> None:
    extra = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]["lint"]
    tox = (root / "tox.ini").read_text()
    assert all(requirement in tox for requirement in extra if not requirement.startswith("pre-commit"))
