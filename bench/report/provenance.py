"""Where the numbers of a section come from; stands below every table and figure."""

from __future__ import annotations

from collections.abc import Iterable

from bench.report.numbers import counted
from bench.report.ranking import TIES
from bench.report.sections import Section

_HARDWARE = ("cpu", "cores", "memory_gib", "gpu", "threads", "fingerprint")
_VERSIONS = ("fewstep-bench", "python", "torch", "numpy")


def _distinct(values: Iterable[object]) -> str:
    found = dict.fromkeys(str(value) for value in values if value not in (None, ""))
    return " | ".join(found)


def _environment(section: Section, keys: tuple[str, ...]) -> str:
    """``"torch 2.9.1, numpy 2.3"``, all different values of each key."""
    found = [record.environment for point in section.points for record in point.records]
    texts = ((key, _distinct(environment.get(key) for environment in found)) for key in keys)
    return ", ".join(f"{key.replace('_', ' ')} {text}" for key, text in texts if text)


def seeds(section: Section) -> list[int]:
    """All seeds of a section."""
    return sorted({record.cell.seed for point in section.points for record in point.records})


def intervals(section: Section, metrics: tuple[str, ...]) -> str:
    """How the intervals of some metrics were obtained; empty if there are none."""
    found = _distinct(
        record.metrics[metric].interval
        for metric in metrics
        for point in section.points
        for record in point.ok
        if metric in record.metrics and record.metrics[metric].low is not None
    )
    if not found:
        return "none"
    return f"95 %, {found}" + ("; means over seeds, half-widths in quadrature" if len(seeds(section)) > 1 else "")


def definition(section: Section, metric: str) -> str:
    """``"FD (digits-cnn), lower is better: fd:digits-cnn@1a2b/n=2000/ref=9c0d"``."""
    sample = section.sample(metric)
    name = f"{sample.label}, {sample.better} is better" if sample else f"{section.label(metric)}, no number here"
    return f"{name}: {metric}"


def ranking(section: Section) -> str:
    """What ranks where it is not the first metric, why it is not, and when methods share a rank."""
    if not section.passed:
        return TIES
    why = "; ".join(
        f"{section.label(metric)} has no number here" + "".join(f": {gap}" for gap in section.gaps(metric))
        for metric in section.passed
    )
    return f"by {section.label(section.metric)}, the first metric with a number; {why.rstrip('.')}. {TIES}"


def lines(section: Section, metrics: tuple[str, ...], latency: bool, ranks: bool = True) -> list[str]:
    """One sentence per subject.

    Args:
        metrics: ids of those shown.
        latency: whether latency is shown.
        ranks: whether ranks are shown.
    """
    numbers = ", ".join(map(str, seeds(section)))
    found = [f"Suite: {section.suite}, revision {section.revision}; n = {section.samples} samples; seeds {numbers}."]
    found += [f"Metric: {definition(section, metric)}." for metric in metrics]
    found.append(f"Intervals: {intervals(section, metrics)}.")
    if ranks:
        found.append(f"Ranks: {ranking(section)}")
    if latency and section.protocols:
        found.append(f"Latency: {' | '.join(section.protocols)}; p50.")
    for title, keys in (("Hardware", _HARDWARE), ("Versions", _VERSIONS)):
        text = _environment(section, keys)
        found.append(f"{title}: {text or 'not recorded'}.")
    if section.superseded:
        found.append(f"Left out: {counted(section.superseded, 'record')} of older revisions or artifacts.")
    return found
