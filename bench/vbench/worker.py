"""Runs one dimension of VBench; a script for the Python of VBench's own environment, which knows nothing of ``bench``.

    python -I worker.py request.json answer.json
    python -I worker.py --check answer.json

The dimension's own ``compute_...`` function is called: the command line of VBench needs CUDA, finds prompts in file
names and passes over videos that it cannot read. Here every video ends as a score, or as a sentence that says why not.
Nothing is downloaded: what VBench would fetch with wget is an error. Python 3.9.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.metadata
import importlib.util
import json
import math
import os
import re
import signal
import subprocess
import sys
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

Request = dict[str, Any]
ACTION = re.compile(r"[A-Za-z0-9 ,'()_]+(-[A-Za-z0-9 ,'()_]+)*")
NAMES = "subject_consistency background_consistency temporal_flickering motion_smoothness dynamic_degree "
NAMES += "aesthetic_quality imaging_quality object_class multiple_objects human_action color spatial_relationship "
NAMES += "scene appearance_style temporal_style overall_consistency"


class Problem(Exception):
    """What stops the whole dimension, in one sentence."""


class _Absent:
    """Stands for something of a package that is not here; good for being imported and nothing else."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> _Absent:
        return _Absent(self._name + "." + name)

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise Problem(self._name + " is not in this environment; run bench vbench setup without --minimal")


def _module(name: str) -> types.ModuleType:
    module = types.ModuleType(name)
    absent = _Absent(name)
    module.__getattr__ = lambda attribute: getattr(absent, attribute)  # type: ignore[method-assign]
    module.__path__ = []  # a package, so that parts of it can be imported
    sys.modules[name] = module
    return module


def stand_in() -> None:
    """Let VBench be imported where torch, torchvision and decord are not: temporal_flickering uses none of them."""
    names = {"torch": ("torch.distributed",), "torchvision": ("torchvision.transforms",), "decord": ()}
    for package, parts in names.items():
        if importlib.util.find_spec(package) is not None:
            continue
        module = _module(package)
        for part in parts:
            setattr(module, part.rpartition(".")[2], _module(part))
    if isinstance(getattr(sys.modules.get("torch"), "load", None), _Absent):
        sys.modules["torch"].distributed.is_initialized = lambda: False  # one process


def offline(quiet: bool) -> None:
    """Keep VBench from fetching what it lacks, which it does with these programs, some of it when it is imported."""
    original = subprocess.run

    def guarded(command: Any, *arguments: Any, **options: Any) -> Any:
        words = [str(word) for word in command] if isinstance(command, (list, tuple)) else str(command).split()
        if not words or os.path.basename(words[0]) not in ("wget", "curl", "git", "unzip", "rm"):
            return original(command, *arguments, **options)
        if not quiet:
            raise Problem("VBench wants to run " + " ".join(words)[:200] + ", and nothing is downloaded unasked")
        return None

    subprocess.run = guarded  # type: ignore[assignment]


def _frames_by_cv2(path: str, rate: int) -> int:
    """How many frames a dimension looks at; all if the rate is 0."""
    cv2, count = importlib.import_module("cv2"), 0
    video = cv2.VideoCapture(path)
    step = max(1, round(video.get(cv2.CAP_PROP_FPS) / rate)) if rate else 1
    while video.isOpened() and video.read()[0]:
        count += 1
    video.release()
    return len(range(0, count, step))


def _frames_by_decord(path: str, _: int) -> int:
    video = importlib.import_module("decord").VideoReader(path, num_threads=1)
    video.get_batch([0, len(video) - 1])
    return len(video)


def _unreadable(path: str, request: Request) -> str:
    """Why a video cannot be scored, or nothing."""
    if not os.path.isfile(path):
        return "the file is not there"
    reader: str = request["reader"]
    least, rate = request["frames"], request["rate"]
    count: Callable[[str, int], int] = _frames_by_cv2 if reader == "cv2" else _frames_by_decord
    try:
        frames = count(path, rate)
    except Exception as error:  # decord has its own errors for every kind of damage
        return "it cannot be decoded by " + reader + " (" + _sentence(error) + ")"
    if frames == 0:
        return "it cannot be decoded by " + reader
    among = f" at {rate} per second" if rate else ""
    return "" if frames >= least else f"it has {frames} frame(s){among}, and at least {least} are needed"


def _sentence(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]


def _information(dimension: str) -> dict[str, Any]:
    """Auxiliary information by prompt, from the file that comes with VBench."""
    listed = json.loads(_own_file("VBench_full_info.json"))
    chosen = [each for each in listed if dimension in each["dimension"]]
    return {each["prompt_en"]: each["auxiliary_info"][dimension] for each in chosen}


def _actions() -> dict[str, Any]:
    """The actions of Kinetics-400 in small letters, with their numbers, from the file that comes with VBench."""
    lines = _own_file("third_party/umt/kinetics_400_categories.txt").splitlines()
    return {name.lower(): number for name, number in (line.strip().split("\t") for line in lines if line.strip())}


def _own_file(name: str) -> str:
    return (Path(str(importlib.import_module("vbench").__file__)).parent / name).read_text(encoding="utf-8")


def _known(request: Request) -> dict[str, Any]:
    """What VBench knows of prompts or actions, if the dimension asks for either."""
    try:
        if request["text"] == "auxiliary":
            return _information(request["dimension"])
        return _actions() if request["text"] == "action" else {}
    except (OSError, ValueError, KeyError) as error:
        raise Problem(f"a list that comes with VBench cannot be read ({type(error).__name__})") from error


def _action(prompt: str) -> str:
    """What VBench takes from a file that has the prompt as its name."""
    return prompt.lower().split("-")[0].split("person is ")[-1].split("_")[0]


def _lacking(request: Request, prompt: str, known: dict[str, Any]) -> str:
    """What is wrong with the text of a video, or nothing."""
    if request["text"] and not prompt:
        return "it has no prompt, and this dimension needs one"
    if request["text"] == "auxiliary" and prompt not in known:
        return "its prompt is not one of VBench's for this dimension"
    if request["text"] == "action" and not (ACTION.fullmatch(prompt) and _action(prompt) in known):
        return "its prompt names no action of Kinetics-400 that VBench could find in a file name"
    return ""


def _link(request: Request, prompt: str, path: str, number: int) -> str:
    """The path VBench is given: it reads an action from the file name, so there the name is the checked prompt."""
    if request["text"] != "action":
        return path
    folder = Path(request["scratch"]) / "actions" / str(number)
    folder.mkdir(parents=True)
    link = folder / (prompt + "-0.mp4")
    os.symlink(os.path.abspath(path), str(link))
    return str(link)


def prepare(request: Request) -> tuple[list[dict[str, Any]], dict[str, str], dict[str, str]]:
    """VBench's list of videos, the original path of each, and why others are left out."""
    dimension, known = request["dimension"], _known(request)
    entries: dict[str, dict[str, Any]] = {}
    given: dict[str, str] = {}
    failed: dict[str, str] = {}
    for number, video in enumerate(request["videos"]):
        path, prompt = video["path"], video["prompt"]
        reason = _lacking(request, prompt, known) or _unreadable(path, request)
        if reason:
            failed[path] = reason
            continue
        entry = entries.setdefault(prompt, {"prompt_en": prompt, "dimension": [dimension], "video_list": []})
        if request["text"] == "auxiliary":
            entry["auxiliary_info"] = {dimension: known[prompt]}
        place = _link(request, prompt, path, number)
        given[place] = path
        entry["video_list"].append(place)
    return list(entries.values()), given, failed


def _compute(request: Request, listed: list[dict[str, Any]]) -> tuple[float, list[dict[str, Any]]]:
    dimension = request["dimension"]
    module = importlib.import_module("vbench." + dimension)
    utils = importlib.import_module("vbench.utils")
    parts = utils.init_submodules([dimension], local=True)[dimension]
    path = os.path.join(request["scratch"], "full_info.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(listed, file)
    device = request["device"]
    if dimension != "temporal_flickering":
        device = importlib.import_module("torch").device(device)
    mean, videos = getattr(module, "compute_" + dimension)(path, device, parts)
    return float(mean), videos


def run(request: Request) -> dict[str, Any]:
    """The answer: the dimension's own mean, a score per video, and why others have none."""
    offline(quiet=False)
    if request["dimension"] == "temporal_flickering":
        stand_in()
    listed, given, failed = prepare(request)
    if not listed:
        first: dict[str, str] = {}  # of each reason one file
        for path, reason in failed.items():
            first.setdefault(reason, f"{Path(path).name}: {reason}")
        reasons = "; ".join(first.values())
        raise Problem(f"none of the {len(request['videos'])} videos can be scored: {reasons[:300]}")
    mean, videos = _compute(request, listed)
    scores = {}
    for video in videos:
        score = float(video["video_results"])
        scores[given[video["video_path"]]] = score / 100 if request["dimension"] == "imaging_quality" else score
    if not math.isfinite(mean) or not all(map(math.isfinite, scores.values())):
        raise Problem("VBench gives a score that is not a number")
    failed.update({path: "VBench gives no score for it" for path in given.values() if path not in scores})
    return {"mean": mean, "scores": scores, "failed": failed}


def check() -> dict[str, Any]:
    """Which dimensions can be imported here, and why the others cannot."""
    found = {}
    offline(quiet=True)
    stand_in()
    for name in NAMES.split():
        try:
            importlib.import_module("vbench." + name)
            found[name] = ""
        except Exception as error:  # whatever a package does wrong when it is imported
            found[name] = type(error).__name__ + ": " + _sentence(error)
    return {"dimensions": found}


def end_with_parent() -> None:
    """Have the kernel end this process when the one that asked dies; elsewhere than on Linux it finishes its work."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def main(arguments: list[str]) -> int:
    """Write the answer; 0 if there is one, 1 if the answer is a sentence."""
    source, target = arguments
    end_with_parent()
    try:
        if source == "--check":
            answer = check()
        else:
            with open(source, encoding="utf-8") as file:
                answer = run(json.load(file))
        answer["vbench"] = importlib.metadata.version("vbench")
    except Problem as problem:
        answer = {"error": str(problem)}
    except Exception as error:  # the caller gets one sentence, the log has the rest
        traceback.print_exc()
        answer = {"error": type(error).__name__ + ": " + _sentence(error)}
    with open(target + ".tmp", "w", encoding="utf-8") as file:
        json.dump(answer, file, allow_nan=False)
    os.replace(target + ".tmp", target)
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
