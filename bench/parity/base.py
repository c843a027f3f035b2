r"""Parity cases: one of our solvers, another public implementation, and what both make of the same problem.

::

    Case(solver, against, reference) --> ours (8, 2)   = method.sample(problem, nfe)
                                     --> theirs (8, 2) = reference(setup), live or as recorded
                                     --> largest |ours - theirs|

The problem is a two-dimensional Gaussian mixture in closed form, float64, between two noise levels of the case, so
what is compared is the solver alone. A package is called where it is installed. Authors' code is not ours to ship: a
case gives the driver, ``bench parity --checkout owner/name=PATH`` runs it on a checkout, and the numbers it gave are
kept, with their provenance, in ``recorded/``.
"""

from __future__ import annotations

from bench.parity.case import EDM_PROCESS, NFES, PACKAGES, TOLERANCE, Case, Setup, Unavailable
from bench.parity.compare import difference, ours, theirs
from bench.parity.found import cases, modules

__all__ = [
    "EDM_PROCESS",
    "NFES",
    "PACKAGES",
    "TOLERANCE",
    "Case",
    "Setup",
    "Unavailable",
    "cases",
    "difference",
    "modules",
    "ours",
    "theirs",
]
