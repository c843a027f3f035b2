"""Scores of one dimension for a list of videos: one process of VBench's own Python, JSON in and JSON out.

Whatever happens to that process (it fails, it is killed, it takes too long, it answers nonsense) ends as one sentence.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.errors import OutputError, UsageError
from bench.vbench.dimensions import VERSION, Dimension, dimension
from bench.vbench.environment import Environment, VBenchError, find

WORKER = Path(__file__).with_name("worker.py")
SECONDS = 600.0
SECONDS_PER_VIDEO = 30.0


@dataclass(frozen=True)
class Video:
    """A video file and the text it was made from."""

    path: Path
    prompt: str = ""


class Answer(BaseModel):
    """What the worker says; unknown fields and numbers that are none are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    vbench: str = ""
    error: str = ""
    mean: float | None = None
    scores: dict[str, float] = {}
    failed: dict[str, str] = {}
    dimensions: dict[str, str] = {}


@dataclass(frozen=True)
class Scores:
    """The result for one dimension.

    Attributes:
        mean: VBench's own, over the videos it scored (over frames for some dimensions).
        videos: score of each video, on the scale of the mean.
        failed: videos without a score, with the reason.
    """

    dimension: str
    mean: float
    videos: dict[Path, float]
    failed: dict[Path, str]


def _surroundings(scratch: Path) -> dict[str, str]:
    """Environment variables of the worker: few of ours, and every cache in the scratch folder."""
    kept = ("PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "LANG", "TMPDIR", "SYSTEMROOT")
    cache = str(scratch / "cache")
    caches = {"VBENCH_CACHE_DIR": cache, "TORCH_HOME": cache, "HF_HOME": cache, "HOME": str(scratch)}
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    return {name: os.environ[name] for name in kept if name in os.environ} | caches | offline


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the worker and what it has started, if it still runs."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _last_line(log: Path) -> str:
    """The last line of what the worker printed, if it printed anything."""
    with contextlib.suppress(OSError):
        text = log.read_bytes()[-4096:].decode(errors="replace").replace("\r", "\n")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return f" ({lines[-1][:200]})" if lines else ""
    return ""


def call(python: Path, source: str, scratch: Path, seconds: float) -> Answer:
    """Run the worker once.

    Args:
        source: the request's file, or ``--check``.
        scratch: an empty folder for it.

    Raises:
        VBenchError: it failed, was killed, took more than ``seconds``, or its answer cannot be read.
    """
    answer, log = scratch / "answer.json", scratch / "log.txt"
    (scratch / "cache").mkdir(exist_ok=True)
    command = [str(python), "-I", str(WORKER), source, str(answer)]
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=scratch / "cache",
                env=_surroundings(scratch),
                start_new_session=True,
            )
    except OSError as error:
        raise VBenchError(f"cannot start {python}: {error.strerror}; run bench vbench setup") from error
    try:
        code = process.wait(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise VBenchError(
            f"the VBench worker was ended after {seconds:g} s; give it more time or fewer videos{_last_line(log)}"
        ) from error
    finally:
        _end(process)
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        why = ", most often for lack of memory; run again" if -code == signal.SIGKILL else _last_line(log)
        raise VBenchError(f"the VBench worker was killed by {name}{why}")
    return _read(answer, code, log)


def _read(path: Path, code: int, log: Path) -> Answer:
    try:
        answer = Answer.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = "gave no answer" if not path.exists() else "gave an answer that cannot be read"
        raise VBenchError(f"the VBench worker {reason} and ended with code {code}{_last_line(log)}") from error
    if answer.error:
        raise VBenchError(f"VBench: {answer.error}")
    if answer.vbench != VERSION:
        raise VBenchError(f"the worker ran VBench {answer.vbench}, not {VERSION}; run bench vbench setup")
    return answer


def link_parts(wanted: Dimension, environment: Environment, cache: Path) -> None:
    """Links to the weights where VBench looks for them.

    Raises:
        AssetError: weights are not here; the sentence says how to get them.
    """
    from bench.weightstore.store import find as weights

    for entry, place in wanted.parts:
        link = cache / place
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(weights(entry).resolve())
    if environment.vocabulary is not None:
        link = cache / "ViCLIP" / environment.vocabulary.name
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(environment.vocabulary.resolve())


def _request(wanted: Dimension, videos: Sequence[Video], device: str, scratch: Path) -> Path:
    request = {
        "dimension": wanted.name,
        "text": wanted.text,
        "reader": wanted.reader,
        "frames": wanted.frames,
        "rate": wanted.rate,
        "device": device,
        "scratch": str(scratch),
        "videos": [{"path": str(video.path.absolute()), "prompt": video.prompt} for video in videos],
    }
    path = scratch / "request.json"
    path.write_text(json.dumps(request), encoding="utf-8")
    return path


def evaluate(
    name: str,
    videos: Sequence[Video],
    *,
    device: str = "cpu",
    environment: Environment | None = None,
    seconds: float | None = None,
) -> Scores:
    """Score videos in one dimension.

    Args:
        name: of the dimension.
        seconds: time limit; by default 10 minutes and half a minute per video.

    Raises:
        UsageError: no such dimension, or no videos.
        AssetError: VBench's environment or the dimension's weights are not here.
        VBenchError: the worker failed, or no video could be scored.
        OutputError: there is no room for temporary files.
    """
    wanted = dimension(name)
    if not videos:
        raise UsageError(f"there are no videos to score for {wanted.name}")
    where = find() if environment is None else environment
    problem = where.problem(wanted)
    if problem:
        raise VBenchError(problem)
    limit = SECONDS + SECONDS_PER_VIDEO * len(videos) if seconds is None else seconds
    try:
        with tempfile.TemporaryDirectory(prefix="bench-vbench-") as folder:
            scratch = Path(folder)
            (scratch / "cache").mkdir()
            link_parts(wanted, where, scratch / "cache")
            answer = call(where.python, str(_request(wanted, videos, device, scratch)), scratch, limit)
    except OSError as error:
        raise OutputError(f"cannot use a temporary folder: {error.strerror}; free space or set TMPDIR") from error
    given = {str(video.path.absolute()): video.path for video in videos}
    if answer.mean is None or not answer.scores or not {*answer.scores, *answer.failed} <= set(given):
        raise VBenchError(
            f"the VBench worker answered, but not with scores of {wanted.name} for the videos it was given"
        )
    scored = {given[path]: score for path, score in answer.scores.items()}
    return Scores(wanted.name, answer.mean, scored, {given[path]: why for path, why in answer.failed.items()})
