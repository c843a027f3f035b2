"""Any text can stand in a spec and comes back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bench.quoting import protect, quote, unquote
from bench.spec import Spec, parse


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_a_spec(text: str) -> None:
    quoted = quote(text)
    assert parse(str(Spec("suite", (("key", quoted), ("other", "1"))))) == Spec(
        "suite", (("key", quoted), ("other", "1"))
    )
    assert unquote(quoted) == text
    assert protect(quoted) == quoted


def test_most_values_read_as_they_are() -> None:
    for text in ("owner/name@main", "a cat = 1?", "dir/file.txt", "naïve"):
        assert quote(text) == text
    assert quote("a, [b] 5%") == "a%2C %5Bb%5D 5%25"
