"""Static descriptions: what an entry says of itself before any of its code is imported.

Every method, suite and metric file has one ``INFO = Info(...)`` whose arguments are literals. The registry
reads them from the syntax tree, so ``bench list`` and ``bench show`` need neither torch nor the entry's
own dependencies, and an entry that cannot be imported can still be named.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FAMILIES = ("solvers", "calibrated", "distilled", "caching", "combined")


@dataclass(frozen=True, kw_only=True)
class Paper:
    """Where a method comes from.

    Attributes:
        authors: ``"Jiaming Song and Chenlin Meng and Stefano Ermon"``, in BibTeX's form.
        arxiv: the arXiv id, such as ``"2010.02502"``.
        equation: where the update stands, such as ``"Eq. 12"`` or ``"Algorithm 2"``.
        code: the authors' repository, ``owner/name``, or empty.
    """

    title: str
    authors: str
    year: int
    arxiv: str = ""
    equation: str = ""
    code: str = ""

    @property
    def bibtex(self) -> str:
        """A BibTeX entry; its key is the first author's last name and the year."""
        first = self.authors.split(" and ")[0].split()[-1]
        key = re.sub(r"[^a-z]", "", first.lower()) + str(self.year)
        fields = {"title": self.title, "author": self.authors, "year": str(self.year)}
        if self.arxiv:
            fields |= {"eprint": self.arxiv, "archivePrefix": "arXiv"}
        body = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
        return f"@misc{{{key},\n{body}\n}}"


@dataclass(frozen=True, kw_only=True)
class Info:
    """What stands beside an entry's name in lists.

    Attributes:
        summary: one sentence.
        family: for methods, one of ``FAMILIES``; empty for suites and metrics.
        papers: the papers the entry implements, the first one first.
        requires: what it needs beyond a denoiser: ``"artifact"``, ``"network"``, ``"features"``, ...
    """

    summary: str
    family: str = ""
    papers: tuple[Paper, ...] = ()
    requires: tuple[str, ...] = ()
