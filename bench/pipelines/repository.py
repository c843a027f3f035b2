"""Where a pipeline's files are: a folder, or a repository of the hub at a commit; checked before anything is loaded.

Nothing is fetched but a repository that the user names (``owner/name`` or ``owner/name@revision``), and not even that
when ``HF_HUB_OFFLINE`` or ``BENCH_OFFLINE`` is set. Only safetensors are loaded: other weights are pickles.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench.errors import AssetError, UsageError

INDEX = "model_index.json"
EXTRA = "install it with: pip install 'fewstep-bench[diffusers]'"
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_YES = {"1", "true", "yes", "on"}
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


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
            if isinstance(value, list) and len(value) == 2 and value[0] and not name.startswith("_"):
                yield name, str(value[0]), str(value[1])


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


def is_offline() -> bool:
    """Whether the user has said that nothing may be fetched."""
    return any(os.environ.get(name, "").lower() in _YES for name in ("HF_HUB_OFFLINE", "BENCH_OFFLINE"))


def locate(model: str, variant: str | None = None, allow_code: str = "") -> Found:
    """The files of a pipeline, fetched if they have to be.

    Args:
        model: a folder, ``owner/name`` or ``owner/name@revision``.
        variant: of the weights' files, such as ``fp16``.
        allow_code: ``owner/name@revision`` of a repository whose own Python code may run.

    Raises:
        UsageError: it is neither a folder nor a repository's name, or its code is not allowed.
        AssetError: there is no such repository, it is not complete, or it has no safetensors.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        found = Found(folder.resolve(), read_index(folder))
    elif _REPOSITORY.fullmatch(model) and not model.startswith("."):
        found = _from_hub(model, variant)
    else:
        raise UsageError(f"{model} is no folder, and no repository's name (owner/name or owner/name@revision)")
    check_code(found, allow_code)
    check_files(found, variant)
    return found


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
    if allow_code != f"{found.repository}@{found.commit}":
        raise UsageError(f"{what}; read it, then allow it with allow_code={found.repository}@{found.commit}")


def check_files(found: Found, variant: str | None) -> None:
    """All components are there, and their weights are safetensors.

    Raises:
        AssetError: a component is missing, or there are only pickles.
    """
    for name, library, kind in found.components():
        folder = found.folder / name
        if not folder.is_dir():
            raise AssetError(f"{found.folder} has no folder {name} ({library} {kind}); the copy is not complete")
        files = [path.name for path in folder.iterdir()]
        if any(file.endswith(".safetensors") for file in files):
            wanted = variant and not any(f".{variant}." in file for file in files if file.endswith(".safetensors"))
            if wanted:
                raise AssetError(f"{folder} has no weights of the variant {variant!r}; leave variant out")
        elif pickles := [file for file in files if file.endswith(_PICKLES) and file != "training_args.bin"]:
            raise AssetError(
                f"{folder} has its weights as pickles only ({pickles[0]}), which can run code when they are loaded; "
                "use a revision with safetensors, or load and save the model again with safe_serialization=True"
            )


def require(package: str) -> None:
    """A package of the extra ``diffusers``.

    Raises:
        UsageError: it is not installed.
    """
    import importlib.util

    if importlib.util.find_spec(package) is None:
        raise UsageError(f"{package} is not installed; {EXTRA}")


def _from_hub(model: str, variant: str | None) -> Found:
    """A snapshot of a repository; its folder is named by its commit."""
    require("diffusers")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    repository, _, revision = model.partition("@")
    local = is_offline()
    try:
        index = hf_hub_download(repository, INDEX, revision=revision or None, local_files_only=local)
        folder = Path(index).parent
        found = Found(folder, read_index(folder), repository, folder.name)
        if not local:
            _download(found, variant)
    except RepositoryNotFoundError as error:
        raise AssetError(f"there is no repository {model} on the hub, or it is private; check the name") from error
    except (LocalEntryNotFoundError, OSError, HfHubHTTPError) as error:
        why = "fetching is switched off (HF_HUB_OFFLINE or BENCH_OFFLINE)" if local else f"{type(error).__name__}"
        raise AssetError(
            f"{model} is neither a folder here nor in the cache, and cannot be fetched: {why}; "
            "check the name and the network, or give the path of a copy"
        ) from error
    return found


def _download(found: Found, variant: str | None) -> None:
    """Fetch what the pipeline needs of this very commit, safetensors only; known classes only."""
    from diffusers import DiffusionPipeline

    from bench.pipelines.families import family_of

    family_of(found.class_name)  # before gigabytes are fetched for nothing
    DiffusionPipeline.download(
        found.repository, revision=found.commit, use_safetensors=True, variant=variant, trust_remote_code=False
    )
