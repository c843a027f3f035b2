"""Schedules are the schedulers' own: compared with diffusers' tables and with closed forms."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from bench.denoiser import Adapter
from bench.errors import UsageError
from bench.pipelines.schedule import Precondition, ShiftedFlow, read_schedule

F64 = torch.float64


def made(name: str, **options: Any) -> Any:
    import diffusers

    return getattr(diffusers, name)(**options)


@pytest.mark.parametrize("name", ["DDPMScheduler", "DDIMScheduler", "PNDMScheduler", "UniPCMultistepScheduler"])
@pytest.mark.parametrize("betas", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_tables_are_the_schedulers(name: str, betas: str) -> None:
    scheduler = made(name, beta_schedule=betas, beta_start=0.0008, beta_end=0.012)
    schedule = read_schedule(scheduler)
    expected = ((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod).double().sqrt()
    found = schedule.process.sigma(torch.arange(1000, dtype=F64))
    # 1 - alpha_bar is rounded in the scheduler's float32, most where little noise is left
    torch.testing.assert_close(found, expected, rtol=2e-4, atol=0)
    assert schedule.prediction == "eps"
    assert schedule.sigma_min == pytest.approx(float(found[0]))
    assert schedule.sigma_max == pytest.approx(float(found[-1]))


def test_zero_terminal_snr_starts_where_diffusers_own_solvers_do() -> None:
    options = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "prediction_type": "v_prediction"}
    euler = made("EulerDiscreteScheduler", **options)
    euler.set_timesteps(4)
    for name in ("EulerDiscreteScheduler", "DDIMScheduler"):
        schedule = read_schedule(made(name, **options))
        assert schedule.sigma_max == pytest.approx(float(euler.sigmas[0]), rel=1e-6)
        assert schedule.prediction == "v"


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_shifted_flow_is_the_schedulers_grid(shift: float) -> None:
    scheduler = made("FlowMatchEulerDiscreteScheduler", shift=shift)
    process = read_schedule(scheduler).process
    assert isinstance(process, ShiftedFlow)
    times = torch.linspace(1, 1000, 1000, dtype=F64).flip(0) / 1000
    torch.testing.assert_close(process.shifted(times), scheduler.sigmas.double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(process.time(process.sigma(times[1:])), times[1:])
    t = process.shifted(times[1:])
    torch.testing.assert_close(process.sigma(times[1:]), t / (1 - t))
    torch.testing.assert_close(process.alpha(times), 1 - t.new_tensor(scheduler.sigmas.tolist()), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["exponential", "linear"])
def test_shift_by_resolution(kind: str) -> None:
    scheduler = made("FlowMatchEulerDiscreteScheduler", use_dynamic_shifting=True, time_shift_type=kind)
    process = read_schedule(scheduler, mu=0.8).process
    assert isinstance(process, ShiftedFlow)
    scheduler.set_timesteps(sigmas=[1.0, 0.6, 0.2], mu=0.8)
    found = process.shifted(torch.tensor([1.0, 0.6, 0.2], dtype=F64))
    torch.testing.assert_close(found, scheduler.sigmas[:3].double(), rtol=1e-6, atol=0)
    with pytest.raises(UsageError, match="shifts with the resolution"):
        read_schedule(scheduler)


def test_a_velocity_gives_back_its_data() -> None:
    process, x0, eps = ShiftedFlow(3.0), torch.randn(2, 3, dtype=F64), torch.randn(2, 3, dtype=F64)
    sigma = torch.tensor([0.3, 20.0], dtype=F64)
    denoise = Adapter(lambda x_t, t: eps - x0, process, "velocity")
    torch.testing.assert_close(denoise(x0 + sigma[:, None] * eps, sigma), x0)


@pytest.mark.parametrize("name", ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler"])
def test_flow_sigmas_of_other_solvers(name: str) -> None:
    options = {"use_flow_sigmas": True, "flow_shift": 3.0, "prediction_type": "flow_prediction"}
    schedule = read_schedule(made(name, **options))
    assert schedule.process == ShiftedFlow(3.0) and schedule.prediction == "velocity"


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_preconditioning_is_that_of_edm(prediction: str) -> None:
    scheduler = made("EDMEulerScheduler", sigma_data=0.7, prediction_type=prediction)
    precondition = read_schedule(scheduler).precondition
    assert precondition is not None
    x, output, sigma = torch.randn(2, 3, dtype=F64), torch.randn(2, 3, dtype=F64), torch.tensor([0.1, 9.0], dtype=F64)
    scaled, time = precondition.scale_in(x, sigma)
    for row in range(2):
        level = sigma[row]
        torch.testing.assert_close(scaled[row], scheduler.precondition_inputs(x[row], level))
        torch.testing.assert_close(time[row], scheduler.precondition_noise(level))
        expected = scheduler.precondition_outputs(x[row], output[row], level)
        torch.testing.assert_close(precondition.scale_out(output, x, sigma)[row], expected)


def test_preconditioning_is_that_of_consistency_models() -> None:
    scheduler = made("CMStochasticIterativeScheduler")
    schedule = read_schedule(scheduler)
    assert schedule.precondition == Precondition(0.5, boundary=0.002, time_scale=1000.0)
    assert (schedule.sigma_min, schedule.sigma_max) == (0.002, 80.0)
    sigma = torch.tensor([0.002, 0.1, 80.0], dtype=F64)
    c_skip, c_out = scheduler.get_scalings_for_boundary_condition(sigma)
    x, output = torch.randn(3, 2, dtype=F64), torch.randn(3, 2, dtype=F64)
    expected = c_skip[:, None] * x + c_out[:, None] * output
    torch.testing.assert_close(schedule.precondition.scale_out(output, x, sigma), expected)
    _, time = schedule.precondition.scale_in(x, sigma)
    assert float(time[2]) == pytest.approx(250 * math.log(80))


def test_an_unknown_scheduler_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="VQDiffusionScheduler with prediction"):
        read_schedule(made("VQDiffusionScheduler", num_vec_classes=4))
