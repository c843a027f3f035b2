"""``bench show`` of a released student: all that its declaration says, as text and as JSON."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

from bench import registry
from bench.cli import released
from bench.cli.show import as_dict, as_text
from bench.released.checkpoint import read

Bench = Callable[..., "subprocess.CompletedProcess[str]"]


def test_every_field_is_shown() -> None:
    entry = registry.entry("method", "hyper_sd3_lora")
    text = as_text(entry, [])
    for part in (
        "ByteDance/Hyper-SD",
        "52d483a2ab8d38ce89e1d8b8f45771905f3af3f4",
        "stabilityai-ai-community",
        "stabilityai/stable-diffusion-3-medium-diffusers",
        "Hyper-SD3-8steps-CFG-lora.safetensors",
        "1000, 857.692, 602.15, 8.9286; guidance 3",
        "lora_scale",
        "unverified",
        "hf download ByteDance/Hyper-SD --revision",
        "arXiv 2404.13686",
    ):
        assert part in text


def test_what_is_unverified_is_said() -> None:
    entry = registry.entry("method", "lcm_sdxl")
    lines = as_text(entry, []).splitlines()
    assert any(line.split() == ["revision", "unverified"] for line in lines)
    assert sum(line.split()[:1] == ["unverified"] for line in lines) >= 2
    assert any("(told to the network)" in line for line in lines)


def test_json_holds_the_checkpoint() -> None:
    entry = registry.entry("method", "sdxl_lightning")
    found = json.loads(json.dumps(as_dict(entry, [])))["checkpoint"]
    assert found["timesteps"]["4"] == [999, 749, 499, 249]
    assert found["command"].startswith("hf download ByteDance/SDXL-Lightning --revision c9a24f48")


def test_other_methods_have_none() -> None:
    entry = registry.entry("method", "ddim")
    assert released.checkpoint_of(entry) is None
    assert "checkpoint" not in as_dict(entry, [])
    assert "Checkpoint" not in as_text(entry, [])


def test_each_declaration_can_be_shown() -> None:
    names = registry.methods_of("released")
    assert len(names) >= 30
    for name in names:
        entry = registry.entry("method", name)
        card = read(entry.path)
        assert card is not None and card.repository in released.as_text(card)


def test_list_and_show_from_the_command_line(bench: Bench) -> None:
    listed = bench("list", "methods", "--family", "released")
    assert listed.returncode == 0 and "sdxl_lightning" in listed.stdout
    shown = bench("show", "animatelcm")
    assert shown.returncode == 0 and "AnimateLCM_sd15_t2v_lora.safetensors" in shown.stdout
