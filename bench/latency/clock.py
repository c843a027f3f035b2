"""Clocks: what has passed on the device, not what has been queued."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch

Mark = TypeVar("Mark")


class Clock(ABC, Generic[Mark]):
    """A clock of marks; marks are cheap to set and are read afterwards."""

    @abstractmethod
    def idle(self) -> None:
        """Wait until the device has nothing left to do."""

    @abstractmethod
    def mark(self) -> Mark:
        """Set a mark after all work queued so far."""

    @abstractmethod
    def seconds(self, start: Mark, end: Mark) -> float:
        """Seconds between two marks; waits until the device has reached the second."""

    def time(self, call: Callable[[], object], beside: Callable[[], object] | None = None) -> float:
        """Seconds one call takes on an idle device, its queued work included.

        Args:
            call: what is timed.
            beside: called when both marks are set, outside what is timed; a device may still be at work then.
        """
        self.idle()
        start = self.mark()
        call()
        end = self.mark()
        if beside is not None:
            beside()
        return self.seconds(start, end)


class HostClock(Clock[int]):
    """``time.perf_counter_ns``, for devices that compute before they return."""

    def idle(self) -> None:
        pass

    def mark(self) -> int:
        return time.perf_counter_ns()

    def seconds(self, start: int, end: int) -> float:
        return (end - start) * 1e-9


class CudaClock(Clock[torch.cuda.Event]):
    """CUDA events on the current stream; the device being idle at first, the host's launching is inside."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def idle(self) -> None:
        torch.cuda.synchronize(self.device)

    def mark(self) -> torch.cuda.Event:
        new_event: Callable[..., torch.cuda.Event] = torch.cuda.Event
        event = new_event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def seconds(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        end.synchronize()
        return float(start.elapsed_time(end)) * 1e-3


def clock_for(device: torch.device) -> Clock[Any]:
    """The clock of a device."""
    return CudaClock(device) if device.type == "cuda" else HostClock()
