"""Elements of a JSON file, one at a time, are what `json.load` gives."""

import io
import json

import pytest

from amg_cli.batch.json_stream import JsonError, elements

TEXTS = [
    "[]",
    "{}",
    " [ 1 , 2.5e3,-0 , 123456789012345678901234567890, 1e400, NaN, -Infinity ]\r\n",
    '[{"a": [1, {"b": "]}\\"\\\\ \\u00e9\\ud83d\\ude00 é"}]}, "x", true, null, [], {}]',
    '{"info": {"a": [1]}, "images": [], "n": 12, "annotations": [{"id": 1}, [2]], "z": "é"}',
]


def whole(text, chunk_chars):
    """The file put together again."""
    top, at_top = {}, None
    for key, place, value in elements(io.StringIO(text), chunk_chars):
        at_top = key if at_top is None else at_top
        if place == 0:
            top[key] = value
        else:
            top[key].append(value)
            assert len(top[key]) == place
    return top.get("", top)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("chunk_chars", [1, 2, 3, 7, 1000])
def test_the_elements_are_those_of_json_wherever_the_text_is_cut(text, chunk_chars):
    assert repr(whole(text, chunk_chars)) == repr(json.loads(text))


@pytest.mark.parametrize("text", [text.strip() for text in TEXTS])
@pytest.mark.parametrize("chunk_chars", [1, 1000])
def test_a_file_cut_anywhere_is_refused(text, chunk_chars):
    for end in range(1, len(text)):
        with pytest.raises(JsonError):
            whole(text[:end], chunk_chars)


def test_no_text_has_no_elements():
    assert list(elements(io.StringIO(" \n"))) == []


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("5", "{ is wanted at character 1"),
        ("[1, 2", "it ends early"),
        ('[1, "ab', "Unterminated string starting at character 5"),
        ("[1 2]", ", or ] is wanted at character 4"),
        ("[1,]", "Expecting value at character 4"),
        ('[{"a": 1, }]', "Expecting property name enclosed in double quotes at character 11"),
        ("[1] [2]", "the end is wanted at character 5"),
        ("{1: 2}", "a new key is wanted at character 3"),
        ('{"a": 1, "a": 2}', "a new key is wanted at character 13"),
        ('{"a" 1}', ": is wanted at character 6"),
    ],
)
@pytest.mark.parametrize("chunk_chars", [1, 1000])
def test_what_is_wrong_is_said_with_its_place(text, cause, chunk_chars):
    with pytest.raises(JsonError) as caught:
        whole(text, chunk_chars)
    assert str(caught.value) == cause


@pytest.mark.parametrize("text", ["[" * 100_000, f"[{'9' * 5000}]"], ids=["brackets", "digits"])
def test_what_python_refuses_to_read_is_refused(text):
    with pytest.raises(JsonError):
        whole(text, 1000)


def test_bytes_that_are_no_text_are_refused():
    file = io.TextIOWrapper(io.BytesIO(b'["\xff"]'), encoding="utf-8")
    with pytest.raises(JsonError, match=r"^it is not UTF-8 \(invalid start byte\)$"):
        list(elements(file))


def test_damage_is_found_without_reading_the_rest():
    file = io.StringIO("[1, x" + "[1], " * 100_000)
    with pytest.raises(JsonError):
        list(elements(file, 100))
    assert file.tell() <= 400
