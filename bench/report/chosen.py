"""Which methods a figure names when there are more than an eye can follow: the best of each family and budget."""

from __future__ import annotations

from bench.report.sections import Section

MOST = 14  # of one family


def _best(section: Section, metric: str, family: str, nfe: int) -> list[str]:
    """Methods of a family at a budget, best first; those without a value are left out."""
    found = []
    for point in section.points:
        value = point.value(metric) if point.nfe == nfe and point.family == family else None
        if value is not None:
            found.append((-value.value if value.better == "higher" else value.value, point.method))
    return [method for _, method in sorted(found)]


def _of_family(section: Section, metric: str, family: str) -> list[str]:
    members = [method for method in section.methods if section.family(method) == family]
    if len(members) <= MOST:
        return members
    rankings = [_best(section, metric, family, nfe) for nfe in reversed(section.nfe)]
    picked: dict[str, None] = {}  # an ordered set
    for place in range(len(members)):  # the best of every budget, then the second of every budget, ...
        for ranking in rankings:
            if place < len(ranking) and len(picked) < MOST:
                picked.setdefault(ranking[place])
    for member in members:  # where there are too few values to choose by
        if len(picked) < MOST:
            picked.setdefault(member)
    return [method for method in members if method in picked]


def chosen(section: Section, metric: str) -> list[str]:
    """The methods to name, in the section's order: all of a family of up to ``MOST``, else its best."""
    families = dict.fromkeys(section.family(method) for method in section.methods)
    return [method for family in families for method in _of_family(section, metric, family)]


def remark(section: Section, metric: str) -> str:
    """A sentence for the caption; empty if every method is named."""
    left = len(section.methods) - len(chosen(section, metric))
    others = f"{left} others are" if left > 1 else "1 other is"
    return f"Of families of more than {MOST} methods the best are named; {others} not." if left else ""
