"""A report: everything that comes out of a run, written into one folder.

::

    table.md, table.csv, table.tex    ranked tables
    records.csv                       every number of every record, long form
    quality-SUITE[-column].png|svg    metric against NFE; for the page's width and for one column
    pareto-SUITE...                   metric against latency
    samples-SUITE...                  samples from the same noise
    clips-SUITE.gif                   the same in motion, where samples are clips
    captions.txt                      what each figure shows and where its numbers come from
    .inputs                           hash of what the report was made from; the same hash is not written again
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.errors import OutputError
from bench.report.formats import latex, markdown
from bench.report.load import Results, load
from bench.report.sections import Section, sections
from bench.report.texttable import ranked_table, summary_table
from bench.report.timing_table import latency_tables
from bench.store import write_durable


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        folder: where.
        files: all files of the report.
        results, sections: what it was made from.
    """

    folder: Path
    files: tuple[Path, ...]
    results: Results
    sections: tuple[Section, ...]


SLUG = 80  # characters: with what stands before and behind it far from the 255 bytes of a file's name


def _slug(section: Section, taken: set[str]) -> str:
    """The suite's spec as part of a file's name; of a long one the beginning and a hash of the whole."""
    base = re.sub(r"[^a-z0-9]+", "-", section.suite.lower()).strip("-")
    if len(base) > SLUG:
        base = f"{base[: SLUG - 9].strip('-')}-{hashlib.sha256(section.suite.encode()).hexdigest()[:8]}"
    number = 1
    while (name := base if number == 1 else f"{base}-{number}") in taken:
        number += 1
    taken.add(name)
    return name


def _inputs(results: Results) -> str:
    """Hash of the records, of what lies beside them, and of this program's version and report code."""
    digest = hashlib.sha256()
    with contextlib.suppress(PackageNotFoundError):
        digest.update(version("fewstep-bench").encode())
    sources = sorted(Path(__file__).parent.glob("*.py"))
    beside = sorted((results.out / "records").glob("[!.]*.npz"))
    for path in [*sources, *beside]:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    for record in results.records:
        digest.update(record.model_dump_json().encode())
    return digest.hexdigest()


def _tables(found: Sequence[Section], results: Results) -> dict[str, str]:
    """Contents of the table files by name."""
    from bench.report.frames import ranked_frame, records_frame

    text = ["# Results", ""]
    tex = []
    for section in found:
        summary = summary_table(section, section.metric, results)
        tex.append(latex(summary))
        text.append(markdown(summary))
        text += [markdown(ranked_table(section, nfe, results)) for nfe in section.nfe]
        others = [metric for metric in section.metrics[1:] if section.sample(metric)]
        text += [markdown(summary_table(section, metric, results)) for metric in others]
    text += [markdown(table) for table in latency_tables(results.records)]
    return {
        "table.md": "\n".join(text),
        "table.tex": "\n".join(tex),
        "table.csv": ranked_frame(found, results).to_csv(index=False),
        "records.csv": records_frame(results.records).to_csv(index=False),
    }


def _write(path: Path, text: str) -> Path:
    write_durable(path, text.encode())
    return path


def _current(folder: Path, inputs: str) -> tuple[Path, ...]:
    """The files of a report made from the same inputs; empty if there is none, or one of them is gone."""
    try:
        stamp, *names = (folder / ".inputs").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return ()
    files = tuple(folder / name for name in names)
    return files if stamp == inputs and all(path.is_file() for path in files) else ()


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def write_report(out: Path, dest: Path | None = None) -> Report:
    """Read the records of a run and write tables and figures; nothing is written if nothing has changed.

    Args:
        out: the folder of the run.
        dest: where to write; ``out/report`` if not given.

    Raises:
        OutputError: ``out`` is not a folder, has no records or unreadable ones, or ``dest`` cannot be written to.
    """
    results = load(out)
    found = tuple(sections(results.records))
    folder = out / "report" if dest is None else dest
    inputs = _inputs(results)
    files = _current(folder, inputs)
    if not files:
        files = tuple(_produce(found, results, folder))
        _write(folder / ".inputs", "\n".join([inputs, *(path.name for path in files), ""]))
    return Report(folder, files, results, found)


def _produce(found: Sequence[Section], results: Results, folder: Path) -> list[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror}; give another folder") from error
    if (folder / ".inputs").is_file():  # figures of an earlier report that this one may not have
        _remove(path for kind in ("quality", "pareto", "samples", "clips") for path in folder.glob(f"{kind}-*.*"))
        _remove([folder / ".inputs"])
    from bench.report.figures import draw

    files = [_write(folder / name, text) for name, text in _tables(found, results).items()]
    captions: list[str] = []
    taken: set[str] = set()
    for section in found:
        drawn, texts = draw(section, _slug(section, taken), results, folder)
        files, captions = files + drawn, captions + texts
    return [*files, _write(folder / "captions.txt", "\n\n".join(captions) + "\n")]
