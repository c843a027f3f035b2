"""Inception v3 with the weights of the TensorFlow graph of 2015-12-05, which FID, KID and IS are defined with.

The network is torch-fidelity's, whose weights are converted from that graph (its release v0.2.0); clean-fid and the
EDM family use NVIDIA's TorchScript conversion of the same graph (``inception-2015-12-05.pt``). ``clean`` resizes as
clean-fid does and then runs the same layers. That the two conversions hold the same numbers is not verified here, as
neither was at hand; what is verified, on random weights, is that clean-fid's resize and normalisation and
torch-fidelity's whole extractor agree with this one.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from bench.errors import AssetError
from bench.features import resize as resizes
from bench.features.base import Extractor, Network, require
from bench.features.state import read_state

SIZE = 299
LAYERS = "AvgPool"  # the last one before the classifier


class _Layers(Network):
    """The layers of torch-fidelity's network, without its resize."""

    def __init__(self, inner: nn.Module, legacy: bool) -> None:
        super().__init__()
        self.inner = inner
        self.legacy = legacy

    def prepare(self, images: Tensor) -> Tensor:
        return images if self.legacy else resizes.clean(images, SIZE)

    def forward(self, prepared: Tensor) -> dict[str, Tensor]:
        x = prepared
        if self.legacy:
            tf = require("torch_fidelity.interpolate_compat_tensorflow", "metrics")
            x = tf.interpolate_bilinear_2d_like_tensorflow1x(x.float(), size=(SIZE, SIZE), align_corners=False)
        x = (x - 128) / 128
        for name, layer in self.inner.named_children():
            x = layer(x)
            if name == LAYERS:
                break
        features = x.flatten(1)
        head = self.inner.fc
        assert isinstance(head, nn.Linear)
        # without the bias of the classifier, as in the code that made the score known
        return {"features": features, "probs": features.mm(head.weight.T).double().softmax(1)}


class Inception(Extractor):
    """2,048 pooled features, and the 1,008 class probabilities of the Inception score.

    Attributes:
        resize: ``clean`` (Pillow's bicubic in float, a channel at a time) or ``legacy`` (TensorFlow 1's bilinear, no
            antialiasing, inside the network); their FIDs differ by whole points where images are much larger than 299.
    """

    outputs: ClassVar[tuple[str, ...]] = ("features", "probs")
    packages: ClassVar[tuple[str, ...]] = ("torch_fidelity",)

    resize: Literal["clean", "legacy"] = "clean"

    @property
    def name(self) -> str:
        return "inception-v3-tf"

    @property
    def resolution(self) -> int:
        return SIZE

    @property
    def width(self) -> int:
        return 2048

    def weights(self) -> tuple[str, ...]:
        return ("inception-v3-tf",)

    @property
    def preprocessing(self) -> str:
        return self.resize

    def load(self, files: tuple[Path, ...]) -> Network:
        fidelity = require("torch_fidelity.feature_extractor_inceptionv3", "metrics")
        # its constructor unpickles what it is given: it gets a copy, made in memory, of tensors that were read safely
        buffer = io.BytesIO()
        torch.save(read_state(files[0]), buffer)
        buffer.seek(0)
        try:
            inner = fidelity.FeatureExtractorInceptionV3(
                "inception-v3-tf", ["2048"], feature_extractor_weights_path=buffer
            )
        except RuntimeError as error:
            raise AssetError(f"{files[0]} does not hold the weights of Inception v3; fetch it again") from error
        return _Layers(inner, self.resize == "legacy")
