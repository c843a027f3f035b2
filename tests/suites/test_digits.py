"""The default suite: its data, its quantisation, its guidance, and how good its teacher must be."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from bench import registry
from bench.metrics.fd import FD
from bench.nets import training
from bench.nets.assets import load_classifier, load_teacher
from bench.nets.optimise import Plan
from bench.nfe import Ledger
from bench.ode import solve
from bench.sampling import Teacher
from bench.suites.digits import Digits


def frechet(a: torch.Tensor, b: torch.Tensor) -> float:
    """Frechet distance of two feature sets by scipy's square root: not the code under test."""
    from scipy.linalg import sqrtm

    x, y = a.double().numpy(), b.double().numpy()
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = np.real(np.asarray(sqrtm(cov_x @ cov_y)))
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cov_x + cov_y - 2 * root))


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return Teacher.load(Digits())


def test_data_are_scikit_learns_digits() -> None:
    reference = Digits().reference()
    pixels, labels = load_digits(return_X_y=True)
    assert torch.equal((reference.samples.view(-1, 64) + 1) * 8, torch.tensor(pixels, dtype=torch.float32))
    assert reference.label is not None and reference.label.tolist() == labels.tolist()


def test_labels_are_equal_counts_and_depend_on_the_index_alone() -> None:
    suite = Digits()
    assert torch.bincount(suite.label(range(2000))).tolist() == [200] * 10
    assert suite.label([13, 7]).tolist() == [3, 7]


def test_samples_are_quantised_once_half_to_even_and_kept_raw() -> None:
    suite = Digits()
    grey = torch.tensor([0.5, 1.5, 2.5, -3.0, 99.0, 7.0])  # in grey levels
    samples = torch.full((1, 1, 8, 8), -1.0)
    samples.view(-1)[: len(grey)] = grey / 8 - 1
    batch = suite.describe(samples, torch.zeros(1, dtype=torch.int64))
    assert ((batch.samples.view(-1)[: len(grey)] + 1) * 8).tolist() == [0, 2, 2, 0, 16, 7]
    assert batch.raw is not None and torch.equal(batch.raw, samples)
    again = suite.describe(batch.samples, torch.zeros(1, dtype=torch.int64))
    assert torch.equal(again.samples, batch.samples)


def test_guidance_is_the_stated_combination_and_counts_two_network_evals() -> None:
    index = [0, 1, 2]
    plain, free, guided = (Teacher.load(Digits(guidance_scale=w)) for w in (1.0, 0.0, 2.5))
    x = guided.initial(0, index) / 40
    ledger = Ledger()
    value = guided.denoiser(index, ledger)(x, 2.0)
    conditional = plain.denoiser(index, Ledger())(x, 2.0)
    unconditional = free.denoiser(index, Ledger())(x, 2.0)
    torch.testing.assert_close(value, unconditional + 2.5 * (conditional - unconditional), atol=1e-5, rtol=0)
    assert not torch.allclose(conditional, unconditional, atol=1e-3)
    assert (ledger.nfe, ledger.network_rows / len(index)) == (1, 2)


def test_teacher_is_the_identity_without_noise(teacher: Teacher) -> None:
    images = Digits().reference().samples[:10]
    denoised = teacher.denoiser(range(10), Ledger())(images, 1e-3)
    torch.testing.assert_close(denoised, images, atol=5e-3, rtol=0)


def test_teacher_generates_digits_at_20_evaluations(teacher: Teacher) -> None:
    """Half-against-half distance of the data is the yardstick: FD <= 1.2 of it, and the classes asked for."""
    suite = teacher.suite
    reference = suite.reference()
    assert reference.features is not None
    solver = registry.create("method", "dpm_solver_pp")
    halves = []
    for seed in range(10):
        order = torch.randperm(len(reference.features), generator=torch.Generator().manual_seed(seed))
        first, second = order.chunk(2)
        halves.append(frechet(reference.features[first], reference.features[second]))
    chunks = [range(start, start + 500) for start in range(0, 2000, 500)]
    made = [suite.describe(teacher.generate(solver, 20, 0, chunk)[0], suite.label(chunk)) for chunk in chunks]
    features = torch.cat([batch.features for batch in made if batch.features is not None])
    right = [(batch.probs.argmax(1) == batch.label) for batch in made if batch.probs is not None]
    distance = frechet(features, reference.features)
    assert distance <= 1.2 * float(np.mean(halves))
    assert float(torch.cat(right).float().mean()) >= 0.97
    fd = FD()
    ours = fd.value(fd.statistics(replace(reference, features=features)), fd.statistics(reference))
    assert ours.value == pytest.approx(distance, rel=1e-6)


def test_shipped_solution_is_the_teachers(teacher: Teacher) -> None:
    suite = Digits()
    shipped = suite.shipped_solution(0, 2000)
    assert shipped is not None
    index = [0, 999, 1999]
    denoise = teacher.denoiser(index, Ledger())
    x = teacher.initial(0, index)
    fine = solve(lambda state, sigma: denoise(state.float(), sigma), x, 80.0, scale=0.05, steps=40)
    assert (shipped[index] - fine).square().mean().sqrt() < 2e-3
    assert suite.shipped_solution(12345, 10) is None
    assert Digits(guidance_scale=2).shipped_solution(0, 10) is None


def test_teacher_and_classifier_can_be_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``bench fit --teacher`` does, in a few steps: whole files that the suite's own loading code takes."""
    few = Plan(steps=2, warm_up=1, batch=8)
    for name, recipe in (("teacher", training.TeacherRecipe(plan=few)), ("classifier", training.ClassifierRecipe(few))):
        monkeypatch.setattr(training, f"train_{name}", partial(getattr(training, f"train_{name}"), recipe=recipe))
    seen: list[tuple[int, int, str]] = []
    Digits().fit_teacher(tmp_path, 0, lambda done, total, message: seen.append((done, total, message)))
    x = torch.zeros(2, 1, 8, 8)
    assert load_teacher(tmp_path / "teacher.safetensors")(x, torch.ones(2), torch.tensor([0, 10])).shape == x.shape
    assert load_classifier(tmp_path / "classifier.safetensors")(x)[0].shape == (2, 64)
    assert seen
