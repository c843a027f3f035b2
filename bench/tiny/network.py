"""A text-conditioned network of diffusers, in pixel space, as the network of a suite."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from bench.denoiser import Adapter, Prediction
from bench.errors import AssetError
from bench.features.base import require
from bench.nets.diffusers_unet import DiffusersUNet
from bench.process import Process
from bench.reuse import Memory, Part
from bench.tiny.tokens import tokenize


class PixelNetwork(nn.Module):
    """``(x, sigma (B,), label (B,)) -> x0_hat``; labels are rows of a table of encoded captions.

    Args:
        inner: called as ``inner(x_t, t, condition, return_dict=False)``; its weights are the only parameters.
        table: (captions + 1, L, d) encoded captions, the last row for no caption.
        process: the process the network was trained on.
        prediction: what its output means.
        time_scale: the network is told ``time_scale * t``.
    """

    def __init__(
        self, inner: nn.Module, table: Tensor, process: Process, prediction: Prediction, time_scale: float = 1.0
    ) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("table", table, persistent=False)
        self.process, self.prediction, self.time_scale = process, prediction, time_scale

    def forward(self, x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        """x0_hat, shape and dtype of x (B, ...)."""
        return self._adapted(x, sigma, label, self._predict)

    def _adapted(self, x: Tensor, sigma: Tensor, label: Tensor, predict: Any) -> Tensor:
        condition: Tensor = self.get_buffer("table")[label]
        network = Adapter(
            lambda x_t, t: predict(x_t, self.time_scale * t, condition),
            self.process,
            self.prediction,
            condition.dtype,
        )
        return network(x, sigma)

    def _predict(self, x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        output: Tensor = self.inner(x_t, t, condition, return_dict=False)[0]
        return output


class ReusableNetwork(PixelNetwork):
    """The same around a U-Net, which can be run in parts (``bench.reuse``)."""

    _parts: DiffusersUNet | None = None

    def partial(self, x: Tensor, t: Tensor, label: Tensor, memory: Memory, part: Part) -> Tensor:
        """See ``bench.reuse.Partial``; here ``t`` is sigma (B,) and the output is x0_hat."""
        if self._parts is None:  # wraps the blocks in place, so only once and only where it is needed
            object.__setattr__(self, "_parts", DiffusersUNet(self.inner))
        parts = self._parts
        assert parts is not None

        def predict(x_t: Tensor, time: Tensor, condition: Tensor) -> Tensor:
            return parts.partial(x_t, time, condition, memory, part)

        return self._adapted(x, t, label, predict)


@contextmanager
def quiet() -> Iterator[None]:
    """Progress bars and advice of diffusers and transformers, kept off the screen."""
    logs: list[Any] = [require(f"{name}.utils.logging", "diffusers") for name in ("diffusers", "transformers")]
    before = [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs]
    try:
        for log in logs:
            log.set_verbosity_error()
            log.disable_progress_bar()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, (level, bar) in zip(logs, before, strict=True):
            log.set_verbosity(level)
            if bar:
                log.enable_progress_bar()


def load_part(folder: Path, name: str) -> nn.Module:
    """A network of a pipeline folder, float32, in evaluation mode.

    Args:
        folder: in diffusers' layout.
        name: ``unet``, ``transformer`` or ``text_encoder``.

    Raises:
        AssetError: it is missing or damaged.
        UsageError: diffusers or transformers are not installed.
    """
    with quiet():
        diffusers, transformers = (require(each, "diffusers") for each in ("diffusers", "transformers"))
        classes: dict[str, Any] = {
            "unet": diffusers.UNet2DConditionModel,
            "transformer": diffusers.WanTransformer3DModel,
            "text_encoder": transformers.CLIPTextModel,
        }
        dtype = {"dtype" if name == "text_encoder" else "torch_dtype": torch.float32}
        part = _from_pretrained(classes[name], folder / name, **dtype)
    return cast("nn.Module", part.eval().requires_grad_(False))


def load_tokenizer(folder: Path) -> Any:
    """The ``CLIPTokenizer`` in a folder; raises as ``load_part``."""
    with quiet():
        return _from_pretrained(require("transformers", "diffusers").CLIPTokenizer, folder)


def _from_pretrained(cls: Any, folder: Path, **options: Any) -> Any:
    try:
        return cls.from_pretrained(str(folder), local_files_only=True, **options)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise AssetError(f"{folder} cannot be loaded: {reason}; restore it") from error


class TextStage:
    """The text half of a pipeline folder: captions to (B, L, d) float32, the encoder's last hidden states."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = load_tokenizer(folder / "tokenizer")
        self.encoder = load_part(folder, "text_encoder")

    @torch.inference_mode()
    def __call__(self, captions: Sequence[str]) -> Tensor:
        states: Tensor = self.encoder(tokenize(self.tokenizer, captions)).last_hidden_state
        return states
