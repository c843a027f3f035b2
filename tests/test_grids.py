"""Grids: ends, order, closed forms, and what is refused."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.grids import GRIDS, Grid, ends_in_zero, make_grid
from bench.process import EDM, VE, Process, RectifiedFlow, VPCosine, VPDiscrete, VPLinear

DDPM = VPDiscrete(tuple(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64).tolist()))
PROCESSES: tuple[Process, ...] = (EDM(), VPLinear(), VPCosine(), DDPM, VE(), RectifiedFlow())
LOW, HIGH = 0.02, 75.0
named = pytest.mark.parametrize("name", GRIDS)
processes = pytest.mark.parametrize("process", PROCESSES, ids=lambda process: process.name)


@named
@processes
@pytest.mark.parametrize("intervals", [1, 2, 3, 12, 100])
@pytest.mark.parametrize(("end", "last"), [("zero", 0.0), ("append", 0.0), ("sigma_min", LOW)])
def test_order_and_ends(name: str, process: Process, intervals: int, end: str, last: float) -> None:
    grid = make_grid(f"{name}[end={end}]", intervals, LOW, HIGH, process)
    assert len(grid) == intervals + 1
    assert (grid.nodes[0], grid.nodes[-1]) == (HIGH, last)
    assert all(a > b for a, b in grid.steps())
    assert grid.sigma.dtype == torch.float64
    if end == "append" and intervals > 1:
        assert grid.nodes[-2] == pytest.approx(LOW, rel=1e-9)


@named
def test_the_default_end_replaces_the_last_level_by_zero(name: str) -> None:
    full = make_grid(f"{name}[end=sigma_min]", 8, LOW, HIGH, EDM())
    assert make_grid(name, 8, LOW, HIGH, EDM()).nodes == [*full.nodes[:-1], 0.0]


@named
@processes
def test_the_teachers_times_stand_beside_the_levels(name: str, process: Process) -> None:
    grid = make_grid(name, 6, LOW, HIGH, process)
    torch.testing.assert_close(process.sigma(grid.t), grid.sigma, rtol=1e-8, atol=1e-9)
    assert bool((grid.t.diff() < 0).all())


@given(st.floats(1, 20), st.integers(2, 50))
def test_karras_is_uniform_in_the_root(rho: float, intervals: int) -> None:
    grid = make_grid(f"karras[rho={rho!r},end=sigma_min]", intervals, LOW, HIGH, EDM())
    root = grid.sigma ** (1 / rho)
    torch.testing.assert_close(
        root.diff(), ((LOW ** (1 / rho) - HIGH ** (1 / rho)) / intervals) * torch.ones(intervals).double()
    )


def test_karras_of_the_paper() -> None:
    # arXiv 2206.00364, Eq. 5, at i = 1 of N = 18 with rho 7
    grid = make_grid("karras[end=append]", 18, 0.002, 80, EDM())
    assert grid.nodes[1] == pytest.approx((80 ** (1 / 7) + 1 / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7)


def test_logsnr_has_a_constant_ratio() -> None:
    nodes = make_grid("logsnr[end=sigma_min]", 10, LOW, HIGH, EDM()).nodes
    assert [b / a for a, b in pairwise(nodes)] == pytest.approx([(LOW / HIGH) ** 0.1] * 10)


@processes
@pytest.mark.parametrize(("name", "power"), [("time_uniform", 1.0), ("time_quadratic", 0.5)])
def test_time_grids_are_uniform_in_time_from_the_clean_end(process: Process, name: str, power: float) -> None:
    t = make_grid(f"{name}[end=sigma_min]", 9, LOW, HIGH, process).t
    steps = (t - process.time(torch.zeros(1, dtype=torch.float64))).pow(power).diff()
    torch.testing.assert_close(steps, steps.mean().expand(9), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("name", "power"), [("vp_uniform", 1.0), ("vp_quadratic", 0.5)])
def test_vp_grids_are_the_same_for_every_teacher(name: str, power: float) -> None:
    grids = [make_grid(f"{name}[end=sigma_min]", 9, LOW, HIGH, process) for process in PROCESSES]
    assert all(grid.nodes == grids[0].nodes for grid in grids)
    steps = VPLinear().time(grids[0].sigma).pow(power).diff()
    torch.testing.assert_close(steps, steps.mean().expand(9), rtol=1e-8, atol=0)


AYS_RANGES = {"ays_sd15": (0.029, 14.615), "ays_sdxl": (0.029, 14.615), "ays_svd": (0.002, 700.0)}


@pytest.mark.parametrize("name", AYS_RANGES)
def test_published_schedules_are_those_of_diffusers(name: str) -> None:
    utils = pytest.importorskip("diffusers.schedulers.scheduling_utils")
    key = {"ays_sd15": "StableDiffusionSigmas", "ays_sdxl": "StableDiffusionXLSigmas"}
    table = utils.AysSchedules[key.get(name, "StableDiffusionVideoSigmas")]
    assert make_grid(name, 10, *AYS_RANGES[name], EDM()).nodes == pytest.approx(table, rel=1e-12)


@pytest.mark.parametrize(("name", "timesteps"), [
    ("ays_sd15", [999, 850, 736, 645, 545, 455, 343, 233, 124, 24, 0]),
    ("ays_sdxl", [999, 845, 730, 587, 443, 310, 193, 116, 53, 13, 0]),
])  # fmt: skip
def test_published_schedules_are_those_of_their_timesteps(name: str, timesteps: list[int]) -> None:
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2  # of Stable Diffusion
    sigma = VPDiscrete(tuple(betas.tolist())).sigma(torch.tensor(timesteps, dtype=torch.float64))
    grid = make_grid(f"{name}[end=sigma_min]", 10, *AYS_RANGES[name], EDM())
    torch.testing.assert_close(grid.sigma, sigma, rtol=0.015, atol=0)  # the levels were rounded, or the timesteps


@pytest.mark.parametrize("name", AYS_RANGES)
def test_published_schedules_are_interpolated_and_stretched_in_log_sigma(name: str) -> None:
    low, high = AYS_RANGES[name]
    ten = make_grid(f"{name}[end=sigma_min]", 10, low, high, EDM()).sigma
    twenty = make_grid(f"{name}[end=sigma_min]", 20, low, high, EDM()).sigma
    torch.testing.assert_close(twenty[::2], ten)
    torch.testing.assert_close(twenty[1::2], (ten[:-1] * ten[1:]).sqrt())
    five = make_grid(f"{name}[end=sigma_min]", 5, low, high, EDM()).sigma
    torch.testing.assert_close(five, ten[::2])
    # another range: the same shares of log sigma
    other = make_grid(f"{name}[end=sigma_min]", 10, LOW, HIGH, EDM()).sigma
    share = (ten / low).log() / math.log(high / low)
    torch.testing.assert_close(other, LOW * (HIGH / LOW) ** share)


def test_one_interval_goes_from_noise_to_the_end() -> None:
    for name in GRIDS:
        assert make_grid(name, 1, LOW, HIGH, EDM()).nodes == [HIGH, 0]


def test_user_grids_are_taken_as_they_are() -> None:
    grid = make_grid("user[sigmas=80/9.7/0.5/0]", 3, LOW, HIGH, EDM())
    assert grid.nodes == [80, 9.7, 0.5, 0]
    assert list(grid.steps()) == [(80, 9.7), (9.7, 0.5), (0.5, 0)]


@pytest.mark.parametrize("levels", [[1.0], [1.0, 1.0, 0.0], [2.0, 1.0, 1.0], [1.0, 2.0], [1.0, -0.1], [math.inf, 1.0],
                                    [2.0, math.nan]])  # fmt: skip
def test_grids_that_waste_or_break_a_step_are_refused(levels: list[float]) -> None:
    with pytest.raises(UsageError, match="a grid"):
        Grid(torch.tensor(levels, dtype=torch.float64), EDM())


def test_levels_are_float64() -> None:
    with pytest.raises(UsageError, match="float64"):
        Grid(torch.tensor([1.0, 0.0]), EDM())


@pytest.mark.parametrize(("spec", "sentence"), [
    ("karas", "unknown grid 'karas'; did you mean karras?"),
    ("karras[rho=a]", "parameters of grid karras.* must be numbers"),
    ("karras[rho=0]", "rho of the karras grid must be between"),
    ("karras[rho=-7]", "rho of the karras grid must be between"),
    ("karras[rho=nan]", "rho of the karras grid must be between"),
    ("karras[rho=1e-6]", "rho of the karras grid must be between"),
    ("karras[rho=inf]", "rho of the karras grid must be between"),
    ("karras[roh=7]", "unknown parameter of grid karras 'roh'; did you mean rho?"),
    ("logsnr[rho=7]", "unknown parameter of grid logsnr 'rho'"),
    ("logsnr[end=sigma_mn]", "unknown grid end 'sigma_mn'; did you mean sigma_min?"),
    ("user", "user.sigmas=80/1/0."),
    ("user[sigmas=80/1/0,end=zero]", "user.sigmas=80/1/0."),
    ("user[sigmas=80/x/0]", "numbers separated by '/'"),
    ("user[sigmas=80/1/0.1/0]", "the user grid has 3 intervals where 2 are needed"),
    ("user[sigmas=80/80/0]", "strictly decreasing"),
    ("user[sigmas=nan/1/0]", "strictly decreasing"),
])  # fmt: skip
def test_bad_specs_get_one_sentence(spec: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        make_grid(spec, 2, LOW, HIGH, EDM())


def test_no_interval_at_all_is_refused() -> None:
    with pytest.raises(UsageError, match="at least two noise levels"):
        make_grid("karras", 0, LOW, HIGH, EDM())


@pytest.mark.parametrize(
    ("spec", "zero"),
    [
        ("karras", True),
        ("logsnr[end=append]", True),
        ("karras[end=sigma_min]", False),
        ("user[sigmas=2/1/0]", True),
        ("user[sigmas=2/1]", False),
    ],
)
def test_whether_a_grid_reaches_zero_is_known_before_it_is_made(spec: str, zero: bool) -> None:
    assert ends_in_zero(spec) is zero
    made = make_grid(spec, 1 if spec == "user[sigmas=2/1]" else 2, 0.1, 2.0, EDM())
    assert (made.nodes[-1] == 0) is zero
