"""What ``bench show`` says of a released student, from its declaration's source. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.registry import Entry
from bench.released.checkpoint import Checkpoint, read


def checkpoint_of(entry: Entry) -> Checkpoint | None:
    """The checkpoint that an entry declares; None if it declares none, or one that cannot be read."""
    if entry.kind != "method" or entry.problem or not entry.path.is_file():
        return None
    try:
        return read(entry.path)
    except ValueError:
        return None  # importing it fails with the same sentence


def as_dict(card: Checkpoint) -> dict[str, Any]:
    """A checkpoint as JSON data, with the command that brings it."""
    return {**card.model_dump(mode="json", exclude_defaults=True), "command": card.command}


def _rows(card: Checkpoint) -> Iterator[tuple[str, str]]:
    yield "repository", card.repository
    yield "revision", card.revision or "unverified"
    yield "licence", card.licence
    yield "base", ", ".join(card.base)
    yield "pipeline", ", ".join(card.pipelines)
    yield "kind", card.kind
    for nfe, path in card.files.items():
        yield f"file, {nfe} evaluations" if nfe else "file", path
    if card.lora:
        yield "lora", card.lora
    if card.lora_scale != 1.0:
        yield "lora_scale", f"{card.lora_scale:g}"
    yield "sampler", f"{card.sampler}, predicts {card.prediction or 'as the base'}, times in {card.unit}"
    for nfe, times in card.timesteps.items():
        scale = card.guidance(nfe)
        told = " (told to the network)" if card.embedded else ""
        guided = f"; guidance {scale:g}{told}" if scale != 1.0 else "; no guidance"
        yield f"{nfe} evaluations", ", ".join(f"{time:g}" for time in times) + guided
    yield from _settings(card)


_SETTINGS = ("eta", "boundary", "start", "end", "sigma_floor", "clip", "windows", "window_form", "schedule", "family")


def _settings(card: Checkpoint) -> Iterator[tuple[str, str]]:
    for name in (*_SETTINGS, "time_scale", "time_floor", "called_at"):
        if name in card.model_fields_set:
            yield name, str(getattr(card, name))
    for what, where in card.source.items():
        yield f"{what} read in" if what != "settings" else "read in", where
    for each in card.unverified:
        yield "unverified", each
    if card.note:
        yield "note", card.note
    yield "get it", card.command


def as_text(card: Checkpoint) -> str:
    """A checkpoint for a reader, one field a line."""
    rows = list(_rows(card))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in rows)
