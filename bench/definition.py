"""What a metric's number depends on, as text in its id, and why there may be no number.

``fd:digits-cnn@1a2b3c4d/n=5000/ref=9c0d1e2f``: the metric and its parameters; after the colon a network (the metric's
own or the suite's), the teacher and its reference solver, or nothing but data; then the number of samples, then the
reference data. Two different ids are never compared.
"""

from __future__ import annotations

import hashlib
import sys
from typing import Any

from bench.batch import Batch
from bench.errors import UsageError
from bench.metrics.base import Metric
from bench.reference.statistics import Reference
from bench.spec import parse
from bench.suites.base import Suite
from bench.weightstore.store import missing

SEEN = ("features", "images", "clips", "prompts")
"""What metrics may need to see of samples and suites may or may not give; fields of ``bench.batch.Batch``."""


def metric_spec(identifier: str) -> str:
    """The spec inside a metric id."""
    return identifier.partition(":")[0]


def reference_of(suite: Suite, metric: Metric[Any]) -> Reference | None:
    """The suite's file of reference statistics for a metric with a network of its own; None if there is none."""
    network = metric.network_id()
    return next((each for each in suite.references() if each.extractor == network), None)


def check_size(suite: Suite, metric: Metric[Any], batch: Batch) -> None:
    """Refuse to compare with reference statistics of another height, width or number of frames, where it is stated.

    Raises:
        UsageError: they differ.
    """
    known = reference_of(suite, metric) if metric.needs_reference else None
    seen = batch.images if batch.images is not None else batch.clips
    if known is not None and seen is not None:
        height, width = seen.shape[-2:]
        known.check(known.extractor, (height, width))
        _check_frames(known, batch)


def _check_frames(known: Reference, batch: Batch) -> None:
    source = known.provenance.get("source")
    frames = source.get("frames") if isinstance(source, dict) else None
    if batch.clips is not None and frames is not None and str(frames) != str(batch.clips.shape[1]):
        raise UsageError(
            f"reference {known.id} is of clips of {frames} frames, not {batch.clips.shape[1]}; such numbers are not "
            f"comparable: build a matching one with bench reference build --frames {batch.clips.shape[1]}"
        )


def _reference_id(suite: Suite, metric: Metric[Any]) -> str:
    if not metric.network_id():
        return suite.reference_id()
    found = reference_of(suite, metric)
    return found.id if found else "none"


def metric_id(suite: Suite, suite_spec: str, metric: Metric[Any], spec: str, samples: int) -> str:
    """The id of a metric on a suite.

    Args:
        suite_spec, spec: canonical specs of the two.
        samples: how many are scored.
    """
    network = metric.network_id() or (suite.feature_id() if metric.space == "features" else "")
    parts = [network] if network else []
    if metric.needs_solution:
        digest = hashlib.sha256(f"{suite_spec}|{suite.revision()}".encode()).hexdigest()[:8]
        parts.append(f"{parse(suite_spec).name}@{digest}")
    reference = f"/ref={_reference_id(suite, metric)}" if metric.needs_reference else ""
    return f"{spec}:{'+'.join(parts) or 'samples'}/n={samples}{reference}"


def gives(suite: Suite) -> frozenset[str]:
    """Which of ``SEEN`` the suite's samples have: its attribute ``gives``; all of them if it does not say."""
    silent = type(suite).__module__ in ("bench.suites.digits", "bench.suites.mixture")
    found: frozenset[str] = getattr(suite, "gives", frozenset({"features"} if silent else SEEN))
    return found


def needs(metric: Metric[Any]) -> frozenset[str]:
    """Which of ``SEEN`` a metric needs, by ``requires`` of its file; a network of its own needs images for features."""
    info = getattr(sys.modules.get(type(metric).__module__), "INFO", None)
    found = frozenset(info.requires if info else ()) & frozenset(SEEN)
    return (found - {"features"}) | {"images"} if "features" in found and metric.network_id() else found


def gap(suite: Suite, metric: Metric[Any]) -> str:
    """Why a metric has no number on a suite, and how to get one; empty if nothing stands in the way.

    What the suite does not give comes first and alone: nothing that one could fetch would help.
    """
    absent = needs(metric) - gives(suite)
    if absent:
        names = " and ".join(name for name in SEEN if name in absent)
        return f"this metric needs {names}, which the suite does not give"
    sentences = list(filter(None, (metric.problem(), *missing(metric.weights()))))
    if metric.needs_reference and metric.network_id() and reference_of(suite, metric) is None:
        remedy = (
            "make them with bench reference build and name the file in its reference_files"
            if "reference_files" in type(suite).model_fields
            else "take a metric in the suite's own features, such as fd"
        )
        sentences.append(f"the suite has no reference statistics made by {metric.network_id()}; {remedy}")
    return "; ".join(sentences)
