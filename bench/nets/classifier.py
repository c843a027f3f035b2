"""The classifier whose penultimate layer is the feature space of the digits suite."""

from torch import Tensor, nn
from torch.nn import functional as F

FEATURES = 64


class DigitsCNN(nn.Module):
    """Four convolutions and two linear layers for 8x8 images.

    No normalisation layer: a normalised network would be blind to loss of contrast, which is what
    an averaged digit looks like. The features are taken before their non-linearity: no unit can be dead, and
    a Frechet distance, which sees means and covariances only, fits them better.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(1, 24, 3, padding=1), nn.SiLU(), nn.Conv2d(24, 32, 3, padding=1), nn.SiLU())
        self.coarse = nn.Sequential(
            nn.Conv2d(32, 64, 3, padding=1), nn.SiLU(), nn.Conv2d(64, 64, 3, padding=1), nn.SiLU()
        )
        self.features = nn.Linear(64 * 4 * 4, FEATURES)
        self.logits = nn.Linear(FEATURES, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, 1, 8, 8) in [-1, 1] -> features (B, 64), logits (B, classes)."""
        h = self.coarse(F.avg_pool2d(self.fine(x), 2))  # (B, 64, 4, 4)
        features = self.features(h.flatten(1))
        return features, self.logits(F.silu(features))
