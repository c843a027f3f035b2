"""Captions and the tokenizer that is learnt from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.tiny.captions import CIFAR_CLASSES, clip_captions, image_captions
from bench.tiny.tokens import CONTEXT, build_tokenizer, save_tokenizer, tokenize

transformers = pytest.importorskip("transformers")


def test_any_run_of_captions_is_even_in_classes() -> None:
    captions = image_captions()
    assert len(set(captions)) == 80
    for i, caption in enumerate(captions):
        assert CIFAR_CLASSES[i % 10] in caption.split()
    assert "an airplane" in captions and "a cat" in captions
    assert len(set(clip_captions())) == 40


@pytest.mark.parametrize("captions", [image_captions(), clip_captions()])
def test_every_word_of_a_caption_is_one_token(captions: tuple[str, ...]) -> None:
    tokenizer = build_tokenizer(captions)
    for caption in captions:
        assert len(tokenizer(caption).input_ids) == len(caption.split()) + 2
        assert tokenizer.decode(tokenizer(caption).input_ids, skip_special_tokens=True) == caption


def test_other_words_are_spelt_and_the_end_token_survives_truncation() -> None:
    tokenizer = build_tokenizer(image_captions())
    end = tokenizer.eos_token_id
    assert end == len(tokenizer) - 1, "CLIP's text towers read the sentence at the highest id"
    rows = tokenize(tokenizer, ["a photo of a cat", "an unheard-of zeppelin flies over the lake", ""])
    assert rows.shape == (3, CONTEXT)
    assert rows[1, -1] == end and (rows[1] == end).sum() == 1, "cut, with its end"
    assert rows[2].tolist() == [tokenizer.bos_token_id] + [end] * (CONTEXT - 1)
    assert tokenizer.decode(tokenizer("zeppelin").input_ids, skip_special_tokens=True) == "zeppelin"


def test_the_saved_tokenizer_is_what_transformers_loads(tmp_path: Path) -> None:
    tokenizer = build_tokenizer(image_captions())
    save_tokenizer(tokenizer, tmp_path)
    texts = [*image_captions(), "a zeppelin"]
    for loaded in (transformers.CLIPTokenizer, transformers.AutoTokenizer):
        again = loaded.from_pretrained(str(tmp_path))
        assert tokenize(again, texts).equal(tokenize(tokenizer, texts))
    assert (tmp_path / "merges.txt").read_text().startswith("#version: 0.2\n")
