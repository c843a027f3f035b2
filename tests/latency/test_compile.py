"""Networks by ``torch.compile``, with compilers that need no device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.latency.clock import HostClock
from bench.latency.modes import CompileMode
from bench.registry import create


class FakeCompiler:
    """As ``torch.compile``; refuses as told."""

    def __init__(self, whole: str = "", pieces: str = "") -> None:
        self.problems = {True: whole, False: pieces}
        self.asked: list[dict[str, Any]] = []
        self.runs = 0

    def __call__(self, module: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        self.asked.append(options)

        def run(*args: Any, **kwargs: Any) -> Any:
            self.runs += 1
            if self.problems[options["fullgraph"]]:
                raise RuntimeError(self.problems[options["fullgraph"]])
            return module(*args, **kwargs)

        return run


STANCES: list[str] = []


@contextlib.contextmanager
def stance(name: str) -> Iterator[None]:
    STANCES.append(name)
    yield


def compiled(compiler: FakeCompiler, name: str = "compile") -> CompileMode:
    STANCES.clear()
    return CompileMode(name, HostClock(), compiler=compiler, stance=stance)


class Twice(nn.Module):
    def forward(self, x: Tensor, *, offset: float = 0.0) -> Tensor:
        return 2 * x + offset


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("compile", "default"),
        ("compile-reduce-overhead", "reduce-overhead"),
        ("compile-max-autotune", "max-autotune"),
    ],
)
def test_compiling_is_done_once_per_shape_and_apart(name: str, wanted: str) -> None:
    compiler = FakeCompiler()
    mode = compiled(compiler, name)
    network = mode.network(Twice())
    for rows in (2, 2, 3):
        assert torch.equal(network(torch.ones(rows), offset=1.0), torch.full((rows,), 3.0))
    assert compiler.asked == [{"mode": wanted, "fullgraph": True, "dynamic": False}] * 2
    assert len(mode.preparing) == 2 and compiler.runs == 2 * 3 + 3
    assert STANCES == ["fail_on_recompile"] * 3  # what is timed never compiles
    assert mode.fallback == ""


@pytest.mark.parametrize(
    ("compiler", "told"),
    [
        (
            FakeCompiler(whole="a break in line 3"),
            "compiled in pieces, with eager code between them: a break in line 3",
        ),
        (FakeCompiler(whole="no", pieces="no compiler here\ntrace"), "cannot be compiled: no compiler here"),
    ],
)
def test_a_network_that_is_not_compiled_whole_is_told_at_every_call(compiler: FakeCompiler, told: str) -> None:
    mode = compiled(compiler)
    network = mode.network(Twice())
    for _ in range(2):
        mode.reasons.clear()
        assert torch.equal(network(torch.ones(2)), torch.full((2,), 2.0))
        assert told in mode.fallback


def test_outputs_of_modes_with_graphs_are_copies() -> None:
    same = nn.Identity()
    x = torch.ones(2)
    assert compiled(FakeCompiler()).network(same)(x) is x
    assert compiled(FakeCompiler(), "compile-max-autotune").network(same)(x) is not x


class Wrapped:
    """A network with a module inside, as a pipeline's."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, x: Tensor) -> Tensor:
        found: Tensor = self.module(x)
        return found + 1


def test_the_module_inside_a_network_is_compiled_and_given_back() -> None:
    compiler = FakeCompiler()
    mode, module = compiled(compiler), Twice()
    network = mode.network(Wrapped(module))
    assert torch.equal(network(torch.ones(2)), torch.full((2,), 3.0))
    assert compiler.runs > 0 and mode.fallback == ""
    mode.close()
    assert "forward" not in vars(module)
    before = compiler.runs
    assert torch.equal(module(torch.ones(2)), torch.full((2,), 2.0)) and compiler.runs == before


def test_the_denoiser_of_a_pipeline_is_compiled() -> None:
    suite = create("suite", "tiny_t2i")
    network = suite.network(torch.device("cpu"), torch.float32)
    x, sigma, label = torch.randn(2, *suite.shape), torch.ones(2), torch.tensor([0, 1])
    compiler = FakeCompiler()
    mode = compiled(compiler)
    with torch.inference_mode():
        plain = network(x, sigma, label)
        assert compiler.runs == 0
        assert torch.equal(mode.network(network)(x, sigma, label), plain)
    assert compiler.runs > 0 and mode.fallback == ""
    mode.close()


def test_a_forward_that_somebody_had_replaced_is_put_back() -> None:
    module = Twice()
    replaced = module.forward = lambda x: x * 7  # as accelerate's hooks do
    mode = compiled(FakeCompiler())
    network = mode.network(Wrapped(module))
    assert torch.equal(network(torch.ones(1)), torch.full((1,), 8.0))
    mode.close()
    assert vars(module)["forward"] is replaced


def test_a_closed_form_is_not_compiled_and_that_is_told() -> None:
    mode = compiled(FakeCompiler())
    assert mode.network(torch.negative) is torch.negative  # type: ignore[arg-type]
    assert "not a torch.nn.Module" in mode.fallback


def test_torch_compiles_a_real_network_and_a_second_compilation_is_an_error() -> None:
    def compiler(module: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        options.pop("mode")
        return torch.compile(module, backend="eager", **options)

    torch.compiler.reset()
    mode = CompileMode("compile", HostClock(), compiler=compiler)
    module = nn.Sequential(nn.Linear(3, 3), nn.SiLU())
    network = mode.network(module)
    with torch.inference_mode():
        for rows in (2, 4):
            x = torch.randn(rows, 3)
            torch.testing.assert_close(network(x), module(x))
        assert mode.fallback == ""
        network.known.add(((torch.Size([5, 3]), torch.float32),))  # type: ignore[attr-defined]  # not compiled for this
        with pytest.raises(RuntimeError, match="recompile"):
            network(torch.randn(5, 3))
    torch.compiler.reset()
