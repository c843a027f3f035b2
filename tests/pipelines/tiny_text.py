"""Tokenizers, text encoders and other parts of tiny random pipelines; no network needed.

Tokenizers know single characters, or pieces of given texts.
"""

from __future__ import annotations

import string
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
import tiny

LETTERS = string.ascii_letters + string.digits + string.punctuation
TEXT_WIDTH = 32


def seeded(build: Callable[[], Any]) -> Any:
    """What ``build`` makes, from weights that depend on nothing but the code."""
    with tiny.quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipe = build()
        pipe.set_progress_bar_config(disable=True)
        return pipe


def t5_tokenizer(length: int = 24) -> Any:
    from transformers import T5TokenizerFast

    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    vocab = special + [(letter, -3.0) for letter in LETTERS]
    return T5TokenizerFast(vocab=vocab, extra_ids=0, model_max_length=length)


def t5_encoder() -> Any:
    from transformers import T5Config, T5EncoderModel

    sizes = {"d_model": TEXT_WIDTH, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    return T5EncoderModel(T5Config(vocab_size=len(LETTERS) + 4, **sizes)).eval()


def umt5_encoder() -> Any:
    from transformers import UMT5Config, UMT5EncoderModel

    sizes = {"d_model": TEXT_WIDTH, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    return UMT5EncoderModel(UMT5Config(vocab_size=len(LETTERS) + 4, **sizes)).eval()


def clip_tokenizer(length: int = 16) -> Any:
    from transformers import CLIPTokenizer

    tokens = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(letter + "</w>" for letter in LETTERS)]
    return CLIPTokenizer({token: i for i, token in enumerate(tokens)}, [], model_max_length=length)


def clip_encoder(width: int = 16, projection: bool = False, length: int = 16) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=2 * len(LETTERS) + 2,
        hidden_size=width,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=length,
        projection_dim=TEXT_WIDTH,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config).eval()


def gemma_tokenizer() -> Any:
    from transformers import GemmaTokenizer

    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", "\n", *LETTERS]
    return GemmaTokenizer({token: i for i, token in enumerate(tokens)}, [])


def gemma_encoder() -> Any:
    from transformers import Gemma2Config, Gemma2Model

    config = Gemma2Config(
        vocab_size=len(LETTERS) + 7,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=4,
        attn_implementation="eager",
    )
    return Gemma2Model(config).eval()


def kl_vae(blocks: int = 2, **options: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8,) * blocks,
        down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks,
        latent_channels=4,
        norm_num_groups=2,
        sample_size=16,
        **options,
    ).eval()


def flow_scheduler(**options: Any) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(**options)


def pieces_tokenizer(texts: tuple[str, ...]) -> Any:
    """A tokenizer of pieces of five letters, those of the given texts and no others."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    split = pre_tokenizers.Split(Regex(r"\s?\w{1,5}|\W"), "isolated")
    found = [piece for text in texts for piece, _ in split.pre_tokenize_str(text)]
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(["<pad>", "<unk>", *found]))}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = split
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>")


def llama_encoder(vocabulary: int) -> Any:
    from transformers import LlamaConfig, LlamaModel

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2}
    return LlamaModel(LlamaConfig(vocab_size=vocabulary, pad_token_id=0, **sizes)).eval()
