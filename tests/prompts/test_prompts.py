"""Prompt sets from their official formats, and what a broken file says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.prompts import Prompt, describe_prompts, load_prompts
from bench.prompts.base import content_hash


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def texts(spec: str, **more: int) -> list[str]:
    return [prompt.text for prompt in load_prompts(spec, **more)]


def test_our_own() -> None:
    own = describe_prompts("own")
    assert (own.available, len({prompt.text for prompt in own.prompts})) == (64, 64)
    assert own.id == f"own@{content_hash(own.prompts)}/n=64"
    assert load_prompts("own?tag=count")[0] == Prompt("two apples on a table", "count-1", ("count",))
    assert len(load_prompts("own-video")) == 12


def test_a_draw_is_the_same_everywhere_and_nested() -> None:
    some, more = describe_prompts("own", 10, seed=3), describe_prompts("own", 20, seed=3)
    assert some.prompts == more.prompts[:10]
    assert some.id.endswith("/n=10/seed=3") and some.available == 64
    assert some.prompts != describe_prompts("own", 10, seed=4).prompts
    # by definition: the places with the smallest SHA-256 of "seed/place"
    from hashlib import sha256

    order = sorted(range(64), key=lambda place: sha256(f"3/{place}".encode()).digest())
    assert list(some.prompts) == [load_prompts("own")[place] for place in order[:10]]
    assert describe_prompts("own", 64, seed=1).id == describe_prompts("own", seed=2).id  # all of them: no draw


def test_more_than_there_are(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"prompts 'own-video' are 12, 13 were asked for; ask for 1 to 12"):
        load_prompts("own-video", 13)
    with pytest.raises(UsageError, match="ask for 1 to 12"):
        load_prompts("own-video", 0)


def test_the_id_depends_on_the_texts_and_their_order(tmp_path) -> None:
    one = describe_prompts(write(tmp_path / "my prompts.txt", "a\nb\n"))
    two = describe_prompts(write(tmp_path / "my prompts.txt", "b\na\n"))
    assert one.id.startswith("my-prompts@") and one.id.split("@")[1] != two.id.split("@")[1]


def test_text(tmp_path) -> None:
    path = write(tmp_path / "p.txt", "\ufeffa red cube\r\n\r\n  # is part of a prompt \r\n")
    assert load_prompts(path) == (Prompt("a red cube", "1"), Prompt("# is part of a prompt", "3"))


def test_csv_finds_its_column(tmp_path) -> None:
    path = write(tmp_path / "p.csv", 'Category,Prompts\nColors,"red, blue"\nText,"says ""hi"""\n')
    assert texts(path) == ["red, blue", 'says "hi"']
    assert texts(f"{path}?column=category") == ["Colors", "Text"]
    assert load_prompts(f"drawbench:{path}")[1].tags == ("Text",)


def test_parti_keeps_its_quotes(tmp_path) -> None:
    """As in PartiPrompts.tsv, where one prompt begins with a quoted word."""
    path = write(tmp_path / "PartiPrompts.tsv", 'Prompt\tCategory\tChallenge\tNote\n"G I G" on a wall\tArts\tBasic\t\n')
    assert load_prompts(f"parti:{path}") == (Prompt('"G I G" on a wall', "2", ("Arts", "Basic")),)


def test_geneval_in_both_forms(tmp_path) -> None:
    row = {"tag": "two_object", "include": [{"class": "bench", "count": 1}], "prompt": "a photo of a bench"}
    path = write(tmp_path / "evaluation_metadata.jsonl", json.dumps(row) + "\n")
    assert load_prompts(f"geneval:{path}") == (Prompt("a photo of a bench", "1", ("two_object",)),)
    path = write(tmp_path / "generation_prompts.txt", "a photo of a bench\n")
    assert texts(f"geneval:{path}") == ["a photo of a bench"]


def test_vbench_by_dimension(tmp_path) -> None:
    rows = [
        {"prompt_en": "a stop sign", "dimension": ["temporal_flickering"]},
        {"prompt_en": "a dog", "dimension": ["object_class", "scene"], "auxiliary_info": {}},
    ]
    path = write(tmp_path / "VBench_full_info.json", json.dumps(rows))
    assert load_prompts(f"vbench:{path}")[1] == Prompt("a dog", "2", ("object_class", "scene"))
    assert texts(f"vbench:{path}?tag=temporal_flickering") == ["a stop sign"]
    with pytest.raises(UsageError, match=r"unknown tag of VBench_full_info.json 'scen'; did you mean scene"):
        load_prompts(f"vbench:{path}?tag=scen")


@pytest.fixture
def captions(tmp_path) -> str:
    whole = {
        "images": [{"id": 9}, {"id": 4}, {"id": 7}],
        "annotations": [
            {"image_id": 4, "id": 30, "caption": "later\n"},
            {"image_id": 9, "id": 20, "caption": "A man. "},
            {"image_id": 4, "id": 10, "caption": "first"},
        ],
    }
    return write(tmp_path / "captions_val2014.json", json.dumps(whole))


def test_coco(captions) -> None:
    first = describe_prompts(f"coco2014:{captions}")
    assert first.prompts == (Prompt("A man.", "20", ("image 9",)), Prompt("first", "10", ("image 4",)))
    assert first.id.startswith("coco2014@")
    assert texts(f"coco2017:{captions}?captions=all") == ["A man.", "first", "later"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", "fine\nbell \x07\n", "a.txt, line 2: the prompt has a control character"),
        ("a.txt", "\n\n", "there is no prompt in"),
        ("a.csv", "prompt,tag\na,b\nc\n", "a.csv, line 3: 1 columns, the header has 2; quote commas"),
        ("a.csv", 'prompt\na\n"b\n', "a.csv, line 3: unexpected end of data"),
        ("a.csv", "title\na\n", "a.csv, line 1: no column prompt or prompts or caption or text among title"),
        ("a.csv", "prompt,x\n ,b\n", "a.csv, line 2: the prompt is empty"),
        ("a.csv", "", "no column prompt or prompts or caption or text among none"),
        (
            "a.jsonl",
            '{"prompt": "a"}\n{"prompt": \n',
            r"a.jsonl, line 2: this is not JSON \(Expecting value, column 12",
        ),
        ("a.jsonl", '{"prompt": "a \\ud83d"}\n', "line 1: the prompt has half a character, which is no text"),
        ("a.jsonl", '{"title": "a"}\n', "a.jsonl, line 1: entry 1 has no key .*only title; name it with .column=NAME"),
        ("a.jsonl", '{"prompt": 3}\n', "line 1: the prompt is 3, not a text"),
        ("a.jsonl", "3\n", "line 1: entry 1 is neither a text nor an object"),
        ("a.json", "[\n1,\n", "a.json, line 3: this is not JSON"),
        ("a.json", "{}", "this is not a list of prompts; for COCO captions write coco2014:FILE"),
        ("a.json", '["a", 2]', "entry 2 is neither a text nor an object"),
        ("a.docx", "a", r"the name must end in .txt, .csv"),
    ],
)
def test_a_broken_file_says_where_and_what(tmp_path, name: str, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        load_prompts(write(tmp_path / name, text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "is not a file of COCO captions"),
        ('{"images": [], "annotations": [{"id": 1}]}', "annotation 1 lacks image_id, id or caption"),
        ('{"images": [3], "annotations": []}', "image 1 has no id"),
        ('{"images": [], "annotations": []}', "there is no prompt in"),
        ('{"images": [{"id": 1}], "annotations": [{"id": 1, "image_id": 1, "caption": null}]}', "is null, not a text"),
        ('{"images": [{"id": 1}], "annotations": [{"id": "x", "image_id": 1, "caption": "a"}]}', "annotation 1 lacks"),
    ],
)
def test_broken_captions(tmp_path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_prompts("coco2014:" + write(tmp_path / "c.json", text))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("coco2014", "prompts 'coco2014' need their file: write coco2014:PATH"),
        ("coco2014:", "need their file"),
        ("own?captions=some", "write captions=first or captions=all"),
        ("own?colum=a", "unknown choice of a prompt set 'colum'; did you mean column"),
        ("drawbenhc", "unknown prompt set 'drawbenhc'; did you mean drawbench"),
        ("", "no prompts are named"),
        ("/none/p.txt", "there is no prompt file /none/p.txt"),
        ("parti:/none/p.tsv", "there is no prompt file /none/p.tsv"),
    ],
)
def test_a_wrong_specification(spec: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_prompts(spec)


def test_files_that_cannot_be_read(tmp_path) -> None:
    (tmp_path / "latin.txt").write_bytes("fine\ncaf\u00e9\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"latin.txt, line 2: this is not UTF-8; save the file as UTF-8"):
        load_prompts(tmp_path / "latin.txt")
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(UsageError, match=r"cannot read prompt file .*Is a directory"):
        load_prompts(tmp_path / "folder.txt")
