"""Read prompts from text, CSV, TSV, JSON and JSON Lines files; a broken line is named, never passed over."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.prompts.base import Prompt

KEYS = ("prompt", "prompts", "caption", "text")


@dataclass(frozen=True)
class Fields:
    """Where in a row the text and the tags are.

    Attributes:
        text: columns or keys, the first that is there; upper and lower case are the same.
        tags: columns or keys whose values become tags, where they are there.
    """

    text: tuple[str, ...] = KEYS
    tags: tuple[str, ...] = ()


def broken(path: Path, line: int | None, what: str, advice: str = "correct or delete it") -> UsageError:
    """The error for a line that cannot be used."""
    where = f", line {line}" if line is not None else ""
    return UsageError(f"{path}{where}: {what}; {advice}")


def content(path: Path) -> str:
    """The text of a file, with or without a byte order mark.

    Raises:
        UsageError: it is not there, is a folder, cannot be read, or is not UTF-8.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(f"there is no prompt file {path}; check the path") from error
    except OSError as error:
        raise UsageError(f"cannot read prompt file {path}: {error.strerror}; name a readable file") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise broken(path, line, "this is not UTF-8", "save the file as UTF-8") from error


def clean(path: Path, line: int | None, value: object) -> str:
    """A text without blanks around it.

    Raises:
        UsageError: it is no text, is empty, or has control characters or lone surrogates.
    """
    if not isinstance(value, str):
        raise broken(path, line, f"the prompt is {json.dumps(value)[:40]}, not a text")
    text = value.strip()
    if not text:
        raise broken(path, line, "the prompt is empty")
    if any(ord(letter) < 32 and letter not in "\t\n\r" for letter in text):
        raise broken(path, line, "the prompt has a control character")
    if any("\ud800" <= letter <= "\udfff" for letter in text):  # JSON can write it, nothing can encode it
        raise broken(path, line, "the prompt has half a character, which is no text")
    return text


def text_lines(path: Path, fields: Fields) -> Iterator[Prompt]:
    """One prompt a line; blank lines are left out, the others keep their number as id."""
    for number, line in enumerate(content(path).split("\n"), 1):
        if line.strip():
            yield Prompt(clean(path, number, line), str(number))


def _named(names: Iterable[str], wanted: tuple[str, ...]) -> str | None:
    folded = {name.strip().lower(): name for name in names}
    return next((folded[one.lower()] for one in wanted if one.lower() in folded), None)


def _tags(row: dict[str, Any], fields: Fields) -> tuple[str, ...]:
    found: list[str] = []
    for tag in fields.tags:
        value = row.get(_named(row, (tag,)) or tag)
        found += [str(one) for one in value] if isinstance(value, list) else [str(value)] if value else []
    return tuple(found)


def table(path: Path, fields: Fields) -> Iterator[Prompt]:
    """CSV with a header; a name that ends in ``.tsv`` is separated by tabs, and quotes in it are part of the text.

    PartiPrompts.tsv has a prompt that begins with a quoted word, which the rules of CSV would take apart.
    """
    tabs = path.suffix.lower() == ".tsv"
    lines = io.StringIO(content(path), newline="")
    plain = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
    rows = plain if tabs else csv.reader(lines, strict=True)
    try:
        header = next(rows, [])
        column = _named(header, fields.text)
        if column is None:
            wanted, there = " or ".join(fields.text), ", ".join(header) or "none"
            raise broken(path, 1, f"no column {wanted} among {there}", "name it with ?column=NAME")
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                raise broken(path, rows.line_num, f"{len(row)} columns, the header has {len(header)}", "quote commas")
            named = dict(zip(header, row, strict=True))
            text = clean(path, rows.line_num, named[column])
            yield Prompt(text, str(rows.line_num), _tags(named, fields))
    except csv.Error as error:
        raise broken(path, rows.line_num, str(error)) from error


def _entry(path: Path, line: int | None, number: int, row: object, fields: Fields) -> Prompt:
    if isinstance(row, str):
        return Prompt(clean(path, line, row), str(number))
    if not isinstance(row, dict):
        raise broken(path, line, f"entry {number} is neither a text nor an object")
    key = _named(row, fields.text)
    if key is None:
        wanted, there = " or ".join(fields.text), ", ".join(row) or "none"
        raise broken(path, line, f"entry {number} has no key {wanted}, only {there}", "name it with ?column=NAME")
    return Prompt(clean(path, line, row[key]), str(row.get("id", number)), _tags(row, fields))


def json_lines(path: Path, fields: Fields) -> Iterator[Prompt]:
    """One JSON text or object a line."""
    for number, line in enumerate(content(path).split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise broken(path, number, f"this is not JSON ({error.msg}, column {error.colno})") from error
            yield _entry(path, number, number, row, fields)


def parsed(path: Path) -> Any:
    """A JSON file.

    Raises:
        UsageError: it is not JSON.
    """
    try:
        return json.loads(content(path))
    except json.JSONDecodeError as error:
        what = f"this is not JSON ({error.msg}, column {error.colno})"
        raise broken(path, error.lineno, what, "download or write it again") from error


def json_list(path: Path, fields: Fields) -> Iterator[Prompt]:
    """A JSON list of texts or objects."""
    rows = parsed(path)
    if not isinstance(rows, list):
        raise broken(path, None, "this is not a list of prompts", "for COCO captions write coco2014:FILE")
    for number, row in enumerate(rows, 1):
        yield _entry(path, None, number, row, fields)


READERS: dict[str, Callable[[Path, Fields], Iterator[Prompt]]] = {
    ".txt": text_lines,
    ".csv": table,
    ".tsv": table,
    ".jsonl": json_lines,
    ".json": json_list,
}


def coco(path: Path, captions: str) -> Iterator[Prompt]:
    """Captions of an official ``captions_*.json`` of COCO (arXiv 1504.00325), in the order of its images.

    Args:
        path: the file.
        captions: ``first`` for the caption with the lowest id of each image, ``all`` for all.
    """
    whole = parsed(path)
    listed = whole.get("annotations") if isinstance(whole, dict) else None
    if not isinstance(listed, list) or not isinstance(whole.get("images"), list):
        raise broken(path, None, "this is not a file of COCO captions", "take captions_val2014.json or its like")
    by_image: dict[str, list[tuple[int, Any]]] = {}
    for number, one in enumerate(listed, 1):
        whole_entry = isinstance(one, dict) and {"image_id", "id", "caption"} <= one.keys()
        if not whole_entry or not isinstance(one["id"], int):
            raise broken(path, None, f"annotation {number} lacks image_id, id or caption", "download the file again")
        by_image.setdefault(str(one["image_id"]), []).append((one["id"], one["caption"]))
    for place, image in enumerate(whole["images"], 1):
        if not isinstance(image, dict) or "id" not in image:
            raise broken(path, None, f"image {place} has no id", "download the file again")
        found = sorted(by_image.get(str(image["id"]), []), key=lambda pair: pair[0])
        for number, caption in found[:1] if captions == "first" else found:
            yield Prompt(clean(path, None, caption), str(number), (f"image {image['id']}",))
