"""What a pipeline's files are, checked before anything is loaded: a class, components, their weights and their code.

Only safetensors are loaded: other weights are pickles. Where the files come from: ``bench.pipelines.hub``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench.errors import AssetError, UsageError

INDEX = "model_index.json"
EXTRA = "install it with: pip install 'fewstep-bench[diffusers]'"
_PART = re.compile(r"(.+)-\d{5}-of-(\d{5})(.*)\.safetensors")
_WEIGHTLESS = ("Tokenizer", "TokenizerFast", "Processor", "Extractor", "Scheduler")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
UNUSED = ("safety_checker",)
"""Components that are never loaded: no part of a benchmark."""


@dataclass(frozen=True)
class Found:
    """A pipeline's files.

    Attributes:
        folder: where they are.
        repository: ``owner/name`` and ``commit`` of the hub; both empty for a folder of the user's.
        index: the content of ``model_index.json``.
    """

    folder: Path
    index: dict[str, Any]
    repository: str = ""
    commit: str = ""

    @property
    def class_name(self) -> str:
        """The pipeline class; of code that comes with the files, its last name."""
        name = self.index.get("_class_name", "")
        return str(name[-1] if isinstance(name, list) else name)

    def components(self) -> Iterator[tuple[str, str, str]]:
        """Name, library and class of each component that the folder should hold."""
        for name, value in self.index.items():
            used = not name.startswith("_") and name not in UNUSED
            if used and isinstance(value, list) and len(value) == 2 and value[0]:
                yield name, str(value[0]), str(value[1])

    def allows(self, code: str) -> bool:
        """Whether ``owner/name@commit`` names this very repository and commit, so that its own code may run."""
        return bool(self.repository) and code == f"{self.repository}@{self.commit}"


class _Config(dict[str, Any]):
    """The configuration of a component, by attribute as well."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


def outline(found: Found) -> Any:
    """The pipeline without its weights: components that have nothing but a configuration.

    Raises:
        AssetError: a configuration cannot be read.
    """
    parts: dict[str, Any] = {name: None for name in found.index if not name.startswith("_")}
    for name, _, _ in found.components():
        path = found.folder / name / "config.json"
        try:
            parts[name] = SimpleNamespace(config=_Config(json.loads(path.read_text(encoding="utf-8"))))
        except FileNotFoundError:  # of tokenizers and schedulers, which say nothing about sizes
            parts[name] = SimpleNamespace(config=_Config())
        except (OSError, ValueError) as error:
            raise AssetError(f"{path} cannot be read: {error}; restore it") from error
    plain = {name: value for name, value in found.index.items() if not name.startswith("_")}
    return SimpleNamespace(config=_Config(plain), **parts)


def read_index(folder: Path) -> dict[str, Any]:
    """The content of ``model_index.json``.

    Raises:
        AssetError: there is none, or it is not one.
    """
    path = folder / INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise AssetError(
            f"{folder} has no {INDEX}, so it is no pipeline of diffusers; name the folder that save_pretrained wrote, "
            "or use the suite network for a single network"
        ) from error
    except (OSError, ValueError) as error:
        raise AssetError(f"{path} cannot be read: {error}; restore it") from error
    if not isinstance(index, dict) or not index.get("_class_name"):
        raise AssetError(f"{path} does not name a pipeline class; restore it")
    return index


def check_code(found: Found, allow_code: str) -> None:
    """Code that comes with the weights runs only if the user has named its repository and revision.

    Raises:
        UsageError: there is code and it is not allowed.
    """
    own = [name for name, library, _ in found.components() if (found.folder / name / f"{library}.py").is_file()]
    if isinstance(found.index["_class_name"], list):
        own.insert(0, "the pipeline")
    if not own:
        return
    what = f"{found.repository or found.folder} brings Python code of its own ({', '.join(own)})"
    if not found.repository:
        raise UsageError(f"{what}, which is only run from a repository at a pinned revision")
    if not found.allows(allow_code):
        raise UsageError(f"{what}; read it, then allow it with allow_code={found.repository}@{found.commit}")


def check_files(found: Found, variant: str | None) -> None:
    """All components are there, and their weights are safetensors.

    Raises:
        AssetError: a component or a part of its weights is missing, there are only pickles, or no component has
            weights of the variant (those that lack it are loaded without, as diffusers does).
    """
    weights: list[str] = []
    for name, library, kind in found.components():
        folder = found.folder / name
        if not folder.is_dir():
            raise AssetError(f"{found.folder} has no folder {name} ({library} {kind}); the copy is not complete")
        files = sorted(path.name for path in folder.iterdir())
        weights += [file for file in files if file.endswith(".safetensors")]
        _check_weights(folder, files, kind)
    if variant and not any(is_variant(file, variant) for file in weights):
        raise AssetError(f"{found.folder} has no weights of the variant {variant!r}; leave variant out")


def is_variant(file: str, variant: str) -> bool:
    """Whether a file of weights, whole or one of several, belongs to a variant."""
    return f".{variant}." in file or f".{variant}-" in file


def _check_weights(folder: Path, files: list[str], kind: str) -> None:
    if any(file.endswith(".safetensors") for file in files):
        # a model in several files, model-00001-of-00003.safetensors, has them all
        parts = [match for file in files if (match := _PART.fullmatch(file))]
        for match in parts:
            start, count, end = match[1], int(match[2]), match[3]
            if sum(part[1] == start and part[3] == end for part in parts) < count:
                raise AssetError(f"{folder} does not have all {count} parts of its weights; the copy is not complete")
        return
    if pickles := [file for file in files if file.endswith(_PICKLES) and file != "training_args.bin"]:
        raise AssetError(
            f"{folder} has its weights as pickles only ({pickles[0]}), which can run code when they are loaded; "
            "use a revision with safetensors, or load and save the model again with safe_serialization=True"
        )
    if "config.json" in files and not kind.endswith(_WEIGHTLESS):
        raise AssetError(f"{folder} has the configuration of a {kind} but no weights; the copy is not complete")


def first_line(error: Exception) -> str:
    """What an error of a third party says, as a part of one sentence."""
    return str(error).strip().partition("\n")[0].rstrip(".:; ")[:300]


def require(package: str) -> None:
    """A package of the extra ``diffusers``.

    Raises:
        UsageError: it is not installed.
    """
    import importlib.util

    if importlib.util.find_spec(package) is None:
        raise UsageError(f"{package} is not installed; {EXTRA}")
