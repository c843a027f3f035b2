"""The grammar of names with parameters."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.spec import Spec, parse, parse_list, split_top

names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
plain = st.text(alphabet="abcXYZ019_.-+/:", min_size=1, max_size=8)


def specs(value: st.SearchStrategy[str]) -> st.SearchStrategy[Spec]:
    params = st.dictionaries(names, value, max_size=4).map(lambda found: tuple(found.items()))
    return st.builds(Spec, names, params)


nested = specs(plain | specs(plain | specs(plain).map(str)).map(str))


@given(nested)
@settings(max_examples=50, deadline=None)
def test_what_is_written_is_read_again(spec: Spec) -> None:
    assert parse(str(spec)) == spec


@given(st.lists(nested, min_size=1, max_size=3))
@settings(max_examples=30, deadline=None)
def test_lists_are_read_again(several: list[Spec]) -> None:
    assert parse_list(",".join(map(str, several))) == several
    assert parse_list(" , ".join(map(str, several))) == several


@given(st.text(alphabet="ab1[]=,_ \n", max_size=20))
def test_any_text_is_a_spec_or_one_sentence(text: str) -> None:
    try:
        spec = parse(text)
    except UsageError as error:
        assert "\n" not in str(error)
    else:
        assert parse(str(spec)) == spec


@pytest.mark.parametrize(("text", "name", "params"), [
    ("ddim", "ddim", {}),
    ("ddim[]", "ddim", {}),
    (" ddim [ eta = 0.5 ] ", "ddim", {"eta": "0.5"}),
    ("a[x=1,y=b[z=2,w=3]]", "a", {"x": "1", "y": "b[z=2,w=3]"}),
    ("a[x=u=v]", "a", {"x": "u=v"}),
    ("user[sigmas=80/9.7/0]", "user", {"sigmas": "80/9.7/0"}),
])  # fmt: skip
def test_reading(text: str, name: str, params: dict[str, str]) -> None:
    assert parse(text) == Spec(name, tuple(params.items()))


def test_order_of_parameters_is_kept() -> None:
    assert str(parse("a[z=1,b=2]")) == "a[z=1,b=2]"


def test_commas_in_brackets_do_not_separate() -> None:
    assert [str(spec) for spec in parse_list("a[x=1,y=2],b, c[d=e[f=1,g=2]]")] == ["a[x=1,y=2]", "b", "c[d=e[f=1,g=2]]"]
    assert split_top("1/2[3/4]/5", "/") == ["1", "2[3/4]", "5"]
    assert parse_list("") == []


@pytest.mark.parametrize(("text", "sentence"), [
    ("", "'' is not a name with parameters; write name or name"),
    ("Ddim", "'Ddim' is not a name"),
    ("2m", "'2m' is not a name"),
    ("a-b", "'a-b' is not a name"),
    ("../a", "is not a name"),
    ("a,b", "'a,b' is not a name"),
    ("a[x=1", r"brackets do not match in 'a\[x=1'; write name"),
    ("a]x[", "brackets do not match"),
    ("a[x=1]]", "brackets do not match"),
    ("a[x=1]b", "is not a name"),
    ("a[x=1][y=2]", "brackets do not match|is not a name"),
    ("a[x]", r"'x' in 'a\[x\]' is not key=value"),
    ("a[x=]", "is not key=value"),
    ("a[=1]", "is not key=value"),
    ("a[X=1]", "is not key=value"),
    ("a[x=1,x=2]", r"parameter 'x' is given twice in 'a\[x=1,x=2\]'"),
])  # fmt: skip
def test_what_is_wrong_is_said(text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        parse(text)
