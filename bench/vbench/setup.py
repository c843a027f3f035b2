"""Make VBench's own environment: a virtual environment beside its place, filled, tried out, and only then moved there.

::

    <path>.partial   being made; kept when something goes wrong, so that the next attempt goes on from there
    <path>.lock      held (flock) meanwhile
    <path>           finished, with bench-vbench.json

The packages are those of ``requirements/``, by exact version.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import AssetError, OutputError, UsageError
from bench.store import write_durable
from bench.vbench.client import call
from bench.vbench.dimensions import DIMENSIONS, VERSION
from bench.vbench.environment import MARKER, Environment, Kind, Marker, VBenchError, find

REQUIREMENTS = Path(__file__).parent / "requirements"
PYTHONS: dict[Kind, tuple[tuple[int, int], ...]] = {
    "minimal": ((3, 11), (3, 12), (3, 10), (3, 9)),
    "full": ((3, 11),),
}
"""Versions of Python that the pinned packages have wheels for, the preferred one first."""
CHECK_SECONDS = 600.0

Say = Callable[[str], None]


def lock_of(kind: Kind) -> Path:
    """The list of packages of a kind of environment."""
    return REQUIREMENTS / f"{kind}.txt"


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _version(python: str) -> tuple[int, int] | None:
    code = "import sys; print(*sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, timeout=30, check=True)
        major, minor = done.stdout.split()
        return int(major), int(minor)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def choose_python(kind: Kind, given: str | None) -> str:
    """A Python that the packages have wheels for: the one that is given, this one, or one on the path.

    Raises:
        UsageError: there is none, or the given one is of another version.
    """
    wanted = PYTHONS[kind]
    text = " or ".join(f"{major}.{minor}" for major, minor in wanted)
    if given is not None:
        if _version(given) not in wanted:
            raise UsageError(
                f"--python {given} is not Python {text}, which the packages of VBench {VERSION} are built for"
            )
        return given
    if sys.version_info[:2] in wanted:
        return sys.executable
    names = (shutil.which(f"python{major}.{minor}") for major, minor in wanted)
    found = next((name for name in names if name and _version(name) in wanted), None)
    if found is None:
        raise UsageError(f"VBench {VERSION} needs Python {text}, and none is on the path; install one or give --python")
    return found


def _step(command: list[str], what: str, say: Say) -> None:
    """Run one step; its output goes to the terminal, as it comes.

    Raises:
        VBenchError: it failed.
    """
    say(what)
    try:
        code = subprocess.run(command, stdout=sys.stderr, stdin=subprocess.DEVNULL, check=False).returncode
    except OSError as error:
        raise VBenchError(f"{what}: cannot start {command[0]} ({error.strerror})") from error
    if code:
        raise VBenchError(f"{what}: failed with code {code}; see above, then run the same command to go on from here")


def _install(python: Path, kind: Kind, say: Say) -> None:
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "on"]
    lock = lock_of(kind)
    if kind == "full":
        # openai-clip imports pkg_resources when it is built and when it runs
        _step([*pip, "--quiet", "setuptools==69.5.1", "wheel==0.48.0"], "installing what packages are built with", say)
        _step([*pip, "--requirement", str(lock)], "installing VBench and its pins (about 6.4 GB, minutes)", say)
        return
    _step([*pip, "--quiet", "--requirement", str(lock)], "installing what temporal_flickering imports (270 MB)", say)
    _step([*pip, "--quiet", "--no-deps", f"vbench=={VERSION}"], f"installing vbench {VERSION} without the rest", say)


def _try_out(place: Path, kind: Kind, say: Say) -> Marker:
    """Import all dimensions in the new environment.

    Raises:
        VBenchError: temporal_flickering, or in a full environment any other that needs no code from elsewhere, fails.
    """
    say("importing the dimensions")
    python = place / "bin" / "python"
    with tempfile.TemporaryDirectory(prefix="bench-vbench-") as scratch:
        answer = call(python, "--check", Path(scratch), CHECK_SECONDS)
    wanted = {"temporal_flickering"} if kind == "minimal" else {d.name for d in DIMENSIONS.values() if not d.detectron2}
    broken = {name: why for name, why in answer.dimensions.items() if why and name in wanted}
    if broken or not wanted <= set(answer.dimensions):
        reasons = "; ".join(f"{name}: {why}" for name, why in broken.items()) or "dimensions are missing"
        raise VBenchError(
            f"VBench is installed in {place}, but cannot be imported ({reasons[:300]}); delete it and try again"
        )
    version = ".".join(map(str, _version(str(python)) or ()))
    lock = _hash(lock_of(kind))
    return Marker(vbench=answer.vbench, kind=kind, lock=lock, python=version, dimensions=answer.dimensions)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl  # not on every system; using an environment that is there needs none of this

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(f"another bench vbench setup is making {path}; wait for it, or give --path") from error
        yield


def _present(path: Path, kind: Kind) -> Environment | None:
    """An environment that is there already, unless the other kind or another list of packages is asked for."""
    try:
        there = find(path)
    except AssetError:
        return None
    enough = there.marker.kind == kind or kind == "minimal"
    return there if enough and there.marker.lock == _hash(lock_of(there.marker.kind)) else None


def _make(path: Path, kind: Kind, python: str | None, say: Say) -> None:
    partial = path.with_name(f"{path.name}.partial")
    interpreter = partial / "bin" / "python"
    if not interpreter.exists() or _version(str(interpreter)) not in PYTHONS[kind]:
        shutil.rmtree(partial, ignore_errors=True)
        command = [choose_python(kind, python), "-m", "venv", str(partial)]
        _step(command, f"making a virtual environment in {partial}", say)
    _install(interpreter, kind, say)
    marker = _try_out(partial, kind, say)
    write_durable(partial / MARKER, (marker.model_dump_json(indent=1) + "\n").encode())
    _replace(partial, path)


def _replace(partial: Path, path: Path) -> None:
    """Move the finished environment to its place; what was there goes once the new one stands."""
    old = path.with_name(f"{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.replace(path, old)
    os.replace(partial, path)
    shutil.rmtree(old, ignore_errors=True)


def setup(path: Path, kind: Kind, say: Say, *, python: str | None = None) -> Environment:
    """Make the environment, or find that it is there, and try it out.

    Args:
        path: where; ``<path>.partial`` is used meanwhile.
        say: told each step.
        python: the interpreter to make it from.

    Raises:
        UsageError: no suitable Python, or the place holds something else.
        OutputError: the place cannot be written to.
        VBenchError: a package cannot be installed or imported; the next attempt goes on from there.
    """
    if path.exists() and not (path / MARKER).exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} holds something that is not VBench's environment; give another --path")
    try:
        with _locked(path):
            there = _present(path, kind)
            if there is None:
                _make(path, kind, python, say)
            else:
                say(f"{path} is there")
                marker = _try_out(path, there.marker.kind, say)
                write_durable(path / MARKER, (marker.model_dump_json(indent=1) + "\n").encode())
    except OSError as error:
        raise OutputError(f"cannot make {path}: {error.strerror}; free space or give another --path") from error
    return find(path)
