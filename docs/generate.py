"""The generated tables of the solver guide: ``python docs/generate.py`` rewrites them in ``docs/solvers.md``.

A table stands between ``<!-- table NAME ARGUMENTS -->`` and ``<!-- end -->``; its numbers come from ``records.csv`` of
the reference results. A test compares what is there with what this would write.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "solvers.md"
TRAINING_FREE = ("solvers", "calibrated")
BLOCK = re.compile(r"(<!-- table (?P<call>[^>]+?) -->\n)(?P<body>.*?)(<!-- end -->)", re.DOTALL)


def records(suite: str) -> pd.DataFrame:
    """One row per cell and metric of the reference results: quality only, without the parts of a metric."""
    frame = pd.read_csv(ROOT / "results" / suite / "report" / "records.csv")
    frame["metric"] = frame["metric"].fillna("").str.partition(":")[0]
    return frame[(frame["samples"] > 0) & frame["interval"].notna()]


def interval(row: pd.Series) -> str:
    """``0.104 [0.101, 0.107]``: decimals down to the second digit of the half-width."""
    value, low, high = float(row["value"]), float(row["low"]), float(row["high"])
    half = (high - low) / 2
    places = max(0, 1 - math.floor(math.log10(half))) if half > 0 else 3
    return f"{value:.{places}f} [{low:.{places}f}, {high:.{places}f}]"


def _budgets(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "| :-- |" + " --: |" * (len(head) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def best(suite: str, metric: str, nfe: str, count: str = "10", families: str = "solvers,calibrated") -> str:
    """The methods that are best at each budget, from top to bottom; better is lower."""
    frame = records(suite)
    frame = frame[(frame["metric"] == metric) & frame["family"].isin(families.split(","))]
    columns = []
    for budget in _budgets(nfe):
        chosen = frame[frame["nfe"] == budget].nsmallest(int(count), "value")
        columns.append([f"`{row['method']}` {interval(row)}" for _, row in chosen.iterrows()])
    depth = max(map(len, columns))
    rows = [[str(i + 1), *(column[i] if i < len(column) else "" for column in columns)] for i in range(depth)]
    return _markdown(["", *(f"NFE {budget}" for budget in _budgets(nfe))], rows)


def compare(suite: str, metric: str, nfe: str, *methods: str) -> str:
    """Some methods beside each other; ``–`` where a method has no such budget."""
    frame = records(suite)
    frame = frame[frame["metric"] == metric].set_index(["method", "nfe"])
    rows = []
    for method in methods:
        keys = [(method, budget) for budget in _budgets(nfe)]
        rows.append([f"`{method}`", *(interval(frame.loc[key]) if key in frame.index else "–" for key in keys)])
    return _markdown(["method", *(f"NFE {budget}" for budget in _budgets(nfe))], rows)


def cost(suite: str, metric: str, nfe: str) -> str:
    """What fitting had cost, beside the score it bought; in the order of the score."""
    frame = records(suite)
    frame = frame[(frame["metric"] == metric) & (frame["family"] == "calibrated") & (frame["nfe"] == int(nfe))]
    rows = []
    for _, row in frame.sort_values("value").iterrows():
        price = [f"{row['fit_evals']:,.0f}", f"{row['fit_images']:,.0f}", f"{row['fit_seconds']:.0f}"]
        rows.append([f"`{row['method']}`", interval(row), *price])
    return _markdown(["method", f"{metric.upper()} at NFE {nfe}", "evaluations", "images", "seconds"], rows)


def flops(suite: str, metric: str, nfe: str, *methods: str) -> str:
    """The score against FLOPs per sample, for methods whose evaluations are not all whole."""
    frame = records(suite)
    frame = frame[(frame["metric"] == metric) & frame["method"].isin(methods) & frame["nfe"].isin(_budgets(nfe))]
    frame = frame.sort_values(["flops", "value"])
    rows = [
        [f"`{row['method']}`", f"{row['nfe']:.0f}", f"{row['flops'] / 1e6:.1f}", interval(row)]
        for _, row in frame.iterrows()
    ]
    return _markdown(["method", "NFE", "MFLOPs per sample", metric.upper()], rows)


TABLES: dict[str, Callable[..., str]] = {"best": best, "compare": compare, "cost": cost, "flops": flops}


def render(text: str) -> str:
    """The text with every table made anew."""

    def table(match: re.Match[str]) -> str:
        name, *arguments = match["call"].split()
        return f"{match[1]}{TABLES[name](*arguments)}{match[4]}"

    return BLOCK.sub(table, text)


if __name__ == "__main__":
    GUIDE.write_text(render(GUIDE.read_text(encoding="utf-8")), encoding="utf-8")
