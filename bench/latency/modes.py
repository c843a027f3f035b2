"""How the denoiser is run: eagerly, as a CUDA graph, or compiled.

What a mode must do once (compile, tune, capture) is done at the first call of each shape, and its time is kept apart.
What a mode cannot do runs eagerly, and the record says why: there is no silent way back.

The modes of ``torch.compile`` are its own. Those that use CUDA graphs (reduce-overhead, max-autotune) overwrite their
output in the next call, so it is cloned, as the solver keeps it; a call that would compile again while it is timed
is an error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from bench.api import Denoiser, Problem
from bench.latency.capture import Capture, Graphed, cuda_capture, first_cause
from bench.latency.clock import Clock
from bench.nfe import Ledger
from bench.released.method import Checkpoint, ReleasedProblem, Student
from bench.reuse import Recall
from bench.sampling import EMPTY, Teacher
from bench.suites.base import Network

EAGER, GRAPH = "eager", "graph"
COMPILED = {
    "compile": "default",
    "compile-reduce-overhead": "reduce-overhead",
    "compile-max-autotune": "max-autotune",
}
MODES = (EAGER, GRAPH, *COMPILED)
WARM_UP = 3  # calls of a compiled network that are not timed: compile, warm up, record

Compiler = Callable[..., Callable[..., Any]]  # as torch.compile


@runtime_checkable
class HasModule(Protocol):
    """A network that is not a module but has the one that costs inside, such as a pipeline's denoiser."""

    @property
    def module(self) -> nn.Module:
        """What is called at every step."""


@dataclass
class Mode:
    """The eager mode, and what all modes have in common.

    Attributes:
        name: one of ``MODES``.
        clock: marks what is done once.
        preparing: marks around what is done once.
        reasons: why something ran eagerly although another mode was asked for; whoever reads them clears them first.
        denoisers: of the teacher, by samples, with its network: methods that take turns share what is made once.
    """

    name: str
    clock: Clock[Any]
    preparing: list[tuple[Any, Any]] = field(default_factory=list)
    reasons: dict[str, None] = field(default_factory=dict)
    denoisers: dict[tuple[object, ...], tuple[Network, Denoiser]] = field(default_factory=dict)

    def network(self, network: Network) -> Network:
        """A network as this mode runs it."""
        return network

    def denoiser(self, denoise: Denoiser) -> Denoiser:
        """A denoiser as this mode runs it."""
        return denoise

    def refuse(self, reason: str) -> None:
        """Keep why something runs eagerly."""
        self.reasons.setdefault(reason)

    def close(self) -> None:
        """Leave networks as they were found, and let go of what was made: it refers to the mode, and the mode to it."""
        self.denoisers.clear()

    @property
    def fallback(self) -> str:
        """Why something ran eagerly; empty if nothing did that should not."""
        return "; ".join(self.reasons)

    def spend(self, work: Callable[[], None]) -> None:
        """Do what is done once, on an idle device, with marks around it."""
        self.clock.idle()
        start = self.clock.mark()
        work()
        self.clock.idle()  # what comes after does not wait for it
        self.preparing.append((start, self.clock.mark()))


@dataclass
class GraphMode(Mode):
    """The denoiser, guidance and all, as one CUDA graph per shape."""

    capture: Capture = cuda_capture

    def denoiser(self, denoise: Denoiser) -> Denoiser:
        return Graphed(denoise, self.capture, self.spend, self.refuse)


@dataclass
class CompileMode(Mode):
    """Every network by ``torch.compile``; conditioning and guidance around it stay as they are."""

    compiler: Compiler = torch.compile
    stance: Callable[..., AbstractContextManager[Any]] = torch.compiler.set_stance
    made: dict[int, tuple[Any, Network | None]] = field(default_factory=dict)
    replaced: list[tuple[nn.Module, Any]] = field(default_factory=list)

    def network(self, network: Network) -> Network:
        if id(network) not in self.made:  # the network is kept with it, so that no other gets its id
            self.made[id(network)] = (network, self._compiled(network))
        found = self.made[id(network)][1]
        if found is None:
            self.refuse("the network of this suite is not a torch.nn.Module and has none, so it was not compiled")
            return network
        return found

    def _compiled(self, network: Any) -> Network | None:
        if isinstance(network, nn.Module):
            return Compiled(self, network)
        if not isinstance(network, HasModule):
            return None
        module = network.module
        self.replaced.append((module, vars(module).get("forward")))
        module.forward = Compiled(self, module.forward)
        return network  # type: ignore[return-value]  # every network is callable

    def close(self) -> None:
        super().close()
        while self.replaced:
            module, forward = self.replaced.pop()
            del module.forward
            if forward is not None:
                module.forward = forward
        self.made.clear()
        torch.compiler.reset()  # frees the pools of its graphs; and beyond some variants the compiler runs eager code


class Compiled:
    """A compiled module: whole if that can be, else in pieces, else eager; what is not whole is said at every call."""

    def __init__(self, mode: CompileMode, module: Callable[..., Any]) -> None:
        self.mode = mode
        self.module = module
        self.run: Callable[..., Any] | None = None
        self.problem = ""
        self.known: set[tuple[object, ...]] = set()
        self.graphs = COMPILED[mode.name] != "default"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        key = tuple(map(_signature, (*args, *kwargs.values())))
        if key not in self.known:
            self.mode.spend(lambda: self._prepare(args, kwargs))
            self.known.add(key)
        if self.problem:
            self.mode.refuse(self.problem)
        if self.run is None:
            return self.module(*args, **kwargs)
        with self.mode.stance("fail_on_recompile"):
            return self._once(self.run, args, kwargs)

    def _once(self, run: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self.graphs:
            return run(*args, **kwargs)
        begin: Callable[[], None] = torch.compiler.cudagraph_mark_step_begin
        begin()
        return _cloned(run(*args, **kwargs))

    def _prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        cause = ""
        for whole in (True, False):
            run = self.mode.compiler(self.module, mode=COMPILED[self.mode.name], fullgraph=whole, dynamic=False)
            try:
                for _ in range(WARM_UP):
                    self._once(run, args, kwargs)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # the compiler may raise anything
                cause = first_cause(error)
                continue
            self.run = run
            self.problem = f"compiled in pieces, with eager code between them: {cause}" if cause else ""
            return
        self.run, self.problem = None, f"the network cannot be compiled: {cause}"


def _signature(value: object) -> object:
    """What a compiled module is compiled for, of one argument."""
    return (value.shape, value.dtype) if isinstance(value, Tensor) else type(value)


def _cloned(output: Any) -> Any:
    """A copy of a module's output that the next call does not overwrite.

    Raises:
        TypeError: it is neither a tensor nor a tuple of such.
    """
    if isinstance(output, Tensor):
        return output.clone()
    if type(output) is tuple:
        return tuple(map(_cloned, output))
    raise TypeError(f"a module that returns {type(output).__name__} cannot be compiled with CUDA graphs here")


def make_mode(name: str, clock: Clock[Any]) -> Mode:
    """A mode by its name, one of ``MODES``."""
    if name == EAGER:
        return Mode(name, clock)
    return GraphMode(name, clock) if name == GRAPH else CompileMode(name, clock)


@dataclass(frozen=True)
class ModeTeacher(Teacher):
    """A teacher whose denoisers, and those of its students, run in a mode.

    Attributes:
        mode: how.
        origin: the same teacher without a mode, of whatever kind.
    """

    mode: Mode = field(kw_only=True)
    origin: Teacher = field(kw_only=True)

    @classmethod
    def of(cls, teacher: Teacher, mode: Mode) -> ModeTeacher:
        """The same teacher, in a mode."""
        return cls(teacher.suite, teacher.network, teacher.device, teacher.dtype, mode=mode, origin=teacher)

    def problem(
        self, seed: int, index: Sequence[int], ledger: Ledger, artifact: Mapping[str, Tensor] = EMPTY
    ) -> Problem:
        own = super().problem(seed, index, ledger, artifact)
        offered = self.origin.problem(seed, index, ledger, artifact)
        problem = dataclasses.replace(offered, denoise=own.denoise, student=own.student, cached=own.cached)
        if isinstance(problem, ReleasedProblem):
            return dataclasses.replace(problem, checkpoint=self._released(problem.checkpoint))
        return problem

    def _released(
        self, load: Callable[[Checkpoint, int, float | None], Student]
    ) -> Callable[[Checkpoint, int, float | None], Student]:
        def load_in_mode(card: Checkpoint, nfe: int, guidance_scale: float | None) -> Student:
            student = load(card, nfe, guidance_scale)
            if isinstance(self.mode, CompileMode):
                self.mode.refuse("released students are not compiled and run eagerly")
            return dataclasses.replace(student, denoise=self.mode.denoiser(student.denoise))

        return load_in_mode

    def denoiser(self, index: Sequence[int], ledger: Ledger, network: Network | None = None) -> Denoiser:
        if network is None:
            return self._shared(index, ledger)
        if isinstance(network, Recall):
            if self.mode.name != EAGER:
                self.mode.refuse("calls that reuse features of earlier ones run eagerly")
            return super().denoiser(index, ledger, network)
        return self.mode.denoiser(super().denoiser(index, ledger, self.mode.network(network)))

    def _shared(self, index: Sequence[int], ledger: Ledger) -> Denoiser:
        network = self.mode.network(self.network)  # says each time what it could not do
        key = (tuple(index), id(self.network))
        if key not in self.mode.denoisers:
            made = self.mode.denoiser(super().denoiser(index, ledger, network))
            self.mode.denoisers[key] = (self.network, made)
        return self.mode.denoisers[key][1]
