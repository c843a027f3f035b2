"""Numbers as text: as many digits as the interval supports, and a dash for what is missing."""

from __future__ import annotations

import math

from bench.record import Measured

MISSING = "–"
SMALL, LARGE = 1e-3, 1e6  # outside these, powers of ten


def plain(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits, or a dash."""
    if value is None:
        return MISSING
    if value == 0 or SMALL <= abs(value) < LARGE:
        exponent = 0 if value == 0 else math.floor(math.log10(abs(value)))
        return f"{value:.{max(0, digits - 1 - exponent)}f}"
    return f"{value:.{digits - 1}e}"


def with_interval(measured: Measured | None) -> str:
    """``7.9 [7.4, 8.4]``: decimals down to the first digit of the interval's half-width."""
    if measured is None:
        return MISSING
    value, low, high = measured.value, measured.low, measured.high
    if low is None or high is None or high <= low:
        return plain(value)
    place = math.floor(math.log10((high - low) / 2))
    if max(abs(low), abs(high)) < SMALL or abs(value) >= LARGE:
        top = math.floor(math.log10(max(abs(value), abs(low), abs(high))))
        form = f".{max(0, top - place)}e"
    else:
        form = f".{max(0, -place)}f"
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"


def milliseconds(seconds: float | None) -> str:
    """Seconds as milliseconds with three digits."""
    return plain(None if seconds is None else seconds * 1e3)


def counted(number: int, noun: str) -> str:
    """``"1 record"``, ``"2 records"``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def count(number: int | None) -> str:
    """A whole number in groups of three, with narrow spaces that do not break."""
    return MISSING if number is None else f"{number:,}".replace(",", "\u202f")
