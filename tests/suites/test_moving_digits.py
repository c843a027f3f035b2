"""The video suite: against diffusers as it runs itself, and how good the teacher must be."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from bench.metrics.fd import FD
from bench.nfe import Ledger
from bench.sampling import Teacher
from bench.suites.moving_digits import ASSETS, MovingDigits, features_network
from bench.tiny.digit_clips import digit_images, draw_clips, draw_paths, render

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore")  # third parties'


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return Teacher.load(MovingDigits())


@pytest.fixture(scope="module")
def solution() -> Tensor:
    found = MovingDigits().shipped_solution(0, MovingDigits.samples)
    assert found is not None
    return found


def fd(samples: Tensor) -> float:
    suite, metric = MovingDigits(), FD()
    label = suite.label(range(len(samples)))
    reference = metric.statistics(suite.reference())
    return metric.value(metric.statistics(suite.describe(samples, label)), reference).value


def test_the_shipped_files_are_what_their_record_says() -> None:
    MovingDigits().verify()
    assert sum(path.stat().st_size for path in ASSETS.rglob("*")) < 6 * 2**20


@pytest.mark.parametrize("t", [0.05, 0.5, 0.998])
def test_the_denoiser_is_diffusers_own_transformer(teacher: Teacher, t: float) -> None:
    """Transformer and text encoder called as Wan's pipeline does, and x0 by the flow's definition."""
    import transformers

    suite, index, folder = MovingDigits(), [7, 23], ASSETS / "pipeline"
    transformer = diffusers.WanTransformer3DModel.from_pretrained(
        str(folder / "transformer"), torch_dtype=torch.float32
    )
    encoder = transformers.CLIPTextModel.from_pretrained(str(folder / "text_encoder"), dtype=torch.float32)
    tokenizer = transformers.CLIPTokenizer.from_pretrained(str(folder / "tokenizer"))
    x_t = torch.randn(2, 1, 8, 16, 16, generator=Generator().manual_seed(0))

    def velocity(texts: tuple[str, ...]) -> Tensor:
        tokens = tokenizer(list(texts), padding="max_length", return_tensors="pt").input_ids
        out: Tensor = transformer(x_t, torch.full((2,), 1000 * t), encoder(tokens)[0]).sample
        return out

    with torch.inference_mode():
        free = velocity(("", ""))
        guided = free + suite.guidance_scale * (velocity(suite.prompts(suite.label(index))) - free)
        found = teacher.denoiser(index, Ledger())(x_t / (1 - t), t / (1 - t))
    torch.testing.assert_close(found, x_t - t * guided, atol=2e-4, rtol=1e-4)


def test_the_generic_pipeline_suite_opens_the_folder_and_agrees(teacher: Teacher) -> None:
    from bench.suites.diffusers import Diffusers

    suite = MovingDigits()
    generic = Diffusers(model=str(ASSETS / "pipeline"), guidance_scale=suite.guidance_scale)
    pipeline = generic.open(torch.device("cpu"), torch.float32)
    assert pipeline.shape == suite.shape and pipeline.schedule.sigma_max == MovingDigits.sigma_max
    index = [5, 32]
    x = 3.0 * torch.randn(2, 1, 8, 16, 16, generator=Generator().manual_seed(0))
    with torch.inference_mode():
        conditional = pipeline.denoise(x, 2.0, pipeline.encode(suite.prompts(suite.label(index))))
        unconditional = pipeline.denoise(x, 2.0, pipeline.encode(["", ""]))
        expected = unconditional + suite.guidance_scale * (conditional - unconditional)
        found = teacher.denoiser(index, Ledger())(x, 2.0)
        clips = pipeline.decode(found)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert clips.shape == suite.decode(found).shape
    assert ((clips * 255).round() - suite.decode(found).float()).abs().max() <= 1


def test_clips_are_quantised_once_in_three_equal_channels() -> None:
    suite = MovingDigits()
    samples = torch.full((1, 1, 8, 16, 16), -1.0)
    samples.view(-1)[:5] = torch.tensor([0.4, 0.6, 127.5, -7.0, 300.0]) / 127.5 - 1
    batch = suite.describe(samples, torch.tensor([17]))
    assert batch.clips is not None and batch.clips.shape == (1, 8, 3, 16, 16) and batch.clips.dtype == torch.uint8
    for channel in range(3):
        assert batch.clips[0, 0, channel].flatten()[:5].tolist() == [0, 1, 128, 0, 255]
    assert batch.prompts == ("a bouncing seven",) and batch.label is not None and batch.label.tolist() == [7]


def test_a_grid_shows_the_frames_in_reading_order() -> None:
    samples = torch.arange(8.0).view(1, 1, 8, 1, 1).expand(1, 1, 8, 16, 16) / 4 - 1
    grid = MovingDigits().images(samples)
    assert grid is not None and grid.shape == (1, 1, 32, 64)
    corners = grid[0, 0, ::16, ::16].flatten()
    torch.testing.assert_close(corners, torch.arange(8.0) / 8)


def test_labels_are_even_in_digits_and_wordings() -> None:
    assert torch.bincount(MovingDigits().label(range(MovingDigits.samples))).tolist() == [6] * 40


def test_the_feature_network_reads_digits_it_has_not_seen_move() -> None:
    clips, digit, _ = draw_clips(500, Generator().manual_seed(99), broad=True)
    with torch.inference_mode():
        _, logits = features_network()(clips)
    assert float((logits.argmax(1) == digit).float().mean()) > 0.95


def test_fd_sees_still_shuffled_and_collapsed_clips() -> None:
    """Clips of the same digits that do not move, move in no order, or are ten repeated: all far worse."""
    generator = Generator().manual_seed(5)
    real, _, path = draw_clips(240, generator)
    images, _ = digit_images()
    chosen = torch.randint(20, (240,), generator=generator)
    still = render(images[chosen], path[:, :1].expand(-1, 8, -1))
    order = torch.stack([torch.randperm(8, generator=generator) for _ in range(240)])
    shuffled = render(images[chosen], draw_paths(240, generator).gather(1, order[:, :, None].expand(-1, -1, 2)))
    collapsed = real[:10].repeat(24, 1, 1, 1, 1)
    assert fd(real) < min(fd(still), fd(shuffled), fd(collapsed)) / 1.5


def test_the_shipped_solution_is_the_solvers(teacher: Teacher, solution: Tensor) -> None:
    index = range(3)
    with torch.inference_mode():
        found = MovingDigits().solve(teacher.denoiser(index, Ledger()), teacher.initial(0, index))
    torch.testing.assert_close(found.float(), solution[:3], atol=2e-3, rtol=0)  # of another batch


def test_the_teacher_shows_the_digit_it_is_asked_for(solution: Tensor) -> None:
    suite = MovingDigits()
    batch = suite.describe(solution, suite.label(range(len(solution))))
    assert batch.probs is not None and batch.label is not None
    assert float((batch.probs.argmax(1) == batch.label).float().mean()) > 0.5


def test_a_student_is_trainable_and_starts_as_the_teacher(teacher: Teacher) -> None:
    student = MovingDigits().student(torch.device("cpu")).requires_grad_(True)
    x, sigma, label = torch.randn(2, 1, 8, 16, 16), torch.tensor([1.0, 5.0]), torch.tensor([3, 40])
    torch.testing.assert_close(student(x, sigma, label), teacher.network(x, sigma, label))
    student(x, sigma, label).square().mean().backward()
    assert any(value.grad is not None for value in student.parameters())
