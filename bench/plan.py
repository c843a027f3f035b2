"""From a request to cells: everything a user can get wrong is found here, before anything is computed.

A cell that cannot run is planned with its verdict: ``invalid`` where the entry is broken, ``unsupported`` where it
lacks an artifact. So every requested cell ends as exactly one record, whatever happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench import artifacts, registry
from bench.api import Method, Unsupported
from bench.cell import Cell
from bench.definition import gap, metric_id
from bench.errors import AssetError, UsageError, unknown
from bench.record import Status
from bench.registry import Entry, InvalidEntry, Kind
from bench.released.files import identity
from bench.released.method import Released
from bench.request import SAMPLES_LIMIT, Request, check_device, check_dtype
from bench.revision import revision
from bench.spec import NAME, Spec, parse, parse_list
from bench.suites._pipeline import PipelineSuite
from bench.suites.base import Suite


@dataclass(frozen=True)
class Planned:
    """A requested cell.

    Attributes:
        verdict: how it ends without being run, and why; None if it is to be run.
    """

    cell: Cell
    verdict: tuple[Status, str] | None = None


@dataclass(frozen=True)
class Plan:
    """All requested cells, latency cells last.

    Attributes:
        suite, spec: the suite and its canonical spec.
        needs_solution: whether a metric compares with the teacher's reference solution.
        gaps: why a metric will have no number, and how to get one, by its id.
    """

    suite: Suite
    spec: str
    cells: tuple[Planned, ...]
    needs_solution: bool
    gaps: dict[str, str]


@dataclass(frozen=True)
class _Candidate:
    """A method as it stands in cells; ``problem`` says why it cannot be used."""

    name: str
    spec: str
    revision: str
    method: Method | None
    problem: str = ""


def load(kind: Kind, text: str) -> tuple[Any, str]:
    """A suite or a metric and its canonical spec.

    Raises:
        UsageError: an unknown name or parameter, or a broken entry: without it nothing can be planned.
    """
    spec = parse(text)
    try:
        instance = registry.create(kind, spec)
    except InvalidEntry as error:
        raise UsageError(str(error)) from error
    return instance, registry.canonical(kind, spec.name, instance)


def select(text: str) -> list[Spec]:
    """The methods a user named: specs, families and ``all``, in that order, before parameters are checked.

    Raises:
        UsageError: an unknown name, with the nearest known ones.
    """
    known = registry.entries("method")
    chosen: list[Spec] = []
    for spec in parse_list(text):
        if spec.name in known:
            chosen.append(spec)
        elif spec.name in ("all", *registry.GROUPS):
            if spec.params:
                raise UsageError(f"{spec.name} is a group of methods and has no parameters; write them behind a method")
            chosen += [Spec(name) for name in registry.methods_of(spec.name)]
        else:
            raise unknown("method", spec.name, [*known, *registry.GROUPS, "all"])
    if not chosen:
        raise UsageError(f"no method is selected by {text!r}; see bench list methods")
    return chosen


def method_revision(entry: Entry, method: Method | None) -> str:
    """The content hash of a method's code; a parameter that names another method brings that one's code along."""
    if not entry.path.is_file():
        return "missing"
    known = registry.entries("method")
    values = vars(method).values() if method is not None else ()
    named = (_head(value) for value in values if isinstance(value, str))
    others = [known[name] for name in named if name in known and name != entry.name]
    return revision(entry.path, entry.module, [revision(other.path, other.module) for other in others])


def _head(text: str) -> str:
    match = NAME.match(text)
    return match[0] if match else ""


def _candidate(spec: Spec) -> _Candidate:
    entry = registry.entry("method", spec.name)
    try:
        method = registry.create("method", spec)
    except InvalidEntry as error:
        return _Candidate(spec.name, str(spec), method_revision(entry, None), None, str(error))
    canonical = registry.canonical("method", spec.name, method)
    return _Candidate(spec.name, canonical, method_revision(entry, method), method)


def _artifact(request: Request, suite: Suite, spec: str, item: _Candidate, nfe: int) -> tuple[str, str]:
    """The hash of the artifact a cell needs (empty if none), and why it cannot run without (empty if it can)."""
    if item.method is None:
        return "", ""
    if isinstance(item.method, Released):
        return _released(suite, item.method, nfe)
    try:
        if not item.method.artifact_name(nfe):
            return "", ""
        found = artifacts.find(suite, item.method, item.name, nfe, request.artifacts)
    except Unsupported as error:
        return "", str(error)
    if found is None:
        method, name, budget = artifacts.owner(item.method, item.name, nfe)
        fitted = registry.canonical("method", name, method)
        command = f"bench fit --suite '{spec}' --methods '{fitted}' --nfe {budget}"
        return "", f"there is no fitted artifact for this budget; make one with: {command}"
    return found.sha256, ""


def _metrics(request: Request, suite: Suite) -> dict[str, Any]:
    """The metrics by their canonical specs."""
    texts = parse_list(request.metrics) if request.metrics is not None else [parse(name) for name in suite.metrics]
    if not texts:
        raise UsageError("at least one metric is needed; see bench list metrics")
    return {spec: metric for metric, spec in (load("metric", str(text)) for text in texts)}


def _verify(suite: Suite) -> str:
    """The suite's revision, once it is known that it can run here (``lacks``, where it has one) and is whole."""
    sentence = getattr(suite, "lacks", str)()
    if sentence:
        raise UsageError(sentence)
    try:
        suite.verify()
        return suite.revision()
    except OSError as error:
        raise AssetError(f"a file of suite {type(suite).__name__} is missing: {error}; restore it") from error


def _released(suite: Suite, method: Released, nfe: int) -> tuple[str, str]:
    """As ``_artifact`` for a released checkpoint: a hash of its files."""
    if not isinstance(suite, PipelineSuite):
        return "", ""
    try:
        return identity(method.checkpoint, nfe), ""
    except Unsupported as error:
        return "", str(error)


_Measurement = tuple[tuple[int, ...], int, tuple[str, ...]]  # seeds, samples, metric ids


def _measurements(request: Request, suite: Suite, ids: tuple[str, ...], samples: int) -> Iterator[_Measurement]:
    """What is measured of every method and budget: quality, then latency, which needs one seed only."""
    yield request.seeds, samples, ids
    if request.latency:
        from bench.latency.protocol import protocol_id

        protocol = protocol_id(request.device, request.dtype, num_threads=request.latency_threads, suite=suite)
        yield request.seeds[:1], 0, (protocol,)


def make_plan(request: Request) -> Plan:
    """Check a request and list its cells.

    Raises:
        UsageError: an unknown name or parameter, a value out of range, or a package that the suite needs is missing.
        DeviceError: the device is not there.
        AssetError: weights of the suite or of an artifact are damaged.
    """
    check_dtype(request.dtype)
    chosen = select(request.methods)
    suite, spec = load("suite", request.suite)
    candidates = list({item.spec: item for item in map(_candidate, chosen)}.values())
    check_device(request.device)
    revision_of_suite = _verify(suite)
    samples = suite.samples if request.samples is None else request.samples
    if not 1 <= samples <= SAMPLES_LIMIT:
        raise UsageError(f"samples must be from 1 to {SAMPLES_LIMIT}, not {samples}")
    metrics = {metric_id(suite, spec, each, name, samples): each for name, each in _metrics(request, suite).items()}
    gaps = {identifier: sentence for identifier, each in metrics.items() if (sentence := gap(suite, each))}
    found = {(item.spec, nfe): _artifact(request, suite, spec, item, nfe) for item in candidates for nfe in request.nfe}
    cells = []
    for seeds, count, ids in _measurements(request, suite, tuple(metrics), samples):
        for seed, item, nfe in ((seed, item, nfe) for seed in seeds for item in candidates for nfe in request.nfe):
            artifact, missing = found[item.spec, nfe]
            cell = Cell(
                suite=spec,
                method=item.spec,
                nfe=nfe,
                seed=seed,
                samples=count,
                dtype=request.dtype,
                device=request.device,
                suite_revision=revision_of_suite,
                method_revision=item.revision,
                artifact=artifact,
                metrics=ids,
            )
            cells.append(Planned(cell, _verdict(item, missing)))
    needs_solution = any(each.needs_solution for identifier, each in metrics.items() if identifier not in gaps)
    return Plan(suite, spec, tuple(cells), needs_solution, gaps)


def _verdict(item: _Candidate, missing: str) -> tuple[Status, str] | None:
    if item.problem:
        return Status.INVALID, item.problem
    return (Status.UNSUPPORTED, missing) if missing else None
