"""The text-to-image suite: against diffusers and open-clip as they run themselves, and how good the teacher must be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from bench import registry
from bench.metrics.fd import FD
from bench.nfe import Ledger
from bench.sampling import Teacher
from bench.suites.tiny_t2i import ASSETS, TinyT2I, judge
from bench.tiny.captions import CIFAR_CLASSES
from bench.tiny.network import load_part
from bench.tiny.schedules import SCHEDULE, alpha_bars

diffusers = pytest.importorskip("diffusers")
open_clip = pytest.importorskip("open_clip")
pytestmark = pytest.mark.filterwarnings("ignore")  # third parties'


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return Teacher.load(TinyT2I())


@pytest.fixture(scope="module")
def solution() -> Iterator[Tensor]:
    found = TinyT2I().shipped_solution(0, TinyT2I.samples)
    assert found is not None
    yield found


def test_the_shipped_files_are_what_their_record_says() -> None:
    TinyT2I().verify()
    assert sum(path.stat().st_size for path in ASSETS.rglob("*")) < 12 * 2**20


def test_the_process_is_diffusers_table_bit_for_bit() -> None:
    scheduler = diffusers.DDIMScheduler.from_pretrained(str(ASSETS / "pipeline" / "scheduler"))
    assert torch.equal(scheduler.alphas_cumprod, alpha_bars())
    assert all(scheduler.config[name] == value for name, value in SCHEDULE.items())
    bars = alpha_bars().double()
    sigma = TinyT2I.process.sigma(torch.arange(1000, dtype=torch.float64))
    torch.testing.assert_close(sigma, ((1 - bars) / bars).sqrt(), rtol=1e-9, atol=0)


@pytest.mark.parametrize("step", [0, 250, 999])
def test_the_denoiser_is_diffusers_own_prediction_of_x0(teacher: Teacher, step: int) -> None:
    """The U-Net and the text encoder called as a user of diffusers would, and DDIM's ``pred_original_sample``."""
    import transformers

    suite, index = TinyT2I(), [0, 13, 79]
    prompts = suite.prompts(suite.label(index))
    folder = ASSETS / "pipeline"
    unet = diffusers.UNet2DConditionModel.from_pretrained(str(folder / "unet"), torch_dtype=torch.float32)
    encoder = transformers.CLIPTextModel.from_pretrained(str(folder / "text_encoder"), dtype=torch.float32)
    tokenizer = transformers.CLIPTokenizer.from_pretrained(str(folder / "tokenizer"))
    scheduler = diffusers.DDIMScheduler.from_pretrained(str(folder / "scheduler"))
    scheduler.set_timesteps(1000)
    x_t = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(step))

    def states(texts: list[str]) -> Tensor:
        tokens = tokenizer(texts, padding="max_length", return_tensors="pt").input_ids
        hidden: Tensor = encoder(tokens)[0]
        return hidden

    with torch.inference_mode():
        conditional = unet(x_t, step, states(list(prompts))).sample
        unconditional = unet(x_t, step, states([""] * 3)).sample
        output = unconditional + suite.guidance_scale * (conditional - unconditional)
        expected = scheduler.step(output, step, x_t).pred_original_sample
        bar = alpha_bars()[step].double()
        sigma = float(((1 - bar) / bar).sqrt())
        found = teacher.denoiser(index, Ledger())((x_t / bar.sqrt()).float(), sigma)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


def test_the_generic_pipeline_suite_opens_the_folder_and_agrees(teacher: Teacher) -> None:
    from bench.suites.diffusers import Diffusers

    suite = TinyT2I()
    generic = Diffusers(model=str(ASSETS / "pipeline"), guidance_scale=suite.guidance_scale)
    pipeline = generic.open(torch.device("cpu"), torch.float32)
    index = [5, 42]
    prompts = suite.prompts(suite.label(index))
    x = 3.0 * torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        conditional = pipeline.denoise(x, 2.0, pipeline.encode(prompts))
        unconditional = pipeline.denoise(x, 2.0, pipeline.encode(["", ""]))
        expected = unconditional + suite.guidance_scale * (conditional - unconditional)
        found = teacher.denoiser(index, Ledger())(x, 2.0)
        pictures = pipeline.decode(found)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert (pipeline.schedule.sigma_min, pipeline.schedule.sigma_max) == (TinyT2I.sigma_min, TinyT2I.sigma_max)
    assert ((pictures * 255).round() - suite.decode(found).float()).abs().max() <= 1


def test_the_judge_is_what_open_clip_makes_of_the_folder() -> None:
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{ASSETS / 'clip'}", precision="fp32")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{ASSETS / 'clip'}")
    texts = (*TinyT2I.captions, "a zeppelin over the lake")
    images = torch.randint(256, (5, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    with torch.inference_mode():
        expected = model.eval().encode_text(tokenizer(list(texts)), normalize=True)
        pictures = model.encode_image(
            torch.stack([transform(Image.fromarray(image.permute(1, 2, 0).numpy())) for image in images]),
            normalize=True,
        )
    torch.testing.assert_close(judge().embed_texts(texts), expected, atol=1e-5, rtol=0)
    cosine = (judge().embed_images(images) * pictures).sum(1)
    assert float(cosine.min()) > 0.99, "Pillow rounds to 8 bits after it has enlarged; nothing else differs"


def test_labels_are_even_in_classes_and_wordings() -> None:
    suite = TinyT2I()
    assert torch.bincount(suite.label(range(TinyT2I.samples))).tolist() == [3] * 80
    for label, prompt in enumerate(suite.prompts(torch.arange(80))):
        assert CIFAR_CLASSES[label % 10] in prompt


def test_a_picture_is_quantised_once() -> None:
    suite = TinyT2I()
    samples = torch.zeros(1, 3, 16, 16)  # 0 is 127.5 levels, which goes to the even one
    samples.view(-1)[:260] = torch.tensor([*range(256), 0.4, 0.6, -7.0, 300.0]) / 127.5 - 1
    batch = suite.describe(samples, torch.tensor([11]))
    assert batch.images is not None and batch.images.dtype == torch.uint8
    assert batch.images.view(-1)[:261].tolist() == [*range(256), 0, 1, 0, 255, 128]
    assert batch.prompts == ("a picture of an automobile",) and batch.label is not None and batch.label.tolist() == [1]
    again = suite.describe(batch.samples, torch.tensor([11]))
    assert again.images is not None and torch.equal(again.images, batch.images)


def test_no_number_depends_on_the_batch() -> None:
    suite = TinyT2I()
    samples = torch.rand(7, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    label = suite.label(range(7))
    whole = suite.describe(samples, label)
    parts = [suite.describe(samples[i : i + 1], label[i : i + 1]) for i in range(7)]
    assert whole.features is not None
    torch.testing.assert_close(
        whole.features, torch.cat([part.features for part in parts if part.features is not None]), atol=1e-4, rtol=1e-4
    )


def test_a_full_pass_in_parts_is_the_forward_pass(teacher: Teacher) -> None:
    network, label = teacher.network, torch.tensor([0, 80])
    x, sigma = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([1.0, 1.0])
    with torch.inference_mode():
        whole = network(x, sigma, label)
        parts = network.partial(x, sigma, label, {}, "full")  # type: ignore[attr-defined]
    torch.testing.assert_close(parts, whole)


def test_a_student_is_trainable_and_starts_as_the_teacher(teacher: Teacher) -> None:
    student = TinyT2I().student(torch.device("cpu")).requires_grad_(True)
    x, sigma, label = torch.randn(2, 3, 16, 16), torch.tensor([1.0, 5.0]), torch.tensor([3, 80])
    torch.testing.assert_close(student(x, sigma, label), teacher.network(x, sigma, label))
    student(x, sigma, label).square().mean().backward()
    assert all(value.grad is not None for value in student.parameters())
    assert not any(name.startswith("table") for name in student.state_dict())


def test_the_shipped_solution_is_the_solvers(teacher: Teacher, solution: Tensor) -> None:
    index = range(3)
    with torch.inference_mode():
        found = TinyT2I().solve(teacher.denoiser(index, Ledger()), teacher.initial(0, index))
    torch.testing.assert_close(found.float(), solution[:3], atol=2e-3, rtol=0)  # of another batch
    assert TinyT2I(guidance_scale=1.0).shipped_solution(0, 10) is None
    assert TinyT2I().shipped_solution(1, 10) is None


def test_pictures_fit_their_captions_far_better_than_others(solution: Tensor) -> None:
    """The issue's bar: ten standard errors above shuffled captions at the default number of samples."""
    suite = TinyT2I()
    batch = suite.describe(solution, suite.label(range(len(solution))))
    metric = registry.create("metric", "clip_score[model=suite]")
    found = metric.value(metric.statistics(batch), None)
    image, text = batch.extracted["clip"]
    torch.testing.assert_close(found.value, float(100 * (image.double() * text.double()).sum(1).mean()))
    own = (image * text).sum(1)
    other = (image * text.roll(1, 0)).sum(1)  # sample i + 1 is of another class
    margin = own - other
    assert float(margin.mean() / (margin.std() / len(margin) ** 0.5)) > 10
    assert found.detail["above_shuffled"] > 10


def test_the_judge_tells_noise_and_blur_from_data(solution: Tensor) -> None:
    suite, metric = TinyT2I(), FD()
    label = suite.label(range(len(solution)))
    reference = metric.statistics(suite.reference())

    def fd(samples: Tensor) -> float:
        return metric.value(metric.statistics(suite.describe(samples, label)), reference).value

    noise = torch.randn(solution.shape, generator=torch.Generator().manual_seed(0)) * 0.5
    blurred = F.interpolate(F.avg_pool2d(solution, 4), scale_factor=4.0)
    collapsed = solution[:10].repeat(len(solution) // 10, 1, 1, 1)
    assert fd(solution) < min(fd(noise), fd(blurred), fd(collapsed)) / 1.2


def test_a_part_that_is_missing_is_a_sentence() -> None:
    from bench.errors import AssetError

    with pytest.raises(AssetError, match="restore"):
        load_part(ASSETS / "nowhere", "unet")
