"""Where a pipeline's files are: a folder, or a repository of the hub at a commit, fetched if it has to be.

Nothing is fetched but what the user names (``owner/name`` or ``owner/name@revision``), and not even that when
``HF_HUB_OFFLINE`` or ``BENCH_OFFLINE`` is set.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from bench.errors import AssetError, BenchError, UsageError
from bench.pipelines.repository import INDEX, UNUSED, Found, check_code, check_files, first_line, read_index, require
from bench.weightstore.download import offline

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


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
        found = _from_hub(model, variant, allow_code, offline())
    else:
        raise UsageError(f"{model} is no folder, and no repository's name (owner/name or owner/name@revision)")
    check_code(found, allow_code)
    check_files(found, variant)
    return found


def forget() -> None:
    """Ask the hub again for what was found there."""
    _from_hub.cache_clear()


def one_file(repository: str, name: str) -> Path:
    """One file of a repository, from the cache or fetched.

    Args:
        repository: ``owner/name`` or ``owner/name@revision``.
        name: the file's path in it.

    Raises:
        AssetError: it cannot be had.
    """
    require("huggingface_hub")
    from huggingface_hub import hf_hub_download

    owner, _, revision = repository.partition("@")
    switch = offline()
    try:
        with _quiet():
            return Path(hf_hub_download(owner, name, revision=revision or None, local_files_only=bool(switch)))
    except Exception as error:  # three libraries fetch here, each with errors of its own
        raise AssetError(_why(repository, name, error, switch)) from error


@cache  # one commit per process, whatever is pushed meanwhile, and one question to the hub
def _from_hub(model: str, variant: str | None, allow_code: str, switch: str) -> Found:
    """A snapshot of a repository; its folder is named by its commit."""
    require("diffusers")
    index = one_file(model, INDEX)
    found = Found(index.parent, read_index(index.parent), model.partition("@")[0], index.parent.name)
    if not switch:
        try:
            with _quiet():
                _download(found, variant, allow_code)
        except BenchError:
            raise
        except Exception as error:  # three libraries fetch here, each with errors of its own
            raise AssetError(_why(model, INDEX, error, switch)) from error
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """The hub's own account of what it tries again; what it comes to is an exception."""
    loggers = [logging.getLogger(name) for name in ("huggingface_hub", "diffusers")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _why(repository: str, name: str, error: Exception, switch: str) -> str:
    """One sentence on what could not be had."""
    from huggingface_hub.errors import GatedRepoError, RemoteEntryNotFoundError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        return f"{repository} asks for its terms to be accepted: do so at huggingface.co, then run hf auth login"
    if isinstance(error, RepositoryNotFoundError):
        return f"there is no repository {repository} on the hub, or it is private; check the name"
    if isinstance(error, RemoteEntryNotFoundError) and name == INDEX:
        return f"{repository} has no {INDEX}, so it is no pipeline of diffusers; name the repository of a whole one"
    what = f"{repository} is neither a folder here" if name == INDEX else f"{repository}:{name} is neither a file here"
    return (
        f"{what} nor in the cache, and cannot be fetched: {_reason(error, switch)}; "
        "check the name and the network, or give the path of a copy"
    )


def _reason(error: Exception, switch: str) -> str:
    """Why the hub gives nothing, in words."""
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RemoteEntryNotFoundError,
        RevisionNotFoundError,
    )

    if switch or isinstance(error, OfflineModeIsEnabled):
        return f"fetching is switched off by {switch or 'HF_HUB_OFFLINE'}"
    if isinstance(error, LocalEntryNotFoundError) and not isinstance(error.__cause__, HfHubHTTPError):
        return "the hub cannot be reached, and no copy is in the cache"
    if isinstance(error, RevisionNotFoundError):
        return "it has no such revision"
    if isinstance(error, RemoteEntryNotFoundError):
        return "it has no such file"
    answer = error.__cause__ if isinstance(error, LocalEntryNotFoundError) else error
    if isinstance(answer, HfHubHTTPError):
        return f"the hub answers with HTTP {answer.response.status_code}"
    return first_line(error) or type(error).__name__


def _download(found: Found, variant: str | None, allow_code: str) -> None:
    """Fetch what the pipeline needs of this very commit, safetensors only; known classes only."""
    from diffusers import DiffusionPipeline

    from bench.pipelines.families import family_of

    family_of(found.class_name)  # before gigabytes are fetched for nothing
    check_code(found, allow_code)
    unused = {name: None for name in UNUSED if name in found.index}
    DiffusionPipeline.download(
        found.repository,
        revision=found.commit,
        use_safetensors=True,
        variant=variant,
        trust_remote_code=found.allows(allow_code),
        **unused,
    )
