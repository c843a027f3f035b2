"""How users may name a suite, and what the folder of its runs is called."""

from __future__ import annotations

import pytest

from bench.request import folder_name


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
