"""How users may name a suite, and what the folder of its runs is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.request import folder_name, suite_spec


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("digits", "digits"),
        ("tiny-t2i", "tiny_t2i"),
        ("digits[guidance_scale=2]", "digits"),
        ("folder/my-suite.toml", "my-suite"),
        ("diffusers:owner/sd-turbo@main", "sd-turbo"),
        ("diffusers:/models/SDXL base/", "SDXL-base"),
        ("diffusers:..", "diffusers"),
    ],
)
def test_the_folder_of_a_run_is_named_after_its_suite(text: str, name: str) -> None:
    assert folder_name(text) == name


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('model = "m"\nnegative_prompt = ["a", "b"]', "negative_prompt in .* must be one value, not a list"),
        ('model = ["m", "n"]', "model in .* must be one value, not a list"),
        ('[suite]\nname = "diffusers"', 'suite in .* must be a name, as in suite = "diffusers"'),
        ("suite = 3", "suite in .* must be a name"),
        ('prompts = "own"', 'has neither suite nor model; .* suite = "network"'),
        ("", "has neither suite nor model"),
        ('model = "m"\n[settings]\nheight = 3', "settings in .* must be a text, a number, true or false"),
        ('model = "m"\nprompts = [["a"]]', "prompts in .* must be a text, a number, true or false, or a list"),
        ("model =", "cannot be read"),
    ],
)
def test_a_file_that_is_not_understood_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "my.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=sentence) as caught:
        suite_spec(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ('model = "m"', "diffusers[model=m]"),
        ('suite = "moving-digits"', "moving_digits"),
        ('suite = "x"\nmetrics = ["fid", "rmse"]\nprompts = ["a", "b"]', "x[metrics=fid;rmse,prompts=a;b]"),
        (
            'suite = "x"\nreference_files = ["a.npz", "b.npz"]\ntiling = true',
            "x[reference_files=a.npz;b.npz,tiling=true]",
        ),
    ],
)
def test_a_file_becomes_a_spec(tmp_path: Path, text: str, spec: str) -> None:
    path = tmp_path / "my.toml"
    path.write_text(text)
    assert suite_spec(str(path)) == spec
