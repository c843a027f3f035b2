"""What authors' code gave, kept as numbers with their provenance: ``recorded/<solver>.json``.

Recorded values are the results of somebody else's program, run on a checkout at the commit that is written beside
them; nothing of ours made them. ``bench parity --checkout owner/name=PATH`` runs the program again and compares, and
with ``--record`` keeps what it gives.
"""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from bench.errors import UsageError
from bench.parity.case import PACKAGES, Case, Unavailable
from bench.parity.compare import theirs
from bench.parity.found import cases, recording
from bench.store import write_durable


class Recording(BaseModel):
    """What one case's reference gave.

    Attributes:
        repository, commit: where the code came from.
        values: the final states by budget, 17 significant digits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    repository: str
    commit: str
    torch: str
    values: dict[int, list[list[float]]]


@cache
def load(module: str) -> dict[str, Recording]:
    """All recordings of a solver, by the case's key; empty if there are none.

    Raises:
        UsageError: the file is damaged.
    """
    path = recording(module)
    if not path.exists():
        return {}
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {key: Recording.model_validate(value) for key, value in content.items()}
    except (ValueError, AttributeError, ValidationError) as error:
        raise UsageError(f"{path} is not a file that bench parity --record wrote: {error}") from error


def recall(module: str, case: Case, nfe: int) -> Tensor:
    """(8, 2) float64: what the reference gave when it was recorded.

    Raises:
        Unavailable: it never was.
    """
    found = load(module).get(case.key)
    if found is None or nfe not in found.values:
        raise Unavailable(f"not recorded for nfe={nfe}; bench parity {module} --checkout {case.against}=PATH --record")
    return torch.tensor(found.values[nfe], dtype=torch.float64)


def reference(module: str, case: Case, nfe: int, checkout: Path | None = None) -> Tensor:
    """(8, 2) float64: the reference's samples, from a package, from a checkout if there is one, else as recorded.

    Raises:
        Unavailable: none of these is here.
    """
    if case.against in PACKAGES or checkout is not None:
        return theirs(case, nfe, checkout)
    return recall(module, case, nfe)


def commit(checkout: Path) -> str:
    """The commit of a checkout.

    Raises:
        UsageError: the folder is not a git checkout.
    """
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError(f"{checkout} is not a git checkout; give the folder that git clone made")
    return done.stdout.strip()


def record(module: str, repository: str, checkout: Path) -> int:
    """Run all of a solver's cases against one repository and keep what they give; how many there were.

    Cases that are no more are dropped from the file.
    """
    found = dict(load(module))
    chosen = [case for case in cases(module) if case.against == repository]
    for case in chosen:
        values = {nfe: theirs(case, nfe, checkout).tolist() for nfe in case.nfes}
        found[case.key] = Recording(
            repository=repository, commit=commit(checkout), torch=torch.__version__, values=values
        )
    keys = {case.key for case in cases(module)}
    content = {key: value.model_dump(mode="json") for key, value in sorted(found.items()) if key in keys}
    if chosen:
        path = recording(module)
        path.parent.mkdir(exist_ok=True)
        write_durable(path, (json.dumps(content, indent=1) + "\n").encode())
        load.cache_clear()
    return len(chosen)
