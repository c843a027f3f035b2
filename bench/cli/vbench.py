"""``bench vbench``: make VBench's own environment, score videos, and read its results."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from bench.vbench.client import Video
    from bench.vbench.results import Raw
    from bench.vbench.score import Summary

command = typer.Typer(rich_markup_mode=None)

Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


@command.callback(invoke_without_command=True)
def _group(context: typer.Context) -> None:
    """VBench 0.1.5 (arXiv 2311.17982), run by itself in an environment of its own.

    It lives in $BENCH_VBENCH, or ~/.cache/fewstep-bench/vbench-0.1.5; setup is the only command that uses the network.

    \b
    Examples:
      bench vbench setup --minimal
      bench vbench evaluate clips/
      bench run --suite moving_digits --methods ddim --metrics 'vbench[dimension=temporal_flickering]'
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _dimensions(text: str) -> list[str]:
    """Names separated by commas, or all."""
    from bench.vbench.dimensions import DIMENSIONS, dimension

    names = list(DIMENSIONS) if text == "all" else [dimension(name).name for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError("--dimensions names no dimension; write all, or names such as temporal_flickering")
    return list(dict.fromkeys(names))


@command.command("setup")
def setup_(
    path: Annotated[Path | None, typer.Option(help="Where.  [default: $BENCH_VBENCH or the cache folder]")] = None,
    minimal: Annotated[
        bool, typer.Option("--minimal", help="For temporal_flickering only: 270 MB, not 6.4 GB.")
    ] = False,
    python: Annotated[str | None, typer.Option(help="Python to make it from; 3.11, or 3.9 to 3.12 if minimal.")] = None,
) -> None:
    """Install VBench and its pins into a virtual environment, and try it out.

    What was begun and interrupted goes on from where it was; what is there is only tried out. Weights are apart: bench
    weights fetch vbench.

    \b
    Examples:
      bench vbench setup --minimal
      bench vbench setup --path /data/vbench --python python3.11
    """
    from bench.vbench.environment import location
    from bench.vbench.setup import setup

    place = (location() if path is None else path).absolute()
    made = setup(place, "minimal" if minimal else "full", _say, python=python)
    ready = [name for name, why in made.marker.dimensions.items() if not why]
    typer.echo(f"{made.path} is ready: VBench {made.marker.vbench}, {len(ready)} of 16 dimensions can be imported")
    if place != location():
        typer.echo(f"set BENCH_VBENCH={place} to use it")


def _states() -> list[dict[str, str]]:
    """What each dimension lacks, in sentences."""
    from bench.vbench.dimensions import DIMENSIONS
    from bench.vbench.environment import problem
    from bench.weightstore.store import present

    rows = []
    for each in DIMENSIONS.values():
        absent = " ".join(name for name in each.weights if not present(name))
        weights = f"run bench weights fetch {absent}" if absent else ""
        rows.append({"dimension": each.name, "group": each.group, "environment": problem(each), "weights": weights})
    return rows


@command.command("status")
def status(as_json: Json = False) -> None:
    """Which dimensions can run here, and what the others lack.

    \b
    Examples:
      bench vbench status
    """
    from bench.cli.list import plain
    from bench.vbench.environment import location

    rows = _states()
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    parts = ("environment", "weights")
    typer.echo(f"environment: {location()}")
    typer.echo(plain([{**row, **{part: "missing" if row[part] else "here" for part in parts}} for row in rows]))
    for advice in dict.fromkeys(row["environment"] for row in rows if row["environment"]):
        typer.echo(advice)
    names = " ".join(row["weights"].removeprefix("run bench weights fetch ") for row in rows if row["weights"])
    if names:
        typer.echo(f"for weights run bench weights fetch {' '.join(dict.fromkeys(names.split()))}")


def _videos(folder: Path) -> list[Video]:
    """The clips of a folder, by its manifest; without one every .mp4, without prompts.

    Raises:
        UsageError: there are none.
        AssetError: the manifest cannot be read.
    """
    from bench.vbench.client import Video
    from bench.video import MANIFEST, read_manifest

    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder of videos")
    if (folder / MANIFEST).exists():
        return [Video(folder / clip.file, clip.prompt) for clip in read_manifest(folder).clips]
    found = [Video(path) for path in sorted(folder.glob("*.mp4"))]
    if not found:
        raise UsageError(f"{folder} has neither a {MANIFEST} nor an .mp4 file")
    return found


def _make(folder: Path) -> None:
    """Before anything is scored: it takes minutes.

    Raises:
        OutputError: it cannot be made.
    """
    from bench.errors import OutputError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {folder}: {error.strerror}; give another --out") from error


@command.command("evaluate")
def evaluate_(
    folder: Annotated[Path, typer.Argument(help="Videos; prompts come from the manifest.json beside them.")],
    dimensions: Annotated[str, typer.Option(help="Names, or all.")] = "temporal_flickering",
    out: Annotated[Path | None, typer.Option(help="Write NAME_eval_results.json in VBench's own form here.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    as_json: Json = False,
) -> int:
    """Score the videos of a folder; ends with code 3 if a dimension or a video could not be scored.

    A dimension in which a video has no score has no mean.

    \b
    Examples:
      bench vbench evaluate clips/
      bench vbench evaluate clips/ --dimensions temporal_flickering,motion_smoothness --out results/
    """
    from bench.errors import BenchError
    from bench.store import write_durable
    from bench.vbench.client import evaluate
    from bench.vbench.results import Raw, as_official

    names, videos, done, failed = _dimensions(dimensions), _videos(folder), [], False
    if device not in ("cpu", "cuda"):
        raise UsageError(f"--device {device}: write cpu or cuda")
    if out is not None:
        _make(out)
    for name in names:
        try:
            scores = evaluate(name, videos, device=device)
        except BenchError as error:  # what other dimensions gave is kept
            _say(f"{name}: {error}")
            failed = True
            continue
        done.append(scores)
        for path, reason in scores.failed.items():
            _say(f"{name}: {path}: {reason}")
        if scores.failed:
            _say(f"{name}: there is no mean over the other {len(scores.videos)}; mend or remove these and score again")
            failed = True
    if out is not None and done:
        text = json.dumps(as_official(done), indent=1) + "\n"
        write_durable(out / f"{folder.resolve().name}_eval_results.json", text.encode())
    means = {each.dimension: each.mean for each in done if not each.failed}
    if means:
        _show([Raw(folder.name, means)], as_json)
    return ExitCode.CELL_FAILED if failed else ExitCode.OK


def _row(raw: Raw, summary: Summary) -> dict[str, str]:
    def percent(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.2f}"

    total = summary.total if summary.total is not None else summary.partial
    scores = {"quality": summary.quality, "semantic": summary.semantic, "score": total}
    return {"of": raw.name, **{key: percent(value) for key, value in scores.items()}, "name": summary.name}


def _show(found: list[Raw], as_json: bool) -> None:
    from dataclasses import asdict

    from bench.cli.list import plain
    from bench.vbench.score import summarise

    summaries = [summarise(raw.scores) for raw in found]
    if as_json:
        rows = [{"of": raw.name, "raw": raw.scores, **asdict(one)} for raw, one in zip(found, summaries, strict=True)]
        typer.echo(json.dumps(rows, indent=1))
        return
    typer.echo(plain([_row(raw, summary) for raw, summary in zip(found, summaries, strict=True)]))


def _tell(found: list[Raw], as_json: bool) -> int:
    """Show what has scores, say what has none."""
    for raw in found:
        for name, why in raw.unscored.items():
            _say(f"{raw.name}: {name} has no score: {why}")
    scored = [raw for raw in found if raw.scores]
    if scored:
        _show(scored, as_json)
    return ExitCode.CELL_FAILED if any(raw.unscored for raw in found) else ExitCode.OK


Sources = Annotated[list[Path], typer.Argument(help="Folders of runs, zips or JSON files of results.")]


@command.command("score")
def score(results: Sources, as_json: Json = False) -> int:
    """Quality, semantic and total score in percent, by the official normalisation and weights.

    It takes folders of runs, zips or JSON files. There is a total only if all 16 dimensions are there; otherwise the
    weighted mean of what is there, under a name that lists it. A missing dimension never counts as 0. Ends with code 3
    if a file says that a dimension could not be scored.

    \b
    Examples:
      bench vbench score runs/moving_digits
      bench vbench score mine_eval_results.json theirs.zip --json
    """
    from bench.vbench.results import read

    return _tell([raw for path in results for raw in read(path)], as_json)


@command.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="A zip as sent to the leaderboard, or one JSON file of VBench.")],
    write_: Annotated[
        Path | None, typer.Option("--write", help="Keep raw and recomputed scores here, as JSON.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Read official results, recompute their totals, and keep them; nothing in a zip is unpacked to the disk.

    \b
    Examples:
      bench vbench import model_results.zip --write model.json
    """
    from dataclasses import asdict

    from bench.store import write_durable
    from bench.vbench.dimensions import VERSION
    from bench.vbench.results import read_file
    from bench.vbench.score import summarise

    if not source.is_file():
        raise UsageError(f"{source} is not a file; give a zip or a JSON file of VBench")
    raw = read_file(source)
    code = _tell([raw], as_json)
    if write_ is not None:
        if not write_.absolute().parent.is_dir():
            raise UsageError(f"--write {write_}: there is no folder {write_.parent}")
        kept = {
            "of": raw.name,
            "normalisation": f"vbench-{VERSION}",
            "raw": raw.scores,
            "unscored": raw.unscored,
            **asdict(summarise(raw.scores)),
        }
        write_durable(write_, (json.dumps(kept, indent=1) + "\n").encode())
    return code
