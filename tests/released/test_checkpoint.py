"""What a declaration must say, that all of ours say it, and that it is read without torch."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bench.released.checkpoint import Checkpoint, read
from bench.released.prescribed import SAMPLERS

FOLDER = Path(__file__).parents[2] / "methods" / "released"
FILES = sorted(FOLDER.glob("[a-z]*.py"))
GIVEN: dict[str, Any] = {
    "repository": "owner/name",
    "kind": "lora",
    "files": {2: "two.safetensors", 0: "any.safetensors"},
    "base": ("owner/base",),
    "pipelines": ("StableDiffusionPipeline",),
    "licence": "mit",
    "sampler": "euler",
    "timesteps": {2: (999, 499), 1: (999,)},
    "source": {"settings": "somewhere"},
    "unverified": ("the revision",),
}


def test_there_are_at_least_thirty() -> None:
    assert len(FILES) >= 30


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_declaration_is_complete(path: Path) -> None:
    card = read(path)
    assert card is not None
    assert card.sampler in SAMPLERS
    assert card.licence and "settings" in card.source
    assert all(re.match(r"https://", where) or "github.com" in where for where in card.source.values())
    if card.revision:
        assert "revision" in card.source  # where the hash was read
    (declared,) = (node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef))
    assert [type(node) for node in declared.body] == [ast.Expr, ast.Assign], "a declaration has no logic"
    if card.unit == "index":
        assert all(0 <= time <= 1000 for times in card.timesteps.values() for time in times)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"revision": "abc123"}, "not a full commit hash"),
        ({"unverified": ()}, "no revision"),
        ({"timesteps": {2: (999,)}}, "need 2 decreasing"),
        ({"timesteps": {2: (499, 999)}}, "need 2 decreasing"),
        ({"files": {2: "two.safetensors"}}, "no file for 1"),
        ({"repository": "../name"}, "pattern"),
        ({"files": {0: "../../etc/passwd.safetensors"}}, "not inside the repository"),
        ({"lora": "/srv/a.safetensors"}, "not inside the repository"),
        ({"sampler": "heun"}, "sampler"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_is_not_a_checkpoint(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Checkpoint(**{**GIVEN, **change})


def test_what_it_answers() -> None:
    card = Checkpoint(**{**GIVEN, "guidance_scale": 2.0, "guidance_by_nfe": {1: 3.0}})
    assert card.budgets == "1 or 2"
    assert (card.file(2), card.file(1)) == ("two.safetensors", "any.safetensors")
    assert (card.guidance(2), card.guidance(1)) == (2.0, 3.0)
    assert card.command == "hf download owner/name two.safetensors any.safetensors"
    pinned = card.model_copy(update={"revision": "0" * 40, "files": {0: "."}})
    assert pinned.command == f"hf download owner/name --revision {'0' * 40}"
    folder = card.model_copy(update={"files": {0: "unet", 1: "unet"}})
    assert folder.command == "hf download owner/name --include 'unet/*'"
    adapter = card.model_copy(update={"files": {0: "adapter_model.safetensors"}})
    assert adapter.command.endswith("owner/name adapter_model.safetensors adapter_config.json")


def test_only_literals_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("class A:\n    checkpoint = Checkpoint(repository=__import__('os').getcwd())\n")
    with pytest.raises(ValueError):
        read(path)
    path.write_text("class A:\n    checkpoint = 1\n")
    assert read(path) is None


def test_the_harness_reads_it_without_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from bench.released.checkpoint import read; "
        f"assert read(Path({str(FILES[0])!r})); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=FOLDER.parents[1], check=False).returncode == 0
