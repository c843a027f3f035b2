"""The table of conditions gives back, bit by bit, what encoders made, each prompt having been encoded once."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.errors import UsageError
from bench.pipelines.base import Condition, Pipeline, Settings
from bench.pipelines.conditions import Table
from bench.pipelines.families.stable_diffusion import StableDiffusion
from bench.pipelines.network import GuidedRows, ReusableNetwork, pipeline_network
from bench.reuse import Recall, supports_reuse

sys.path.insert(0, str(Path(__file__).parent))
import parity
import tiny


class Fake(Pipeline):
    """Encoders whose results have every dtype that conditions come in."""

    classes = ()

    def __init__(self) -> None:
        super().__init__(SimpleNamespace(_execution_device=torch.device("cpu")), Settings(negative_prompt="no"))
        self.calls: list[tuple[str, ...]] = []

    @property
    def denoiser(self) -> nn.Module:
        return nn.Linear(1, 1)

    @property
    def shape(self) -> tuple[int, ...]:
        return (1,)

    def encode(self, prompts: Any) -> Condition:
        self.calls.append(tuple(prompts))
        value = torch.tensor([float(len(prompt)) for prompt in prompts], dtype=torch.float64)
        return {
            "float64": torch.stack([value, value / 3], dim=1).view(-1, 1, 2),
            "bfloat16": value.to(torch.bfloat16).view(-1, 1).expand(-1, 3),
            "half": (value / 7).to(torch.float16),
            "mask": value > 3,
            "number": value.long() * 2**40,
        }

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        return x_t

    def decode(self, latents: Tensor) -> Tensor:
        return latents


def test_rows_are_what_the_encoders_made() -> None:
    pipeline = Fake()
    table = Table(pipeline, ["one", "three", "one", "seventeen"], batch=2)
    expected = Fake().encode(["seventeen", "one", "one", "no", "three"])
    for _ in range(2):
        found = table.rows(torch.tensor([3, 0, 2, 4, 1]))
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name].dtype == value.dtype and torch.equal(found[name], value)
    assert sorted(prompt for call in pipeline.calls for prompt in call) == ["no", "one", "seventeen", "three"]
    assert max(map(len, pipeline.calls)) <= 2


def test_prompts_are_encoded_when_they_are_needed() -> None:
    pipeline = Fake()
    table = Table(pipeline, [str(i) for i in range(100)])
    table.rows(torch.tensor([5, 7]))
    assert pipeline.calls == [("5", "7")]


def test_rows_can_be_used_where_gradients_are() -> None:
    with torch.inference_mode():
        found = Table(Fake(), ["one"]).rows(torch.tensor([0]))
    assert not any(value.is_inference() for value in found.values())


def test_conditions_of_different_shapes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = Fake()
    monkeypatch.setattr(pipeline, "encode", lambda prompts: {"text": torch.zeros(len(prompts), len(prompts[0]))})
    table = Table(pipeline, ["a", "bb"], batch=1)
    with pytest.raises(UsageError, match="different shapes"):
        table.rows(torch.tensor([0, 1]))


def test_guidance_reads_rows_once_for_all_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = Fake()
    table = Table(pipeline, ["a", "b"])
    read = []
    rows = table.rows
    monkeypatch.setattr(table, "rows", lambda label: (read.append(label), rows(label))[1])
    denoise = GuidedRows(pipeline_network(pipeline, table), torch.tensor([0, 1]), null=2, guidance_scale=3.0)
    pipeline.schedule = tiny_schedule()
    for sigma in (3.0, 2.0, 1.0):
        denoise(torch.zeros(2, 1), sigma)
    assert [label.tolist() for label in read] == [[0, 1, 2, 2]]


def tiny_schedule() -> Any:
    from bench.pipelines.schedule import Schedule
    from bench.process import EDM

    return Schedule(EDM(), "x0", 0.002)


def test_a_unet_runs_in_parts() -> None:
    """DeepCache and its like work on the U-Net families: fewer FLOPs, and all of them when everything is new."""
    from torch.utils.flop_counter import FlopCounterMode

    pipeline = StableDiffusion(tiny.stable_diffusion(), Settings(guidance_scale=2.0))
    network = pipeline_network(pipeline, Table(pipeline, ["a", "b"]))
    assert isinstance(network, ReusableNetwork) and supports_reuse(network)
    pipeline.denoiser.requires_grad_(False)
    recall = Recall(network)
    eps = parity.noise(pipeline).normal()
    label, sigma = torch.tensor([0, 1]), torch.full((2,), 3.0)
    network(eps, sigma, label)
    cost, found = {}, {}
    with torch.inference_mode():
        for part in ("full", "deep", "encoder"):
            recall.part = part  # type: ignore[assignment]
            with FlopCounterMode(display=False) as counter:
                found[part] = recall(eps, sigma, label)
            cost[part] = counter.get_total_flops()
        assert torch.equal(found["full"], network(eps, sigma, label))
    for part in ("deep", "encoder"):
        torch.testing.assert_close(found[part], found["full"])
        assert cost[part] < 0.9 * cost["full"]
