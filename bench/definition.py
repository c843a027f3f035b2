"""What a metric's number depends on, as text in its id, and why there may be no number.

``fd:digits-cnn@1a2b3c4d/n=5000/ref=9c0d1e2f``: the metric and its parameters; after the colon a network (the metric's
own or the suite's), the teacher and its reference solver, or nothing but data; then the number of samples, then the
reference data. Two different ids are never compared.
"""

from __future__ import annotations

import hashlib
from typing import Any

from bench.batch import Batch
from bench.metrics.base import Metric
from bench.reference.statistics import Reference
from bench.spec import parse
from bench.suites.base import Suite
from bench.weightstore.store import missing


def metric_spec(identifier: str) -> str:
    """The spec inside a metric id."""
    return identifier.partition(":")[0]


def reference_of(suite: Suite, metric: Metric[Any]) -> Reference | None:
    """The suite's file of reference statistics for a metric with a network of its own; None if there is none."""
    network = metric.network_id()
    return next((each for each in suite.references() if each.extractor == network), None)


def check_size(suite: Suite, metric: Metric[Any], batch: Batch) -> None:
    """Refuse to compare pictures or clips with reference statistics of another height and width, where it is stated.

    Raises:
        UsageError: they differ.
    """
    known = reference_of(suite, metric) if metric.needs_reference else None
    seen = batch.images if batch.images is not None else batch.clips
    if known is not None and seen is not None:
        height, width = seen.shape[-2:]
        known.check(known.extractor, (height, width))


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


def gap(suite: Suite, metric: Metric[Any]) -> str:
    """Why a metric has no number on a suite, and how to get one; empty if nothing stands in the way."""
    sentences = list(filter(None, (metric.problem(), *missing(metric.weights()))))
    if metric.needs_reference and metric.network_id() and reference_of(suite, metric) is None:
        remedy = (
            "make them with bench reference build and name the file in its reference_files"
            if "reference_files" in type(suite).model_fields
            else "take a metric in the suite's own features, such as fd"
        )
        sentences.append(f"the suite has no reference statistics made by {metric.network_id()}; {remedy}")
    return "; ".join(sentences)
