"""FID, KID and the Inception score against torchmetrics' and clean-fid's own, fed with the same features in batches."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from bench import registry
from bench.batch import Batch

WIDTH = 24


class AsTheyAre(nn.Module):
    """A network whose pictures are features already."""

    num_features = WIDTH

    def forward(self, rows: Tensor) -> Tensor:
        return rows


def features(n: int, seed: int, scale: float = 1.0) -> Tensor:
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((WIDTH, WIDTH)) * np.logspace(0, -1, WIDTH)
    return torch.from_numpy(scale * rng.standard_normal((n, WIDTH)) @ mix + 0.2).float()


X, Y = features(300, 0, 1.1), features(250, 1)


def ours(name: str, x: Tensor, y: Tensor | None, size: int) -> float:
    metric = registry.create("metric", name)
    parts = [metric.statistics(Batch(part, features=part, probs=part.double().softmax(1))) for part in x.split(size)]
    found = parts[0]
    for part in parts[1:]:
        found = found + part
    reference = None if y is None else metric.statistics(Batch(y, features=y))
    value: float = metric.value(found, reference).value
    return value


@pytest.mark.parametrize("size", [300, 32, 7])
def test_fid_is_torchmetrics(size: int) -> None:
    theirs = FrechetInceptionDistance(feature=AsTheyAre()).set_dtype(torch.float64)
    for rows, real in ((X, False), (Y, True)):
        for part in rows.split(50):
            theirs.update(part, real=real)
    assert ours("fd", X, Y, size) == pytest.approx(float(theirs.compute()), rel=1e-6)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save:UserWarning")
@pytest.mark.parametrize("size", [250, 32, 7])
def test_kid_is_torchmetrics_with_subsets_of_all(size: int) -> None:
    theirs = KernelInceptionDistance(feature=AsTheyAre(), subsets=2, subset_size=250)
    theirs.update(X[:250].double(), real=False)
    theirs.update(Y.double(), real=True)
    assert ours("kid", X[:250], Y, size) == pytest.approx(float(theirs.compute()[0]), rel=1e-6)


@pytest.mark.filterwarnings("ignore:Metric `InceptionScore` will save:UserWarning")
@pytest.mark.filterwarnings(r"ignore:std\(\). degrees of freedom:UserWarning")  # their spread over one split
@pytest.mark.parametrize("size", [300, 32, 7])
def test_inception_score_is_torchmetrics_in_one_split(size: int) -> None:
    theirs = InceptionScore(feature=AsTheyAre(), splits=1)
    for part in X.double().split(50):
        theirs.update(part)
    assert ours("inception_score", X, None, size) == pytest.approx(float(theirs.compute()[0]), rel=1e-6)


def test_fid_and_kid_are_clean_fids(monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports
        from cleanfid import fid as theirs

    root = theirs.linalg.sqrtm
    monkeypatch.setattr(theirs.linalg, "sqrtm", lambda a, disp=True: (root(a), None))  # scipy 1.18 has no disp
    (mu, sigma), (other, covariance) = (
        (z.mean(0), np.cov(z, rowvar=False)) for z in (X.double().numpy(), Y.double().numpy())
    )
    assert ours("fd", X, Y, 32) == pytest.approx(theirs.frechet_distance(mu, sigma, other, covariance), rel=1e-6)
    x, y = X[:250].double().numpy(), Y.double().numpy()
    # subsets of all rows: the order they are drawn in changes no sum
    assert ours("kid", X[:250], Y, 32) == pytest.approx(theirs.kernel_distance(x, y, num_subsets=2), rel=1e-6)
