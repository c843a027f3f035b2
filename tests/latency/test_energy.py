from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.latency.energy import Log, integral, spent
from bench.latency.nvml import Reading


def powers(*pairs: tuple[float, float | None]) -> list[Reading]:
    return [Reading(at, watts=watts) for at, watts in pairs]


def test_the_integral_is_the_area_under_the_readings() -> None:
    # trapezoids by hand: 2 s x 150 W, then 1 s x 250 W
    assert integral(powers((0, 100), (2, 200), (3, 300))) == pytest.approx(300 + 250)
    assert integral(powers((0, 100), (1, None), (2, 200))) == pytest.approx(300)
    assert integral(powers((0, 100), (1, None))) is None
    assert integral([]) is None


@given(st.floats(0, 1000), st.lists(st.floats(0.001, 10), min_size=1, max_size=20))
def test_constant_power_times_time(watts: float, gaps: list[float]) -> None:
    times = [sum(gaps[:i]) for i in range(len(gaps) + 1)]
    found = integral([Reading(at, watts=watts) for at in times])
    assert found == pytest.approx(watts * sum(gaps), rel=1e-9, abs=1e-9)


@given(st.lists(st.floats(0, 1000), min_size=3, max_size=20), st.integers(1, 18))
def test_parts_of_an_integral_add_up(watts: list[float], cut: int) -> None:
    readings = [Reading(float(at), watts=value) for at, value in enumerate(watts)]
    cut = min(cut, len(readings) - 2)
    whole, first, last = integral(readings), integral(readings[: cut + 1]), integral(readings[cut:])
    assert whole is not None and first is not None and last is not None
    assert whole == pytest.approx(first + last)


def test_the_counter_is_believed_unless_it_stood_still() -> None:
    readings = [Reading(0, watts=100, joules=50), Reading(1, watts=100, joules=55), Reading(2, watts=100, joules=62)]
    assert spent(readings) == 12
    assert spent([Reading(0, watts=100, joules=50), Reading(2, watts=100, joules=50)]) == 200
    assert spent([Reading(0, joules=50), Reading(2, joules=50)]) is None
    assert spent([Reading(0), Reading(1)]) is None


def turn(start: float, joules: float, masks: list[int | None]) -> list[Reading]:
    """Readings one second apart, the counter moving by ``joules`` in each."""
    return [Reading(start + i, sm_mhz=1000 + i, mask=mask, joules=start + i * joules) for i, mask in enumerate(masks)]


def test_power_and_energy_are_means_over_all_turns() -> None:
    log = Log()
    log.add(0, [0.5, 0.5], turn(0, 30, [0] * 4))  # 3 s, 90 J, 2 runs
    log.add(1, [0.5], turn(100, 90, [0] * 3))  # 2 s, 180 J, 1 run
    assert log.power == pytest.approx(270 / 5)
    assert log.energy == pytest.approx(270 / 3)
    assert log.busy == pytest.approx(1.5 / 5)


def test_a_turn_of_unknown_energy_leaves_it_missing() -> None:
    log = Log()
    log.add(0, [0.5], turn(0, 30, [0] * 3))
    log.add(1, [0.5], [Reading(10), Reading(11), Reading(12)])
    assert log.power is None and log.energy is None


def test_throttled_runs_are_counted_by_reason_and_kept() -> None:
    log = Log()
    # before the first run, beside four runs, at the end (which is beside none)
    log.add(0, [1.0, 2.0, 3.0, 4.0], turn(0, 1, [0x0, 0x1, 0x4, 0x0, 0x0, 0x40]))
    # run 1: idle; run 2: power; run 3: power just before it; run 4: nothing
    assert log.throttled() == {"any": 2, "power_cap": 2}
    log.add(1, [5.0], turn(10, 1, [0x20, 0x44, 0x0]))
    assert log.throttled() == {"any": 3, "power_cap": 3, "thermal_software": 1, "thermal_hardware": 1}
    assert log.seconds == [1, 2, 3, 4, 5]
    assert log.columns()["mask"] == (0x1, 0x5, 0x4, 0x0, 0x64)


def test_untold_throttling_is_missing_and_none_is_zero() -> None:
    log = Log()
    log.add(0, [1.0], [Reading(0), Reading(1), Reading(2)])
    assert log.throttled() == {}
    log.add(0, [1.0], turn(0, 1, [0, 0, 0]))
    assert log.throttled() == {"any": 0}


def test_columns_have_one_value_per_run_and_only_what_was_told() -> None:
    log = Log()
    log.add(0, [0.123456789, 2.0], turn(0, 1, [0, 0, 4, 0]))
    log.add(1, [3.0], [])
    assert log.columns() == {
        "seconds": (0.123457, 2.0, 3.0),
        "round": (0.0, 0.0, 1.0),
        "sm_mhz": (1001, 1002, None),
        "mask": (0.0, 4.0, None),
    }


def test_without_a_meter_nothing_is_told() -> None:
    log = Log()
    log.add(0, [1.0, 2.0], [])
    assert (log.power, log.energy, log.busy, log.throttled()) == (None, None, None, {})
    assert set(log.columns()) == {"seconds", "round"}
