"""A method that misbehaves at one budget, and says in a log that it ran."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from typing import Literal

import torch
from torch import Tensor

from bench.api import Info, Method, Problem, Unsupported

INFO = Info(summary="Misbehaves on purpose.", family="solvers")


class Faulty(Method):
    """Calls the denoiser ``nfe`` times, after misbehaving if ``nfe`` is ``at``."""

    how: Literal[
        "fine", "raise", "exit", "exit0", "sysexit", "abort", "segv", "kill", "hang", "memory",
        "few", "many", "nan", "no",
    ] = "fine"  # fmt: skip
    at: int = 2
    seconds: float = 0.0
    log: str = ""

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        if self.log and problem.x.shape[0] == 2:  # the probe, once for each execution
            with open(self.log, "a", encoding="utf-8") as file:
                file.write(f"{nfe}\n")
        time.sleep(self.seconds)
        count = nfe
        if nfe == self.at:
            self.misbehave()
            count += {"few": -1, "many": 1}.get(self.how, 0)
        x = problem.x
        for sigma in torch.linspace(80.0, 1.0, count, dtype=torch.float64).tolist():
            x = problem.denoise(x, sigma)
        return x * float("nan") if nfe == self.at and self.how == "nan" else x

    def misbehave(self) -> None:
        """Die in the stated way."""
        os.write(2, b"last words\n")
        if self.how == "raise":
            raise RuntimeError("on purpose")
        if self.how == "no":
            raise Unsupported("only odd budgets")
        if self.how in ("exit", "exit0"):
            os._exit(3 if self.how == "exit" else 0)
        if self.how == "sysexit":
            sys.exit(4)
        if self.how == "abort":
            os.abort()
        if self.how == "segv":
            ctypes.string_at(0)
        if self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "hang":
            time.sleep(3600)
        if self.how == "memory":
            torch.ones(2**33, dtype=torch.float64)
