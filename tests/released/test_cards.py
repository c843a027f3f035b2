"""Our samples against the pipelines of diffusers, run as the model cards say: same weights, noise and prompts."""

from __future__ import annotations

import copy
import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.registry import load
from bench.released.checkpoint import Checkpoint

pytest.importorskip("peft")
pytest.importorskip("diffusers")
sys.path.insert(0, str(Path(__file__).parent))
import diffusers
import repositories as made

XL, SD, SD3 = "StableDiffusionXLPipeline", "StableDiffusionPipeline", "StableDiffusion3Pipeline"
SCHEDULERS = ("lcm", "tcd", "euler_ancestral_discrete", "scm", "consistency_models")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("released")


@pytest.fixture(autouse=True)
def here(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_RELEASED", str(root))


def card_of(name: str) -> Checkpoint:
    found: Checkpoint = load("method", name).checkpoint
    return found


def ours(name: str, nfe: int, kind: str) -> Tensor:
    with made.tiny.quiet():
        return made.teacher(kind).generate(load("method", name)(), nfe, 0, range(2))[0]


def theirs(pipe: Any, kind: str, patch: pytest.MonkeyPatch, **call: Any) -> Any:
    """The pipeline's own loop from our noise; what it draws later is what our method drew."""
    teacher = made.teacher(kind)
    eps = teacher.initial(0, range(2)) / teacher.suite.sigma_max
    fresh = teacher._noise(0, range(2), "method")
    for name in SCHEDULERS:
        module = importlib.import_module(f"diffusers.schedulers.scheduling_{name}")
        patch.setattr(module, "randn_tensor", lambda *args, **named: fresh.normal())
    size = {k: v for k, v in vars(made.settings(kind)).items() if k in ("height", "width") and v}
    pipe.set_progress_bar_config(disable=True)
    with made.tiny.quiet(), torch.inference_mode():
        if kind == "ConsistencyModelPipeline":
            labels = torch.tensor([0, 1])
            return pipe(batch_size=2, class_labels=labels, latents=eps, output_type="pt", **call).images
        return pipe(list(made.PROMPTS), latents=eps, output_type="latent", **size, **call)[0]


def fresh_pipe(kind: str) -> Any:
    return copy.deepcopy(made.base(kind))


def whole(pipe: Any, file: Path) -> None:
    """``load_state_dict(load_file(...))`` or ``from_pretrained``, as the cards do."""
    from safetensors.torch import load_file

    if file.is_dir():
        network = type(made.denoiser(pipe)).from_pretrained(file, use_safetensors=True)
        setattr(pipe, "unet" if hasattr(pipe, "unet") else "transformer", network)
    else:
        made.denoiser(pipe).load_state_dict(load_file(file))


LCM = {"scheduler": "LCMScheduler"}
EULER = {"scheduler": "EulerDiscreteScheduler", "timestep_spacing": "trailing"}
DDIM = {"scheduler": "DDIMScheduler", "timestep_spacing": "trailing", "set_alpha_to_one": False, "clip_sample": False}
TCD = {"scheduler": "TCDScheduler"}
FLOW = {"scheduler": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
ANCESTRAL = {"scheduler": "EulerAncestralDiscreteScheduler", "timestep_spacing": "trailing"}
CARDS: list[tuple[str, int, str, dict[str, Any], dict[str, Any]]] = [
    ("lcm_dreamshaper", 4, SD, LCM, {"guidance_scale": 8.0}),
    ("lcm_sdxl", 4, XL, LCM, {"guidance_scale": 8.0}),
    ("lcm_lora_sd15", 4, SD, LCM, {"guidance_scale": 0}),
    ("lcm_lora_sdxl", 2, XL, LCM, {"guidance_scale": 1.0}),
    ("tcd_lora_sdxl", 4, XL, TCD, {"guidance_scale": 0, "eta": 0.3}),
    ("tcd_lora_sd15", 2, SD, TCD, {"guidance_scale": 0, "eta": 0.3}),
    ("sd_turbo", 1, SD, EULER, {"guidance_scale": 0.0}),
    ("sd_turbo", 4, SD, EULER, {"guidance_scale": 0.0}),
    ("sdxl_turbo", 1, XL, ANCESTRAL, {"guidance_scale": 0.0}),
    ("sdxl_turbo", 4, XL, ANCESTRAL, {"guidance_scale": 0.0}),
    ("sdxl_lightning", 2, XL, EULER, {"guidance_scale": 0}),
    ("sdxl_lightning", 8, XL, EULER, {"guidance_scale": 0}),
    ("sdxl_lightning_1step", 1, XL, {**EULER, "prediction_type": "sample"}, {"guidance_scale": 0}),
    ("sdxl_lightning_lora", 4, XL, EULER, {"guidance_scale": 0}),
    ("hyper_sdxl_unet", 1, XL, LCM, {"guidance_scale": 0, "timesteps": [800]}),
    ("hyper_sdxl_lora", 2, XL, DDIM, {"guidance_scale": 0}),
    ("hyper_sd15_lora", 8, SD, DDIM, {"guidance_scale": 0}),
    ("hyper_sdxl_unified", 1, XL, TCD, {"guidance_scale": 0, "eta": 1.0}),
    ("hyper_sd15_unified", 4, SD, TCD, {"guidance_scale": 0, "eta": 1.0}),
    ("dmd2_sdxl", 4, XL, LCM, {"guidance_scale": 0, "timesteps": [999, 749, 499, 249]}),
    ("dmd2_sdxl_1step", 1, XL, LCM, {"guidance_scale": 0, "timesteps": [399]}),
    ("dmd2_sdxl_lora", 4, XL, LCM, {"guidance_scale": 0, "timesteps": [999, 749, 499, 249]}),
    ("sd35_large_turbo", 4, SD3, FLOW, {"guidance_scale": 0.0}),
    ("hyper_sd3_lora", 4, SD3, FLOW, {"guidance_scale": 3.0, "scale": 0.125}),
    ("flux_schnell", 4, "FluxPipeline", {**FLOW, "shift": 1.0}, {"guidance_scale": 0.0}),
    ("flux_schnell", 1, "FluxPipeline", {**FLOW, "shift": 1.0}, {"guidance_scale": 0.0}),
    ("animatediff_lightning", 4, "AnimateDiffPipeline", {**EULER, "beta_schedule": "linear"}, {"guidance_scale": 1.0}),
    ("pixart_lcm", 4, "PixArtAlphaPipeline", LCM, {"guidance_scale": 0}),
    ("flash_sd", 4, SD, {**LCM, "timestep_spacing": "trailing"}, {"guidance_scale": 0}),
    ("flash_sdxl", 4, XL, LCM, {"guidance_scale": 0}),
    ("pcm_sd15_smallcfg", 4, SD, DDIM, {"guidance_scale": 1.0}),
    ("pcm_sdxl_normalcfg", 4, XL, DDIM, {"guidance_scale": 3.0}),
]


def as_the_card_says(name: str, nfe: int, kind: str, scheduler: dict[str, Any], folder: Path, scale: float) -> Any:
    card = card_of(name)
    pipe = fresh_pipe(kind)
    file = folder / card.file(nfe)
    file = file if file.exists() else file.with_suffix(".safetensors")
    with made.tiny.quiet():
        if card.kind == "lora":
            pipe.load_lora_weights(str(file.parent), weight_name=file.name)
            pipe.fuse_lora(lora_scale=scale)
        elif card.kind == "motion":
            from safetensors.torch import load_file

            assert not pipe.unet.load_state_dict(load_file(file), strict=False).unexpected_keys
        else:
            whole(pipe, file)
        options = {k: v for k, v in scheduler.items() if k != "scheduler"}
        made_by = getattr(diffusers, scheduler["scheduler"])
        flow = "shift" in scheduler
        pipe.scheduler = made_by(**options) if flow else made_by.from_config(pipe.scheduler.config, **options)
    return pipe


@pytest.mark.parametrize(("name", "nfe", "kind", "scheduler", "call"), CARDS, ids=lambda value: str(value)[:24])
def test_latents_are_the_pipelines_own(
    name: str, nfe: int, kind: str, scheduler: Any, call: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made.repository(card_of(name), root, kind)
    call = dict(call)
    scale = call.pop("scale", 1.0)
    assert card_of(name).lora_scale == scale
    pipe = as_the_card_says(name, nfe, kind, scheduler, folder, scale)
    if kind == "AnimateDiffPipeline":
        call["num_frames"] = 2
    if kind == "PixArtAlphaPipeline":
        call |= {"use_resolution_binning": False, "clean_caption": False}
    if "timesteps" not in call:
        call["num_inference_steps"] = nfe
    expected = theirs(pipe, kind, monkeypatch, **call)
    found = ours(name, nfe, kind)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) < 1e-4 * max(1.0, float(expected.std()))


def test_hyper_flux_at_the_shift_of_its_resolution(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made.repository(card_of("hyper_flux_lora"), root, "FluxPipeline")
    shift = {"shift": 1.0, "use_dynamic_shifting": True, "base_shift": 1.15, "max_shift": 1.15}
    scheduler = {"scheduler": "FlowMatchEulerDiscreteScheduler", **shift}
    pipe = as_the_card_says("hyper_flux_lora", 8, "FluxPipeline", scheduler, folder, 0.125)
    expected = theirs(pipe, "FluxPipeline", monkeypatch, num_inference_steps=8, guidance_scale=3.5)
    found = ours("hyper_flux_lora", 8, "FluxPipeline")
    assert float((found - expected).abs().max()) < 1e-4 * max(1.0, float(expected.std()))


@pytest.mark.parametrize("nfe", [1, 2])
def test_sana_sprint(nfe: int, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made.repository(card_of("sana_sprint_1_6b"), root, "SanaPipeline")
    base = made.base("SanaPipeline")
    network = type(base.transformer).from_pretrained(folder / "transformer")
    text = base.tokenizer, base.text_encoder
    pipe = diffusers.SanaSprintPipeline(*text, base.vae, network, diffusers.SCMScheduler())
    options = {"use_resolution_binning": False, "clean_caption": False}
    if nfe == 1:
        options["intermediate_timesteps"] = None
    expected = theirs(pipe, "SanaPipeline", monkeypatch, num_inference_steps=nfe, guidance_scale=4.5, **options)
    found = ours("sana_sprint_1_6b", nfe, "SanaPipeline")
    assert float((found - expected).abs().max()) < 1e-4 * max(1.0, float(expected.std()))


@pytest.mark.parametrize(("name", "nfe", "steps"), [("cd_imagenet64_l2", 1, None), ("cd_imagenet64_l2", 2, [22, 0])])
def test_consistency_models(
    name: str, nfe: int, steps: list[int] | None, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = "ConsistencyModelPipeline"
    folder = made.repository(card_of(name), root, kind)
    pipe = fresh_pipe(kind)
    whole(pipe, folder / "unet")
    call: dict[str, Any] = {"timesteps": steps} if steps else {"num_inference_steps": 1}
    expected = theirs(pipe, kind, monkeypatch, **call)
    found = made.teacher(kind).network.pipeline.decode(ours(name, nfe, kind))
    assert float((found - expected).abs().max()) < 1e-5


class Shifted(diffusers.LCMScheduler):  # type: ignore[misc]
    """As the authors': the loop and ``step`` see a share of each time step; fresh noise is that of the whole next."""

    share = 1.0

    def set_timesteps(self, *args: Any, **named: Any) -> None:
        super().set_timesteps(*args, **named)
        self.whole, self.timesteps = self.timesteps, (self.timesteps * self.share).long()

    def step(self, output: Tensor, timestep: Any, sample: Tensor, **named: Any) -> Any:
        if self.step_index is None:
            self._init_step_index(timestep)
        seen, self.timesteps = self.timesteps, self.whole
        found = super().step(output, timestep, sample, **named)
        self.timesteps = seen
        return found


@pytest.mark.parametrize("nfe", [1, 2, 4])
@pytest.mark.parametrize(("name", "share"), [("nitrosd_realism", 0.25), ("nitrosd_vibrant", 0.5)])
def test_nitrofusion_shifts_the_time_step(
    name: str, share: float, nfe: int, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made.repository(card_of(name), root, XL)
    pipe = fresh_pipe(XL)
    whole(pipe, folder / card_of(name).file(nfe))
    pipe.scheduler = Shifted.from_config(pipe.scheduler.config, original_inference_steps=4)
    pipe.scheduler.share = share
    expected = theirs(pipe, XL, monkeypatch, num_inference_steps=nfe, guidance_scale=0)
    assert tuple(pipe.scheduler.whole.tolist()) == card_of(name).timesteps[nfe]
    found = ours(name, nfe, XL)
    assert float((found - expected).abs().max()) < 1e-4 * max(1.0, float(expected.std()))


def test_tdm_runs_dpm_solver(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made.repository(card_of("tdm_sd3_lora"), root, SD3)
    flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 6.0}
    pipe = fresh_pipe(SD3)
    with made.tiny.quiet():
        file = folder / card_of("tdm_sd3_lora").file(4)
        pipe.load_lora_weights(str(file.parent), weight_name=file.name)
        pipe.fuse_lora(lora_scale=0.125)
    pipe.scheduler = diffusers.DPMSolverMultistepScheduler(final_sigmas_type="zero", **flow)
    expected = theirs(pipe, SD3, monkeypatch, num_inference_steps=4, guidance_scale=1.0)
    found = ours("tdm_sd3_lora", 4, SD3)
    assert float((found - expected).abs().max()) < 1e-4 * max(1.0, float(expected.std()))


@pytest.mark.parametrize(("name", "nfe"), [("instaflow", 1), ("rectified_flow_2", 4)])
def test_instaflow_is_euler_on_the_velocity_towards_the_data(name: str, nfe: int, root: Path) -> None:
    card = card_of(name)
    folder = made.repository(card, root, SD)
    pipe = fresh_pipe(SD)
    whole(pipe, folder / "unet")
    teacher = made.teacher(SD)
    latents = teacher.initial(0, range(2)) / teacher.suite.sigma_max
    with made.tiny.quiet(), torch.inference_mode():
        text, null = pipe.encode_prompt(list(made.PROMPTS), "cpu", 1, True)
        for step in range(nfe):  # the loop of the authors' RectifiedFlowPipeline
            time = torch.full((2,), 1000 * (1 - step / nfe))
            told = pipe.unet(latents, time, text, return_dict=False)[0]
            if card.guidance_scale != 1:
                free = pipe.unet(latents, time, null, return_dict=False)[0]
                told = free + card.guidance_scale * (told - free)
            latents = latents + told / nfe
    assert float((ours(name, nfe, SD) - latents).abs().max()) < 1e-4
