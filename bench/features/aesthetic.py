"""LAION's aesthetic predictor: a small head on the image embedding of OpenAI's CLIP ViT-L/14.

The head is the one of ``sac+logos+ava1-l14-linearMSE.pth`` (christophschuhmann/improved-aesthetic-predictor): five
linear layers with nothing between them but dropout. It was fitted to embeddings of OpenAI's own half-precision model;
here they are float32. Unverified against the real weights, which this was developed without.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from bench.errors import AssetError
from bench.features.base import Extractor, Network
from bench.features.clip import ClipNetwork, OpenClip
from bench.features.state import read_state

WIDTHS = (1024, 128, 64, 16, 1)
DROPOUT = (0.2, 0.2, 0.1)


def head(width: int) -> nn.Sequential:
    """The layers under the authors' numbers; dropout does nothing, but it counts."""
    layers: list[nn.Module] = []
    for place, out in enumerate(WIDTHS):
        layers.append(nn.Linear(width, out))
        if place < len(DROPOUT):
            layers.append(nn.Dropout(DROPOUT[place]))
        width = out
    return nn.Sequential(*layers)


class _Scored(Network):
    def __init__(self, clip: ClipNetwork, layers: nn.Sequential) -> None:
        super().__init__()
        self.clip = clip
        self.layers = layers

    def prepare(self, images: Tensor) -> Tensor:
        return self.clip.prepare(images)

    def forward(self, prepared: Tensor) -> dict[str, Tensor]:
        return {"score": self.layers(self.clip(prepared)["features"])}


class Aesthetic(Extractor):
    """A score of about 1 to 10 for a picture, whatever it shows."""

    outputs = ("score",)
    packages: ClassVar[tuple[str, ...]] = ("open_clip",)

    @property
    def name(self) -> str:
        return "aesthetic-sac-logos-ava1-l14-linear"

    @property
    def resolution(self) -> int:
        return 224

    def weights(self) -> tuple[str, ...]:
        return (self.name, *OpenClip().weights())

    @property
    def preprocessing(self) -> str:
        return "own"

    def load(self, files: tuple[Path, ...]) -> Network:
        state = {key.removeprefix("layers."): value for key, value in read_state(files[0]).items()}
        try:
            layers = head(state["0.weight"].shape[1])
            layers.load_state_dict(state)
        except (KeyError, RuntimeError) as error:
            raise AssetError(f"{files[0]} does not hold the aesthetic predictor's head; fetch it again") from error
        return _Scored(OpenClip().load(files[1:]), layers)
