"""What ``prompts=`` may say, and the prompts that it stands for.

::

    own                                  64 prompts of this package
    own-video                            12 prompts with motion of this package
    prompts.txt                          a line each; also .csv, .tsv, .json, .jsonl
    prompts.csv?column=title             the column or key that has the text
    coco2014:captions_val2014.json       first caption of each image; ?captions=all for all
    coco2017:captions_val2017.json
    parti:PartiPrompts.tsv               arXiv 2206.10789
    drawbench:drawbench.csv              arXiv 2205.11487
    geneval:evaluation_metadata.jsonl    arXiv 2310.11513
    vbench:VBench_full_info.json         arXiv 2311.17982; ?tag=scene for one dimension
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UsageError, unknown
from bench.prompts.base import Prompt, PromptSet, content_hash
from bench.prompts.formats import READERS, Fields, coco

OWN = ("own", "own-video")

KNOWN = {
    "coco2014": Fields(),
    "coco2017": Fields(),
    "parti": Fields(("Prompt",), ("Category", "Challenge")),
    "drawbench": Fields(("Prompts", "Prompt"), ("Category",)),
    "geneval": Fields(("prompt",), ("tag",)),
    "vbench": Fields(("prompt_en",), ("dimension",)),
}

CHOICES = ("column", "captions", "tag")


@dataclass(frozen=True)
class Source:
    """A specification, taken apart.

    Attributes:
        name: of the set, or ``file``.
        path: of its file.
        choices: what stands behind the question mark.
    """

    name: str
    path: Path
    choices: dict[str, str]

    @property
    def label(self) -> str:
        """The name in ids: that of the set, or that of the file."""
        return self.name if self.name != "file" else re.sub(r"[^\w.-]+", "-", self.path.stem)


def parse(spec: str) -> Source:
    """Take a specification apart.

    Raises:
        UsageError: a choice is unknown or badly written, or a set lacks its file.
    """
    head, mark, tail = spec.rpartition("?")
    if not mark or "=" not in tail:
        head, tail = spec, ""
    choices = dict(pair.partition("=")[::2] for pair in tail.split("&") if pair)
    for name in choices:
        if name not in CHOICES:
            raise unknown("choice of a prompt set", name, CHOICES)
    if choices.get("captions", "first") not in ("first", "all"):
        raise UsageError(f"captions={choices['captions']} in {spec!r}: write captions=first or captions=all")
    if head in OWN:
        return Source(head, Path(__file__).parent / f"{head}.jsonl", choices)
    name, colon, path = head.partition(":")
    if head in KNOWN or (colon and name in KNOWN and not path):
        raise UsageError(f"prompts {spec!r} need their file: write {name}:PATH (docs/prompts.md says where it is)")
    if colon and name in KNOWN:
        return Source(name, Path(path).expanduser(), choices)
    if not head:
        raise UsageError("no prompts are named; write own or the path of a file")
    found = Path(head).expanduser()
    if not found.suffix and not found.exists():
        raise unknown("prompt set", name, {*OWN, *KNOWN})
    return Source("file", found, choices)


def read(source: Source) -> tuple[Prompt, ...]:
    """All prompts of a source, in the order of its file.

    Raises:
        UsageError: the file cannot be read, a line is broken, or nothing is left.
    """
    if source.name.startswith("coco"):
        found = list(coco(source.path, source.choices.get("captions", "first")))
    else:
        fields = KNOWN.get(source.name, Fields(tags=("tags", "tag", "category")))
        if "column" in source.choices:
            fields = Fields((source.choices["column"],), fields.tags)
        reader = READERS.get(source.path.suffix.lower())
        if reader is None:
            known = ", ".join(READERS)
            raise UsageError(f"prompts in {source.path}: the name must end in {known}; rename or convert the file")
        found = list(reader(source.path, fields))
    if "tag" in source.choices:
        tags = {tag for prompt in found for tag in prompt.tags}
        if source.choices["tag"] not in tags:
            raise unknown(f"tag of {source.path.name}", source.choices["tag"], tags)
        found = [prompt for prompt in found if source.choices["tag"] in prompt.tags]
    if not found:
        raise UsageError(f"there is no prompt in {source.path}; name another file")
    return tuple(found)


def draw(prompts: tuple[Prompt, ...], count: int, seed: int) -> tuple[Prompt, ...]:
    """``count`` of the prompts in a random order that depends on the seed only, the same on every machine.

    The order is that of SHA-256 of seed and place, so that fewer prompts are the beginning of more.
    """
    order = sorted(range(len(prompts)), key=lambda place: hashlib.sha256(f"{seed}/{place}".encode()).digest())
    return tuple(prompts[place] for place in order[:count])


def describe_prompts(spec: str | Path, count: int | None = None, seed: int = 0) -> PromptSet:
    """The prompts of a specification, with their identity.

    Args:
        spec: see the top of this file.
        count: how many to draw; all, in the order of the file, by default.
        seed: of the draw; it changes nothing if all are taken.

    Raises:
        UsageError: as ``parse`` and ``read``, or there are fewer than ``count``.
    """
    source = parse(str(spec))
    every = read(source)
    if count is not None and not 1 <= count <= len(every):
        raise UsageError(f"prompts {str(spec)!r} are {len(every)}, {count} were asked for; ask for 1 to {len(every)}")
    taken = every if count is None or count == len(every) else draw(every, count, seed)
    drawn = f"/seed={seed}" if len(taken) < len(every) else ""
    return PromptSet(f"{source.label}@{content_hash(every)}/n={len(taken)}{drawn}", taken, len(every))


def load_prompts(spec: str | Path, count: int | None = None, seed: int = 0) -> tuple[Prompt, ...]:
    """The prompts of ``describe_prompts``."""
    return describe_prompts(spec, count, seed).prompts
