"""Fitting: what it costs, that it can be repeated, and that it leaves nothing half done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench import registry
from bench.api import FitTask, Method, Problem, Unsupported
from bench.artifacts import Artifact
from bench.errors import OutputError
from bench.fit import Fitter, Task
from bench.rng import generator


@pytest.fixture
def toy() -> Any:
    registry.add_path("suite", Path(__file__).parent / "fixtures" / "toy.py")
    return registry.create("suite", "toy")


def fit(suite: Any, out: Path, spec: str, nfe: int, seed: int = 0) -> Artifact:
    return Fitter(suite, out, seed).fit(registry.create("method", spec), registry.parse(spec).name, nfe)


# rows through networks = updates x batch x (forward passes of teacher and student in one update)
COSTS = [
    # two DDIM steps and one student pass; 5 updates, twice as many for the students of 2 and 1 steps
    ("progressive[start=8,steps=5,batch=7]", 4, 5 * 7 * 3, 5 * 7),
    ("progressive[start=8,steps=5,batch=7]", 2, 5 * 7 * 3 + 10 * 7 * 3, 15 * 7),
    ("progressive[start=8,steps=5,batch=7]", 1, 5 * 7 * 3 + 20 * 7 * 3, 25 * 7),
    # Heun's two evaluations, the target and the student
    ("consistency[steps=5,batch=7]", 1, 5 * 7 * 4, 5 * 7),
    ("consistency[mode=ct,steps=5,batch=7]", 2, 5 * 7 * 2, 5 * 7),
    # three batches of pairs at 4 evaluations, then one pass an update; no data
    ("reflow[steps=5,batch=7,pairs=20,solver=ddim,solver_nfe=4]", 2, 21 * 4 + 5 * 7, 0),
    # the same, then three batches of pairs of 6 Euler steps, and one pass an update
    ("reflow[steps=5,batch=7,pairs=20,solver=ddim,solver_nfe=4,flow_nfe=6]", 1, 21 * 4 + 5 * 7 + 21 * 6 + 5 * 7, 0),
]


@pytest.mark.parametrize("spec, nfe, evals, images", COSTS)
def test_the_cost_is_what_one_counts_by_hand(
    tmp_path: Path, toy: Any, spec: str, nfe: int, evals: int, images: int
) -> None:
    meta = fit(toy, tmp_path, spec, nfe).meta
    assert (meta.fit_evals, meta.fit_images) == (evals, images)
    assert meta.fit_seconds >= 0


def test_guidance_doubles_the_evaluations(tmp_path: Path, toy: Any) -> None:
    guided = registry.create("suite", "toy[guidance_scale=2]")
    assert fit(guided, tmp_path, "consistency[steps=5,batch=7]", 1).meta.fit_evals == 2 * 5 * 7 * 4


def test_an_artifact_names_the_one_it_started_from_and_its_time(tmp_path: Path, toy: Any) -> None:
    spec = "progressive[start=4,steps=5,batch=7]"
    two = fit(toy, tmp_path, spec, 2)
    one = fit(toy, tmp_path, spec, 1)
    assert two.meta.base == "" and one.meta.base == two.sha256
    assert one.meta.fit_seconds >= two.meta.fit_seconds
    assert one.meta.command == f"bench fit --suite toy --methods '{one.meta.method}' --nfe 1 --seed 0"
    assert one.meta.params["steps"] == "5" and one.meta.params["grid"] == "karras"


@pytest.mark.parametrize(
    "spec",
    [
        "progressive[start=4,steps=10,batch=7,rate=0.05]",
        "consistency[steps=10,batch=7,rate=0.05]",
        "consistency[mode=ct,steps=10,batch=7,rate=0.05]",
        "reflow[steps=10,batch=7,rate=0.05,pairs=20,solver=ddim,solver_nfe=4]",
    ],
)
def test_the_same_seed_gives_the_same_bits_and_another_does_not(tmp_path: Path, toy: Any, spec: str) -> None:
    first, again, other = (fit(toy, tmp_path / str(i), spec, 1, seed).sha256 for i, seed in enumerate((0, 0, 1)))
    assert first == again != other


def test_what_was_fitted_before_does_not_matter(tmp_path: Path, toy: Any) -> None:
    """Directly, or starting from an artifact of an earlier call: the same bits and the same cost."""
    spec = "progressive[start=8,steps=5,batch=7]"
    for nfe in (4, 2):
        fit(toy, tmp_path / "a", spec, nfe)
    earlier, direct = fit(toy, tmp_path / "a", spec, 1), fit(toy, tmp_path / "b", spec, 1)
    assert earlier.sha256 == direct.sha256
    assert earlier.meta.fit_evals == direct.meta.fit_evals
    names = [path.stem for path in sorted((tmp_path / "b").rglob("*.safetensors"))]
    assert names == ["nfe1", "nfe2", "nfe4"]


def test_the_global_generator_is_left_alone(tmp_path: Path, toy: Any) -> None:
    before = torch.get_rng_state()
    fit(toy, tmp_path, "consistency[steps=5,batch=7]", 1)
    assert torch.equal(before, torch.get_rng_state())


def test_an_artifact_of_another_seed_or_a_damaged_one_counts_as_missing(tmp_path: Path, toy: Any) -> None:
    method = registry.create("method", "consistency[steps=2,batch=4]")
    made = Fitter(toy, tmp_path, 0).fit(method, "consistency", 1)
    assert Fitter(toy, tmp_path, 0).existing(method, "consistency", 4) == made
    assert Fitter(toy, tmp_path, 1).existing(method, "consistency", 1) is None
    made.path.write_bytes(b"")
    assert Fitter(toy, tmp_path, 0).existing(method, "consistency", 1) is None
    assert Fitter(toy, tmp_path, 0).fit(method, "consistency", 1).sha256 == made.sha256


def test_ctrl_c_leaves_nothing(tmp_path: Path, toy: Any) -> None:
    def interrupt(done: int, total: int, message: str) -> None:
        raise KeyboardInterrupt

    method = registry.create("method", "consistency[steps=2,batch=4]")
    with pytest.raises(KeyboardInterrupt):
        Fitter(toy, tmp_path, 0, interrupt).fit(method, "consistency", 1)
    assert list(tmp_path.rglob("*")) == []


def test_progress_names_the_artifact_and_reaches_the_end(tmp_path: Path, toy: Any) -> None:
    seen: list[tuple[int, int, str]] = []
    method = registry.create("method", "progressive[start=4,steps=5,batch=7]")
    Fitter(toy, tmp_path, 0, lambda *report: seen.append(report)).fit(method, "progressive", 1)
    assert [(done, total, message.split()[0]) for done, total, message in seen] == [(10, 10, "nfe2"), (10, 10, "nfe1")]


def test_a_method_with_nothing_to_fit_is_unsupported(tmp_path: Path, toy: Any) -> None:
    with pytest.raises(Unsupported, match="this method has nothing to fit"):
        fit(toy, tmp_path, "ddim", 1)


def test_an_unwritable_folder_is_an_output_error(tmp_path: Path, toy: Any) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        fit(toy, tmp_path / "file", "consistency[steps=1,batch=2]", 1)


class Circular(Method):
    """Starts from itself."""

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        raise NotImplementedError

    def artifact_name(self, nfe: int) -> str:
        return "same"

    def fit(self, task: FitTask, nfe: int) -> dict[str, Tensor]:
        return dict(task.artifact(2 * nfe))


def test_an_artifact_cannot_start_from_itself(tmp_path: Path, toy: Any) -> None:
    with pytest.raises(ValueError, match="cannot start from itself"):
        Fitter(toy, tmp_path).fit(Circular(), "circular", 1)


def task(suite: Any) -> Task:
    def other(nfe: int) -> Artifact:
        raise AssertionError

    return Task(suite, generator("test"), other)


def test_data_are_training_samples_with_their_labels_bound(toy: Any) -> None:
    """The mean of the bound class, which a network that ignores x returns, is the one nearest to most samples."""
    job = task(toy)
    batch = job.data(500)
    images, _ = toy.training_data()
    assert all((images == row).all(1).any() for row in batch.x[:20])
    means = job.student().mean
    bound = batch.bind(lambda x, sigma, label: means[label])(batch.x, 1.0)
    errors = (
        (batch.x - bound).square().mean(),
        (batch.x - means[[1, 0]][(bound == means[1]).all(1).long()]).square().mean(),
    )
    assert float(errors[0]) == pytest.approx(0.25, abs=0.05) and float(errors[1]) > 0.5
    assert job.images == 500


def test_noise_has_the_scale_of_sigma_max_and_the_suites_conditioning(toy: Any) -> None:
    job = task(toy)
    batch = job.noise(2000)
    assert float(batch.x.std()) == pytest.approx(80, rel=0.03)
    label = batch.bind(lambda x, sigma, label: label.float())(batch.x, 1.0)
    assert float(label.mean()) == pytest.approx(0.5, abs=0.05)
    assert job.images == 0


def test_a_student_is_trainable_and_the_teacher_is_not(toy: Any) -> None:
    job = task(toy)
    network = job.student()
    batch = job.data(4)
    assert all(weight.requires_grad for weight in network.parameters())
    assert batch.bind(network)(batch.x, 1.0).requires_grad and not batch.denoise(batch.x, 1.0).requires_grad
