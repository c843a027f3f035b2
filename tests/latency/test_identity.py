from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest
from torch import Tensor

from bench.errors import UsageError
from bench.latency import hardware, identity
from bench.latency.identity import V1, V2, Settings, protocol_id, settings, settings_for
from bench.registry import create
from bench.suites.base import Suite
from bench.suites.mixture import Mixture


class Staged(Mixture):
    sizes: ClassVar[int] = 1

    def encode(self, index: Sequence[int]) -> None:
        pass

    def decode(self, samples: Tensor) -> object:
        return samples


@pytest.fixture
def staged() -> Suite:
    return Staged()


def test_suites_without_stages_stay_with_v1_on_the_cpu() -> None:
    plain = create("suite", "mixture")
    assert settings_for(plain, "cpu") == settings_for(None, "cpu") == Settings((1, 64), "eager", V1)
    fingerprint = hardware.fingerprint("cpu", 2)
    assert protocol_id("cpu", "float32", num_threads=2, suite=plain) == (
        f"latency-v1/cpu/float32/b=1,64/compile=off/hw={fingerprint}"  # as it stands in the reference results
    )


def test_stages_modes_and_cuda_ask_for_v2(staged: Suite) -> None:
    plain = create("suite", "mixture")
    assert settings_for(staged, "cpu") == Settings((1,), "eager", V2)
    assert settings_for(staged, "cuda") == Settings((1, 4), "eager", V2)
    assert settings_for(plain, "cpu", mode="compile").version == V2
    assert settings_for(plain, "cuda").version == V2
    assert settings_for(plain, "cuda", mode="graph") == Settings((1, 64), "graph", V2)


def test_an_id_says_all_that_must_not_be_mixed(staged: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity.hardware, "fingerprint", lambda device, threads: f"{device}@0")
    plain = create("suite", "mixture")
    assert protocol_id("cuda", "float16", (1, 4), 2, plain, "graph") == (
        "latency-v2/cuda/float16/b=1,4/mode=graph/x=2/span=sample/hw=cuda@0"
    )
    assert protocol_id("cpu", "float32", None, 2, staged) == (
        "latency-v2/cpu/float32/b=1/mode=eager/x=2/span=pipeline/hw=cpu@0"
    )


@pytest.mark.parametrize("mode", ["eager", "compile", "compile-max-autotune"])
def test_an_id_tells_its_settings(mode: str, staged: Suite) -> None:
    identifier = protocol_id("cpu", "float32", (2, 8), 1, staged, mode)
    assert settings(identifier) == Settings((2, 8), mode, V2)
    assert settings(protocol_id("cpu", "float32", (3,), 1)) == Settings((3,), "eager", V1)


@pytest.mark.parametrize(("mode", "part"), [("grap", "did you mean graph"), ("graph", "--device cuda")])
def test_modes_that_cannot_be_are_one_sentence(mode: str, part: str) -> None:
    with pytest.raises(UsageError, match=part):
        settings_for(None, "cpu", mode=mode)
