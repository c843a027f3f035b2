from __future__ import annotations

from pathlib import Path

import pytest

from bench.latency import state


def test_counters_are_told_as_growth_and_readings_before_and_after() -> None:
    before = {"ticks": 100.0, "steal": 10.0, "cpu_throttled": 3.0, "cpu_mhz": 2000.0, "cpu_governor": "powersave"}
    after = {"ticks": 300.0, "steal": 60.0, "cpu_throttled": 5.0, "cpu_mhz": 3000.0}
    assert state.compare(before, after) == {
        "cpu_throttled": 2.0,
        "cpu_steal": 0.25,
        "before.cpu_mhz": 2000.0,
        "before.cpu_governor": "powersave",
        "after.cpu_mhz": 3000.0,
    }


def test_a_machine_that_tells_nothing_is_not_guessed_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(state, "_SYS_CPU", tmp_path)
    monkeypatch.setattr(state, "first_cpu", lambda: {"model name": "x", "flags": "fpu hypervisor"})
    assert "cpu_mhz" not in state.state()


def test_frequency_is_read_from_the_driver_in_mhz(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for cpu, khz in (("cpu0", "1000000"), ("cpu1", "3000000")):
        (tmp_path / cpu / "cpufreq").mkdir(parents=True)
        (tmp_path / cpu / "cpufreq" / "scaling_cur_freq").write_text(khz)
    monkeypatch.setattr(state, "_SYS_CPU", tmp_path)
    assert state.state()["cpu_mhz"] == 2000.0
