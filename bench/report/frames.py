"""Tables of numbers: what is missing stays empty."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bench.record import Latency, Record
from bench.report.load import Results
from bench.report.point import family
from bench.report.provenance import seeds
from bench.report.ranking import Row, ranked, reasons
from bench.report.sections import Section
from bench.report.texttable import batches

if TYPE_CHECKING:
    import pandas as pd

_ENVIRONMENT = ("fewstep-bench", "python", "torch", "numpy", "cpu", "cores", "gpu", "threads", "fingerprint")


def _ranked_row(section: Section, nfe: int, row: Row) -> dict[str, Any]:
    point = row.point
    found: dict[str, Any] = {
        "suite": section.suite,
        "nfe": nfe,
        "rank": row.rank,
        "method": point.method,
        "family": point.family,
        "status": str(point.status),
        "reason": "; ".join(reasons(point)),
        "samples": section.samples,
        "seeds": len(point.ok),
        "seeds_requested": len(seeds(section)),
    }
    for metric in section.metrics:
        value = point.value(metric)
        found[metric] = value and value.value
        found[f"{metric} low"] = value and value.low
        found[f"{metric} high"] = value and value.high
    for batch in batches(section):
        entry = point.latency.get(batch)
        found[f"p50 seconds, batch {batch}"] = entry and entry.p50
        found[f"images per second, batch {batch}"] = entry and entry.images_per_second
    fit = point.fit
    return found | {
        "fit_evals": fit and fit.fit_evals,
        "fit_images": fit and fit.fit_images,
        "fit_seconds": fit and fit.fit_seconds,
        "latency_protocol": section.protocols[0] if batches(section) else None,
    }


def ranked_frame(sections: Iterable[Section], results: Results) -> pd.DataFrame:
    """One row per section, budget and method, best first; columns of numbers carry the metric's id."""
    import pandas as pd

    rows = [
        _ranked_row(section, nfe, row)
        for section in sections
        for nfe in section.nfe
        for row in ranked(section, nfe, results)
    ]
    frame = pd.DataFrame(rows)
    return frame.astype({name: "Int64" for name in ("rank", "fit_evals", "fit_images") if name in frame})


def _base(record: Record) -> dict[str, Any]:
    cell = record.cell
    fit = record.fit
    return {
        "id": record.id,
        **cell.model_dump(exclude={"metrics"}),
        "family": family(cell.method),
        "status": str(record.status),
        "reason": record.reason,
        "nfe_used": record.nfe,
        "network_evals": record.network_evals,
        "flops": record.flops,
        "fit_evals": fit and fit.fit_evals,
        "fit_images": fit and fit.fit_images,
        "fit_seconds": fit and fit.fit_seconds,
        "seconds": record.seconds,
        "created": record.created,
        **{key: record.environment.get(key) for key in _ENVIRONMENT},
    }


def _metric_rows(record: Record) -> Iterable[dict[str, Any]]:
    for metric, measured in record.metrics.items():
        yield {
            "metric": metric,
            "label": measured.label,
            "better": measured.better,
            "value": measured.value,
            "low": measured.low,
            "high": measured.high,
            "interval": measured.interval,
        }
        for name, value in measured.detail.items():
            yield {"metric": f"{metric}#{name}", "label": f"{measured.label}, {name}", "value": value}


_NO_NUMBERS = {"batch", "clocks", "p50_low", "p50_high", "settled", "mode", "fallback", "samples"}


def _latency_numbers(entry: Latency) -> Iterable[tuple[str, float]]:
    """What is one number of a measurement, by name; ``stages denoiser`` where it stands in a group."""
    for name, value in entry.model_dump(exclude=_NO_NUMBERS).items():
        if isinstance(value, dict):
            yield from ((f"{name} {part}", number) for part, number in value.items())
        elif value is not None:
            yield name, value


def _latency_rows(record: Record) -> Iterable[dict[str, Any]]:
    for entry in record.latency:
        common = {"metric": record.cell.metrics[0], "batch": entry.batch}
        for name, value in _latency_numbers(entry):
            bounds = {"low": entry.p50_low, "high": entry.p50_high} if name == "p50" else {}
            yield {**common, "label": name, "value": value, **bounds}


def records_frame(records: Iterable[Record]) -> pd.DataFrame:
    """Long form: one row per record and number; a record without numbers has one row."""
    import pandas as pd

    rows = []
    for record in records:
        numbers = [*_metric_rows(record), *_latency_rows(record)] or [{"metric": None}]
        rows += [_base(record) | number for number in numbers]
    return pd.DataFrame(rows)
