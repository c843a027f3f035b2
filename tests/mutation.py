"""Mutants of the methods: how many of those that change the samples does some test catch?

    python tests/mutation.py --methods ddim,heun --limit 20 --out mutants.json

A mutant is one method's file with one change: a constant, an operator, a comparison, a sign, two swapped arguments, or
an assignment that is left out (a stale buffer). It lives in the memory of a forked process; no file is touched. First
its samples are compared with the original's on the closed-form mixture, for all settings that the tests name; a mutant
that changes none of them is not counted. Then the method's own test file, its parity cases and the contract run until
one of them fails.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from torch import Tensor

from bench import artifacts, registry
from bench.api import Method, Unsupported
from bench.contract import Stage, Subject, run_check
from bench.contract_checks import CHECKS
from bench.fit import Task
from bench.parity.base import PACKAGES, Unavailable, cases, modules, ours, theirs
from bench.parity.recorded import recall
from bench.suites.base import Suite
from bench.suites.digits import Digits
from bench.suites.mixture import Mixture

ROOT = Path(__file__).parent.parent
UNCHANGED, SURVIVED, CAUGHT, TIMEOUT = 90, 91, 92, 93
SECONDS = 120
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


@dataclass(frozen=True)
class Mutant:
    """One change: where it is, and what the line becomes."""

    method: str
    line: int
    kind: str
    text: str


def _bodies(tree: ast.Module) -> Iterator[ast.AST]:
    """The nodes of all functions that compute something; messages, declarations and annotations are not mutated."""
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
        if function.name in ("declared_order", "artifact_name"):
            continue
        todo: list[ast.AST] = list(function.body)
        while todo:
            node = todo.pop(0)
            skip = isinstance(node, (ast.Raise, ast.FunctionDef, ast.JoinedStr, ast.ClassDef))
            if skip or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
                continue
            yield node
            children = list(ast.iter_child_nodes(node))
            if isinstance(node, ast.AnnAssign):
                children.remove(node.annotation)
            todo += children


def _change(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What a node may become, as ``(kind, new node)``."""
    new = copy.deepcopy(node)
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        new.value = node.value + 1 if isinstance(node.value, int) else node.value * 1.25 + 0.01
        yield "constant", new
    elif isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in SWAPS:
        new.op = SWAPS[type(node.op)]()
        yield "operator", new
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        new.ops[0] = SWAPS[type(node.ops[0])]()
        yield "comparison", new
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not)):
        yield "sign", node.operand
    elif isinstance(node, ast.Call) and len(node.args) == 2 and not node.keywords:
        new.args = new.args[::-1]
        yield "swapped arguments", new
    elif isinstance(node, (ast.Assign, ast.AugAssign)):
        yield "left out", ast.Pass()


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, new: ast.AST) -> None:
        self.target, self.new = target, new

    def visit(self, node: ast.AST) -> ast.AST:
        return ast.copy_location(self.new, node) if node is self.target else self.generic_visit(node)


def mutants(name: str, source: str) -> Iterator[tuple[Mutant, str]]:
    """All mutants of a file with their sources."""
    tree = ast.parse(source)
    for node in list(_bodies(tree)):
        for kind, new in _change(node):
            mutated = _Replace(node, new).visit(copy.deepcopy(tree, {id(node): node}))  # the copy shares this node
            line = getattr(node, "lineno", 0)
            text = ast.unparse(ast.fix_missing_locations(mutated))
            shown = ast.unparse(node).splitlines()[0][:60] + " -> " + ast.unparse(new).splitlines()[0][:60]
            yield Mutant(name, line, kind, shown), text


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Imports one module from a text."""

    def __init__(self, module: str, path: str, source: str) -> None:
        self.module, self.path, self.source = module, path, source

    def find_spec(self, name: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if name != self.module:
            return None
        return importlib.util.spec_from_file_location(name, self.path, loader=self)

    def get_filename(self, fullname: str) -> str:
        return self.path

    def get_data(self, path: str | bytes) -> bytes:
        return self.source.encode()

    def path_stats(self, path: str) -> dict[str, float]:
        raise OSError  # never a cached byte code


def settings(name: str) -> list[str]:
    """The specs of a method that its tests, the contract's tests and its parity cases name."""
    texts = [path.read_text() for path in ROOT.glob("tests/methods/**/test_*.py")]
    texts += [path.read_text() for path in (ROOT / "bench/parity/cases").glob(f"{name}.py")]
    found = {name}
    for text in texts:
        found |= set(re.findall(rf'"({name}\[[^"{{}}]+\])"', text))
    return sorted(found)


def _shipped(suite: Suite, method: Method, nfe: int) -> Mapping[str, Tensor]:
    found = artifacts.find(suite, method, type(method).__module__.rpartition(".")[2], nfe)
    return found.tensors() if found is not None else {}


FITS = {
    "amed": "amed[images=8,passes=2,teacher_steps=2]",
    "analytic_dpm": "analytic_dpm[levels=6,images=16,batch=8]",
    "autodiffusion": "autodiffusion[images=8,population=4,mutations=3,crossovers=3,parents=2,generations=2]",
    "ays": "ays[first=4,doublings=1,rounds=1,levels=17,images=8]",
    "bespoke": "bespoke[iterations=2,batches=1,batch=4,path_steps=8]",
    "d_ode": "d_ode[scale=3,images=8]",
    "dlg": "dlg[levels=20,hidden=8,steps=3,batch=16]",
    "dpm_ot": "dpm_ot[targets=16,steps=4,batch=32]",
    "dpm_solver_v3": "dpm_solver_v3[levels=8,images=8,batch=4]",
    "gaussian_teleport": "gaussian_teleport[k=1,images=64]",
    "gits": "gits[teacher_steps=12,images=8]",
    "ld3": "ld3[teacher_steps=12,batches=1,batch=4,iterations=3]",
    "ocm": "ocm[width=4,iterations=3,batch=8]",
    "optimal_stepsize": "optimal_stepsize[teacher_steps=12,images=4]",
    "s3": "s3[population=8,generations=2,parents=3,images=8,teacher_steps=8]",
}


def _family(name: str) -> str:
    info = registry.entry("method", name).info
    return info.family if info else ""


def stages(family: str) -> list[Stage]:
    """Where the samples of a method are compared: the mixture, or the digits for what needs a network."""
    suites: list[Suite] = [Digits()] if family in ("caching", "combined", "distilled") else [Mixture()]
    return [Stage(suite, partial(_shipped, suite)) for suite in suites]


def digest(name: str) -> str:
    """A hash of a method's samples over its settings and budgets, and of what it refuses."""
    total = hashlib.sha256()
    for stage in stages(_family(name)):
        total.update(_digest(name, stage))
    if name in FITS:
        total.update(_fitted(FITS[name]))
    return total.hexdigest()


def _fitted(spec: str) -> bytes:
    """What a small fit on the mixture makes: another artifact is another sample."""

    def other(nfe: int) -> NoReturn:
        raise Unsupported("calibration starts from no other artifact")

    task = Task(Mixture(), torch.Generator().manual_seed(1), other)
    try:
        tensors = registry.create("method", spec).fit(task, 4)
    except Exception as error:
        return type(error).__name__.encode()
    return b"".join(tensors[name].double().mul(2**20).round().numpy().tobytes() for name in sorted(tensors))


def _digest(name: str, stage: Stage) -> bytes:
    total = hashlib.sha256()
    for spec in settings(name):
        try:
            subject = Subject(name, registry.create("method", spec), stage)
        except Exception as error:  # a setting that a test shows to be refused
            total.update(type(error).__name__.encode())
            continue
        for nfe in (1, 2, 3, 4, 5, 8, 10):
            total.update(_samples(subject, nfe))
    return total.digest()


def _samples(subject: Subject, nfe: int) -> bytes:
    from bench.contract import Call

    try:
        dtype = torch.float32 if isinstance(subject.stage.suite, Digits) else torch.float64  # its network is float32
        samples = subject.sample(Call(nfe, dtype=dtype)).samples
    except Unsupported:
        return b"unsupported"
    except Exception as error:
        return type(error).__name__.encode()
    return samples.double().mul(2**30).round().numpy().tobytes()


def _parity_holds(name: str) -> bool:
    for case in cases(name) if name in modules() else ():
        for nfe in case.nfes if case.tolerance is not None else ():
            with contextlib.suppress(Unavailable):
                reference = theirs(case, nfe) if case.against in PACKAGES else recall(name, case, nfe)
                if not float((ours(case, nfe) - reference).abs().max()) <= (case.tolerance or 0):
                    return False
    return True


def _contract_holds(name: str) -> bool:
    stage = Stage.default()
    for spec in settings(name):
        try:
            subject = Subject(name, registry.create("method", spec), stage)
        except Exception:
            continue
        if any(run_check(check, subject).status == "failed" for check in CHECKS):
            return False
    return True


def caught(name: str, test: Path) -> bool:
    """Whether some test of a method fails now."""
    if test.exists() and pytest.main(["-x", "-q", "-p", "no:cacheprovider", str(test)]) != 0:
        return True
    try:
        return not (_parity_holds(name) and _contract_holds(name))
    except Exception:
        return True


def _child(item: registry.Entry, source: str, before: str, test: Path) -> int:
    sys.meta_path.insert(0, _Finder(item.module, str(item.path), source))
    with open(os.devnull, "w") as null:
        os.dup2(null.fileno(), 1)
        os.dup2(null.fileno(), 2)
    if digest(item.name) == before:
        return UNCHANGED
    return CAUGHT if caught(item.name, test) else SURVIVED


def run(item: registry.Entry, source: str, before: str, test: Path) -> int:
    """Judge one mutant in a process of its own."""
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        code = CAUGHT
        try:
            code = _child(item, source, before, test)
        except BaseException:  # it cannot even be imported
            code = CAUGHT
        os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else TIMEOUT


def in_fork(item: registry.Entry) -> str:
    """The digest of the unchanged file, from a process of its own, so that this one never imports it."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, digest(item.name).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        found = pipe.read()
    os.wait()
    return found


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", default="", help="names separated by commas; all by default")
    parser.add_argument("--limit", type=int, default=20, help="mutants of each file, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where the list of mutants is written, JSON")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    names = chosen.methods.split(",") if chosen.methods else sorted(registry.methods_of("all"))
    rows, totals = [], Counter[int]()
    for name in names:
        item = registry.entry("method", name)
        source = item.path.read_text()
        test = ROOT / "tests" / item.path.relative_to(ROOT).parent / f"test_{name}.py"
        before, start = in_fork(item), time.perf_counter()
        drawn = list(mutants(name, source))
        random.Random(f"{chosen.seed}/{name}").shuffle(drawn)
        counts = Counter[int]()
        for mutant, text in drawn[: chosen.limit]:
            code = run(item, text, before, test)
            code = CAUGHT if code == TIMEOUT else code
            counts[code] += 1
            rows.append({**asdict(mutant), "outcome": {UNCHANGED: "unchanged", CAUGHT: "caught"}.get(code, "survived")})
            if code not in (UNCHANGED, CAUGHT):
                print(f"  survived: {name}:{mutant.line} {mutant.kind}: {mutant.text}", flush=True)
        totals += counts
        took = time.perf_counter() - start
        summary = f"{counts[CAUGHT]} caught, {counts[SURVIVED]} survived, {counts[UNCHANGED]} unchanged"
        print(f"{name}: {summary}, {took:.0f} s", flush=True)
        if chosen.out:
            chosen.out.write_text(json.dumps(rows, indent=1))
    counted = totals[CAUGHT] + totals[SURVIVED]
    share = totals[CAUGHT] / max(1, counted)
    print(f"total: {totals[CAUGHT]} of {counted} caught ({share:.1%}); {totals[UNCHANGED]} change no sample")


if __name__ == "__main__":
    main()
