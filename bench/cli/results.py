"""The records of one entry, read as JSON for ``bench show``; what cannot be read is not shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.registry import Kind


@dataclass
class Results:
    """The numbers of one method on one suite.

    Attributes:
        title: suite, method and what else the cells share.
        nfe: the budgets, ascending.
        values: label of a metric -> budget -> ``"7.12 [6.9, 7.3]"``; a missing value has no key.
    """

    title: str
    nfe: list[int] = field(default_factory=list)
    values: dict[str, dict[int, str]] = field(default_factory=dict)


def shipped() -> Path:
    """The reference results of a checkout: in the current directory, or beside the package."""
    here = Path("results")
    return here if here.is_dir() else Path(__file__).parent.parent.parent / "results"


def records(folder: Path, kind: Kind, name: str) -> Iterator[dict[str, Any]]:
    """Successful records of cells with this method, suite or metric, in the order of their file names."""
    for path in sorted(folder.rglob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            cell = record["cell"]
            names = record["metrics"] if kind == "metric" else [cell[kind]]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if record.get("status") == "ok" and any(_key(text) == name for text in names):
            yield record


def _key(text: str) -> str:
    """The registry key of a spec or of a metric id: ``fd`` of ``fd:digits-cnn@1a2b/n=5000``."""
    return text.partition("[")[0].partition(":")[0]


def _number(value: float | None) -> str:
    return "" if value is None else f"{float(value):.4g}"


def _measured(measured: dict[str, Any]) -> str:
    low, high = _number(measured.get("low")), _number(measured.get("high"))
    return _number(measured["value"]) + (f" [{low}, {high}]" if low and high else "")


def tables(folder: Path, kind: Kind, name: str) -> list[Results]:
    """One table per suite, method, seed, number of samples and precision."""
    found: dict[str, Results] = {}
    for record in records(folder, kind, name):
        cell = record["cell"]
        if not cell["samples"]:  # a latency cell
            continue
        title = f"{cell['suite']}  {cell['method']}  (seed {cell['seed']}, {cell['samples']} samples, {cell['dtype']})"
        table = found.setdefault(title, Results(title))
        table.nfe = sorted({*table.nfe, cell["nfe"]})
        for metric, measured in record["metrics"].items():
            if kind != "metric" or _key(metric) == name:
                table.values.setdefault(measured["label"], {})[cell["nfe"]] = _measured(measured)
    return [found[title] for title in sorted(found)]
