from __future__ import annotations

import pytest
from synthetic import measured

from bench.report.numbers import MISSING, count, counted, milliseconds, plain, with_interval


@pytest.mark.parametrize(
    ("value", "half", "text"),
    [
        (7.9, 0.5, "7.9 [7.4, 8.4]"),
        (262.13, 3.4, "262 [259, 266]"),
        (0.9712, 0.012, "0.97 [0.96, 0.98]"),
        (1234.0, 45.0, "1234 [1189, 1279]"),
        (2.34e-7, 1.2e-8, "2.3e-07 [2.2e-07, 2.5e-07]"),
        (0.0, 0.1, "0.0 [-0.1, 0.1]"),
    ],
)
def test_decimals_follow_the_interval(value: float, half: float, text: str) -> None:
    assert with_interval(measured(value, half)) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, MISSING), (0.0, "0.00"), (1234.5, "1234"), (0.012345, "0.0123"), (3e-5, "3.00e-05")]
)
def test_plain_numbers(value: float | None, text: str) -> None:
    assert plain(value) == text


def test_missing_is_a_dash_and_never_zero() -> None:
    assert with_interval(None) == milliseconds(None) == count(None) == MISSING == "–"


def test_without_an_interval_none_is_shown() -> None:
    assert with_interval(measured(7.91, None)) == "7.91"


def test_whole_numbers_are_grouped() -> None:
    assert count(1234567).split("\u202f") == ["1", "234", "567"]


def test_one_has_no_plural() -> None:
    assert [counted(number, "record") for number in (0, 1, 2)] == ["0 records", "1 record", "2 records"]
