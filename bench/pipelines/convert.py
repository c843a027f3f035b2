"""Checkpoints that are pickles, made into safetensors by a process of its own; see ``bench.pipelines.unpickle``."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import AssetError, OutputError, UsageError
from bench.store import write_durable

WORKER = Path(__file__).with_name("unpickle.py")
TIMEOUT = 600  # seconds


@dataclass(frozen=True)
class Converted:
    """What came out.

    Attributes:
        weights: the safetensors file.
        record: class name and arguments of the network, as JSON.
        source: the network's source code, as text that was not run.
        tensors: how many.
    """

    weights: Path
    record: Path
    source: Path
    tensors: int


def convert_edm(checkpoint: Path, out: Path, trusted: bool, network: str = "ema") -> Converted:
    """Convert a checkpoint of NVlabs/edm.

    Args:
        checkpoint: the ``.pkl`` file.
        out: a folder; ``NAME.safetensors``, ``NAME.json`` and ``NAME.source.txt`` are written there.
        trusted: the user's word that the file is from whom they think.
        network: which of the objects in the file.

    Raises:
        UsageError: there is no such file, or the user did not give their word.
        AssetError: it is no such checkpoint, or it asks for more than tensors.
        OutputError: the folder cannot be written to.
    """
    if not checkpoint.is_file():
        raise UsageError(f"there is no file {checkpoint}; check the path")
    if not trusted:
        raise UsageError(
            f"{checkpoint} is a pickle, which can run code when it is read; it will be read by a process that "
            "rebuilds tensors only, but convert nothing whose origin you do not know: say --i-trust-this-file"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {error.strerror}; give another folder with --out") from error
    with tempfile.TemporaryDirectory() as scratch:
        found = Path(scratch) / "weights.safetensors"
        answer = _run(checkpoint, found, network)
        name = checkpoint.stem
        weights, record, source = (out / f"{name}{end}" for end in (".safetensors", ".json", ".source.txt"))
        write_durable(weights, found.read_bytes())
    write_durable(source, str(answer.pop("source")).encode())
    write_durable(record, json.dumps(answer, indent=1).encode())
    return Converted(weights, record, source, int(answer["tensors"]))


def _run(checkpoint: Path, out: Path, network: str) -> dict[str, Any]:
    """The worker's answer; it has no environment, no input and a limit of time."""
    command = [sys.executable, "-I", str(WORKER), str(checkpoint.resolve()), str(out), network]
    try:
        done = subprocess.run(
            command, env={}, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False, cwd=out.parent
        )
    except subprocess.TimeoutExpired as error:
        raise AssetError(f"{checkpoint} took more than {TIMEOUT} s to read; it was given up") from error
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        tail = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise AssetError(f"{checkpoint} could not be read: {tail or f'exit code {done.returncode}'}") from error
    if "refused" in answer:
        raise AssetError(f"{checkpoint} was refused: {answer['refused']}")
    return answer
