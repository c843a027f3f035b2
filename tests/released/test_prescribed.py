"""The prescribed samplers against the schedulers of diffusers: same network, same start, same fresh noise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.denoiser import Adapter
from bench.process import EDM, Process, RectifiedFlow, VPDiscrete
from bench.released.checkpoint import Checkpoint
from bench.released.prescribed import FLOW_START, Route, run

diffusers = pytest.importorskip("diffusers")

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SHAPE = (2, 4, 3, 3)
LCM = {4: (999, 759, 499, 259), 1: (999,), 8: (999, 879, 759, 639, 499, 379, 259, 139)}
TRAILING = {1: (999,), 2: (999, 499), 4: (999, 749, 499, 249), 8: (999, 874, 749, 624, 499, 374, 249, 124)}


def card(**fields: Any) -> Checkpoint:
    given: dict[str, Any] = {
        "repository": "owner/name",
        "kind": "unet",
        "files": {0: "weights.safetensors"},
        "base": ("owner/base",),
        "pipelines": ("StableDiffusionPipeline",),
        "licence": "mit",
        "source": {"settings": "a test"},
        "unverified": ("revision",),
    }
    return Checkpoint(**{**given, **fields})


def draws(count: int = 12) -> list[Tensor]:
    source = torch.Generator().manual_seed(5)
    return [torch.randn(SHAPE, generator=source) for _ in range(count)]


def network(x_t: Tensor, t: Tensor) -> Tensor:
    """Any smooth function of state and time."""
    time = torch.as_tensor(t, dtype=torch.float32).reshape(-1, *[1] * (x_t.ndim - 1)) / 1000
    return 0.7 * x_t + 0.2 * torch.sin(3 * x_t + time) + 0.1 * time


def vp() -> VPDiscrete:
    scheduler = diffusers.DDIMScheduler(**BETAS)
    return VPDiscrete(tuple(scheduler.betas.double().tolist()))


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Tensor]]:
    """Both sides draw these, in this order."""
    given = draws()
    source = iter(given[1:])

    def take(*args: Any, **named: Any) -> Tensor:
        return next(source)

    for name in ("lcm", "tcd", "euler_ancestral_discrete", "scm", "consistency_models", "flow_match_euler_discrete"):
        module = __import__(f"diffusers.schedulers.scheduling_{name}", fromlist=["x"])
        if hasattr(module, "randn_tensor"):
            monkeypatch.setattr(module, "randn_tensor", take)
    yield given


def ours(checkpoint: Checkpoint, nfe: int, process: Process, prediction: Any, given: list[Tensor]) -> Tensor:
    seen: list[float] = []

    def spy(x_t: Tensor, t: Tensor) -> Tensor:
        time = 1000 * t if isinstance(process, RectifiedFlow) else t
        seen.append(float(time[0]))
        return network(x_t, time)

    source = iter(given[1:])
    route = Route(checkpoint, process, checkpoint.timesteps[nfe])
    out = run(Adapter(spy, process, prediction), given[0], lambda: next(source), route)
    assert seen == pytest.approx(checkpoint.timesteps[nfe], abs=2e-3)
    return out


def theirs(scheduler: Any, given: list[Tensor], nfe: int | None = None, **step: Any) -> Tensor:
    """The loop of diffusers' pipelines."""
    x = given[0] * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        x = scheduler.step(network(scheduler.scale_model_input(x, t), t), t, x, return_dict=False, **step)[0]
    return x


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    scale = max(1.0, float(expected.abs().max()))
    assert float((found - expected).abs().max()) < tolerance * scale


@pytest.mark.parametrize("nfe", [1, 4, 8])
def test_lcm(nfe: int, fresh: list[Tensor]) -> None:
    scheduler = diffusers.LCMScheduler(**BETAS)
    scheduler.set_timesteps(nfe)
    assert tuple(scheduler.timesteps.tolist()) == LCM[nfe]
    checkpoint = card(sampler="consistency", timesteps=LCM, boundary=10.0)
    close(ours(checkpoint, nfe, vp(), "eps", fresh), theirs(scheduler, fresh))


@pytest.mark.parametrize("times", [(999, 749, 499, 249), (399,), (800,)])
def test_lcm_at_times_of_ones_own(times: tuple[int, ...], fresh: list[Tensor]) -> None:
    scheduler = diffusers.LCMScheduler(**BETAS)
    scheduler.set_timesteps(timesteps=list(times))
    checkpoint = card(sampler="consistency", timesteps={len(times): times}, boundary=10.0)
    close(ours(checkpoint, len(times), vp(), "eps", fresh), theirs(scheduler, fresh))


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("nfe", [1, 4])
def test_tcd(nfe: int, eta: float, fresh: list[Tensor]) -> None:
    scheduler = diffusers.TCDScheduler(**BETAS)
    scheduler.set_timesteps(nfe)
    assert tuple(scheduler.timesteps.tolist()) == LCM[nfe]
    checkpoint = card(sampler="tcd", timesteps=LCM, eta=eta, end="index0")
    close(ours(checkpoint, nfe, vp(), "eps", fresh), theirs(scheduler, fresh, eta=eta))


@pytest.mark.parametrize("nfe", [1, 2, 4, 8])
def test_euler_trailing(nfe: int) -> None:
    given = draws()
    scheduler = diffusers.EulerDiscreteScheduler(**BETAS, timestep_spacing="trailing")
    scheduler.set_timesteps(nfe)
    assert tuple(scheduler.timesteps.tolist()) == TRAILING[nfe]
    checkpoint = card(sampler="euler", timesteps=TRAILING, start="scaled")
    close(ours(checkpoint, nfe, vp(), "eps", given), theirs(scheduler, given))


def test_euler_one_step_predicting_the_data() -> None:
    given = draws()
    scheduler = diffusers.EulerDiscreteScheduler(**BETAS, timestep_spacing="trailing", prediction_type="sample")
    scheduler.set_timesteps(1)
    checkpoint = card(sampler="euler", timesteps=TRAILING, start="scaled")
    close(ours(checkpoint, 1, vp(), "x0", given), theirs(scheduler, given))


@pytest.mark.parametrize("nfe", [1, 2, 4, 8])
def test_ddim_trailing_ends_at_index_0(nfe: int) -> None:
    given = draws()
    scheduler = diffusers.DDIMScheduler(**BETAS, timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=False)
    scheduler.set_timesteps(nfe)
    checkpoint = card(sampler="euler", timesteps=TRAILING, end="index0")
    close(ours(checkpoint, nfe, vp(), "eps", given), theirs(scheduler, given))


@pytest.mark.parametrize("nfe", [1, 2, 4])
def test_ancestral_trailing(nfe: int, fresh: list[Tensor]) -> None:
    scheduler = diffusers.EulerAncestralDiscreteScheduler(**BETAS, timestep_spacing="trailing")
    scheduler.set_timesteps(nfe)
    assert tuple(scheduler.timesteps.tolist()) == TRAILING[nfe]
    checkpoint = card(sampler="ancestral", timesteps=TRAILING, start="scaled")
    close(ours(checkpoint, nfe, vp(), "eps", fresh), theirs(scheduler, fresh))


def test_dpm_solver_pp_on_a_flow() -> None:
    given = draws()
    scheduler = diffusers.DPMSolverMultistepScheduler(
        use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=6.0, final_sigmas_type="zero"
    )
    scheduler.set_timesteps(4)
    times = tuple(1000 * float(sigma) for sigma in scheduler.sigmas[:-1])
    checkpoint = card(sampler="dpm_solver_pp", timesteps={4: times}, unit="flow", start="scaled")
    process = RectifiedFlow()
    source = Adapter(lambda x_t, t: network(x_t, 1000 * t), process, "velocity")
    route = Route(checkpoint, process, times)
    x = given[0] * route.scale(route.sigma[0]) * route.sigma[0]  # where our flow starts: 1e-6 from theirs
    for t, sigma in zip(scheduler.timesteps, scheduler.sigmas, strict=False):
        x = scheduler.step(network(x, 1000 * sigma), t, x, return_dict=False)[0]
    close(run(source, given[0], lambda: given[1], route), x, 2e-5)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_euler(shift: float) -> None:
    given = draws()
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(4)
    times = tuple(scheduler.timesteps.tolist())
    checkpoint = card(sampler="euler", timesteps={4: times}, unit="flow", start="scaled")
    x = given[0]
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, t), t, x, return_dict=False)[0]
    close(ours(checkpoint, 4, RectifiedFlow(), "velocity", given), x, 2e-5)


def test_flow_with_fresh_noise(fresh: list[Tensor]) -> None:
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, stochastic_sampling=True)
    scheduler.set_timesteps(4)
    times = tuple(scheduler.timesteps.tolist())
    checkpoint = card(sampler="consistency", timesteps={4: times}, unit="flow", start="scaled")
    source = iter(fresh[1:])
    x = fresh[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randn_like", lambda like: next(source))
        for t in scheduler.timesteps:
            x = scheduler.step(network(x, t), t, x, return_dict=False)[0]
    close(ours(checkpoint, 4, RectifiedFlow(), "velocity", fresh), x, 2e-5)


@pytest.mark.parametrize(("nfe", "middle"), [(1, None), (2, 1.3), (4, None)])
def test_trigflow(nfe: int, middle: float | None, fresh: list[Tensor]) -> None:
    scheduler = diffusers.SCMScheduler(sigma_data=0.5)
    scheduler.set_timesteps(nfe, max_timesteps=1.5708, intermediate_timesteps=middle)
    angles = scheduler.timesteps[:-1]
    times = tuple(min(1000.0, 1000 * float(a.sin() / (a.sin() + a.cos()))) for a in angles.double())
    checkpoint = card(sampler="consistency", timesteps={nfe: times}, unit="flow", start="scaled")
    x = fresh[0] * 0.5
    for angle in angles:  # the loop of SanaSprintPipeline
        share = angle.sin() / (angle.sin() + angle.cos())
        norm = (share**2 + (1 - share) ** 2).sqrt()
        scaled = x / 0.5 * norm
        velocity = network(scaled, 1000 * share)
        output = ((1 - 2 * share) * scaled + (1 - 2 * share + 2 * share**2) * velocity) / norm * 0.5
        x, clean = scheduler.step(output, angle, x, return_dict=False)
    close(ours(checkpoint, nfe, RectifiedFlow(), "velocity", fresh), clean / 0.5, 5e-5)


def test_consistency_models(fresh: list[Tensor]) -> None:
    scheduler = diffusers.CMStochasticIterativeScheduler(num_train_timesteps=40)
    scheduler.set_timesteps(timesteps=[22, 0])
    levels = tuple(scheduler.sigmas[:2].double().tolist())

    def bounded(x: Tensor, sigma: float) -> Tensor:
        skip, out = scheduler.get_scalings_for_boundary_condition(torch.tensor(sigma))
        inner = network(x / math.sqrt(sigma**2 + 0.25), torch.tensor(250 * math.log(sigma)))
        return skip * x + out * inner

    checkpoint = card(sampler="consistency", timesteps={2: levels}, unit="sigma", start="scaled", clip=True,
                      sigma_floor=0.002)  # fmt: skip
    source = iter(fresh[1:])
    found = run(bounded, fresh[0], lambda: next(source), Route(checkpoint, EDM(80.0), levels))
    close(found, theirs(scheduler, fresh))


PERFLOW_STEPS = {4: (1000, 750, 500, 250), 8: (1000, 875, 750, 625, 500, 375, 250, 125)}


@pytest.mark.parametrize("form", ["ddim_eps", "diff_eps"])
@pytest.mark.parametrize("nfe", [4, 8])
def test_perflow_follows_its_paper(form: str, nfe: int) -> None:
    # Sec. 3.2: within a window x_t = (1 - s) x_start + s x_end, and eps fixes x_start and x_end from x_t
    given, process = draws(), vp()
    abar = torch.cumprod(1 - torch.tensor(process.betas, dtype=torch.float64), 0)
    checkpoint = card(sampler="perflow", timesteps=PERFLOW_STEPS, windows=4, window_form=form)
    state, following = given[0].double(), [*PERFLOW_STEPS[nfe][1:], 0]
    for time, after in zip(PERFLOW_STEPS[nfe], following, strict=True):
        end = math.ceil(time / 250 - 1) * 250
        a, b = abar[end + 250 - 1], abar[max(end - 1, 0)]
        eps = network(state.float(), torch.tensor(time)).double()
        gain = (b / a).sqrt()
        push = (1 - b).sqrt() - gain * (1 - a).sqrt() if form == "ddim_eps" else -(1 - a / b).sqrt() * gain
        s = (end + 250 - time) / 250
        # x_t = (1 - s) x_0 + s (gain x_0 + push eps)  =>  x_0
        first = (state - s * push * eps) / (1 - s + s * gain)
        last = gain * first + push * eps
        state = state + (last - first) * (time - after) / 250
    close(ours(checkpoint, nfe, process, "eps", given), state.float(), 1e-4)


def test_flow_time_1_is_a_finite_level() -> None:
    route = Route(card(sampler="euler", timesteps={1: (1000,)}, unit="flow"), RectifiedFlow(), (1000,))
    assert route.sigma == [FLOW_START]
    assert route.scale(FLOW_START) * FLOW_START == pytest.approx(1, abs=2e-6)
