"""A CLIP tokenizer whose vocabulary is learnt from a handful of captions.

Byte pairs as in CLIP: every byte alone and at the end of a word, then merges, most frequent pair first, then the two
special tokens. The end token has the highest id, which is where CLIP's text towers read their sentence from.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from bench.features.base import require

START: Final = "<|startoftext|>"
END: Final = "<|endoftext|>"
CONTEXT: Final = 16  # tokens of a caption with its start and end

Word = tuple[str, ...]


def byte_alphabet() -> list[str]:
    """The 256 printable stand-ins for bytes of byte-level BPE (Radford et al. 2019, GPT-2)."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("\xa1"), ord("\xac") + 1), *range(ord("\xae"), 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return [chr(byte) for byte in visible] + [chr(256 + i) for i in range(len(hidden))]


def learn_merges(captions: Iterable[str]) -> list[tuple[str, str]]:
    """Merge pairs, most frequent first and then in order of spelling, until every word is one token."""
    counts = Counter(word for caption in captions for word in caption.split())
    words: dict[Word, int] = {(*word[:-1], word[-1] + "</w>"): count for word, count in counts.items()}
    merges: list[tuple[str, str]] = []
    while pairs := _pairs(words):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = {_merge(word, best): count for word, count in words.items()}
    return merges


def _pairs(words: dict[Word, int]) -> Counter[tuple[str, str]]:
    pairs: Counter[tuple[str, str]] = Counter()
    for word, count in words.items():
        for pair in pairwise(word):
            pairs[pair] += count
    return pairs


def _merge(word: Word, pair: tuple[str, str]) -> Word:
    merged: list[str] = []
    for symbol in word:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return tuple(merged)


def build_tokenizer(captions: Iterable[str]) -> Any:
    """A ``transformers.CLIPTokenizer`` for these captions (16 tokens at most)."""
    merges = learn_merges(captions)
    alphabet = byte_alphabet()
    symbols = [*alphabet, *(symbol + "</w>" for symbol in alphabet)]
    symbols += list(dict.fromkeys("".join(pair) for pair in merges))
    vocabulary = {symbol: i for i, symbol in enumerate([*symbols, START, END])}
    return require("transformers", "diffusers").CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CONTEXT)


def tokenize(tokenizer: Any, texts: Sequence[str]) -> Tensor:
    """(len(texts), 16) int64: start, caption, end, then more of the end token, as Stable Diffusion's pipeline pads."""
    options = {"padding": "max_length", "max_length": CONTEXT, "truncation": True, "return_tensors": "pt"}
    ids: Tensor = tokenizer(list(texts), **options).input_ids
    return ids


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write the tokenizer as transformers does, and vocabulary and merges as CLIP does."""
    tokenizer.save_pretrained(folder)
    state = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in state["merges"]]
    (folder / "vocab.json").write_text(json.dumps(state["vocab"], ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
