"""The inside of a worker process: set up once, then one task after the other until the pipe closes.

Light to import, because the number of threads has to be in the environment before torch and numpy are.
"""

from __future__ import annotations

import ctypes
import faulthandler
import importlib
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

READY = "ready"
_PR_SET_PDEATHSIG = 1
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Setup:
    """What every worker is given.

    Attributes:
        threads: of torch and numpy in one worker.
        scratch: folder for what workers write to stdout and stderr.
        preload: ``module:function``s to call before the first task, so that no task pays for imports.
        plugins: ``(kind, path)`` of entries given by path.
        memory_limit: bytes a worker may add to what it holds once set up; None for no limit.
    """

    threads: int
    scratch: Path
    preload: tuple[str, ...] = ()
    plugins: tuple[tuple[str, str], ...] = ()
    memory_limit: int | None = None


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _die_with_parent(parent: int) -> None:
    """Workers never outlive a killed parent: the kernel sees to it on Linux, a thread elsewhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _redirect(path: Path) -> None:
    """Send file descriptors 1 and 2 to a file: a library's last words are kept, and the terminal stays readable."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    faulthandler.enable()


def _address_space() -> int:
    """Bytes of virtual memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _limit_memory(extra: int) -> None:
    import resource

    limit = _address_space() + extra
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _prepare(setup: Setup) -> None:
    for name in _THREAD_VARIABLES:  # read by torch and numpy when they are imported
        os.environ[name] = str(setup.threads)
    from bench.registry import add_path

    for kind, path in setup.plugins:
        add_path(kind, Path(path))  # type: ignore[arg-type]  # a Kind by construction
    for name in setup.preload:
        module, _, function = name.partition(":")
        getattr(importlib.import_module(module), function)()
    if setup.memory_limit is not None:
        _limit_memory(setup.memory_limit)


def serve(pipe: Connection, parent: int, setup: Setup, log: Path) -> None:
    """The life of a worker: receive a task, send its outcome, until the parent closes the pipe."""
    from bench.engine.base import attempt

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    _die_with_parent(parent)
    _redirect(log)
    _prepare(setup)
    pipe.send(READY)
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        pipe.send(attempt(task))
