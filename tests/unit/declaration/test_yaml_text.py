"""YAML as people write it: places, YAML 1.2 scalars, and everything that is refused."""

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.declaration.yaml_text import BYTES_MOST, Document, Place, parse_yaml


def _data(text: str) -> Any:  # noqa: ANN401 (any JSON value)
    document = parse_yaml(text, "a.yaml")
    assert isinstance(document, Document), document
    return document.data


def _refusal(text: str) -> tuple[int, int, str]:
    problems = parse_yaml(text, "a.yaml")
    assert isinstance(problems, list)
    first = problems[0]
    return first.line, first.column, first.message


def test_every_key_and_value_has_its_place() -> None:
    """Lines and columns count from 1; an object or a list is where its key is."""
    document = parse_yaml("a:\n  b: [x, y]\n", "a.yaml")
    assert isinstance(document, Document)
    assert document.data == {"a": {"b": ["x", "y"]}}
    assert document.values[("a", "b", 1)] == Place(2, 10)
    assert document.values[("a",)] == Place(1, 1)
    assert document.keys[("a", "b")] == Place(2, 3)


def test_a_place_that_is_not_there_is_shown_at_the_nearest() -> None:
    """A problem of a key that is missing points to the object that lacks it."""
    document = parse_yaml("a:\n  b: 1\n", "a.yaml")
    assert isinstance(document, Document)
    assert document.problem(("a", "b", "c", 3), "is wrong")[:3] == ("a.yaml", 2, 6)
    assert parse_yaml("", "a.yaml") == Document("a.yaml", None, {}, {})
    assert Document("a.yaml", None, {}, {}).problem(("a",), "is missing")[:3] == ("a.yaml", 1, 1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("1:30", "1:30"),
        ("2026-05-01", "2026-05-01"),
        ("0777", 777),
        ("0o17", 15),
        ("0xff", 255),
        ("-7", -7),
        ("1.5e3", 1500.0),
        (".inf", ".inf"),
        ("1e999", "1e999"),
        ("9" * 400, "9" * 400),
        ("~", None),
        ("'true'", "true"),
        ('"7"', "7"),
    ],
)
def test_plain_text_is_read_by_the_core_schema(text: str, value: object) -> None:
    """What looks like text is text, and no number appears that JSON could not carry."""
    read = _data(f"a: {text}")["a"]
    assert (read, type(read)) == (value, type(value))


def test_keys_are_text_as_they_are_written() -> None:
    """A key is never a number or a boolean."""
    assert _data("1: a\ntrue: b\n") == {"1": "a", "true": "b"}


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", (3, 1), "the key a stands twice"),
        ("a: &x 1\nb: *x\n", (1, 4), "anchors and aliases (& and *) are not allowed"),
        ("a: !!python/object:os.system x\n", (1, 4), "tags (!) are not allowed"),
        ("a: 1\n---\nb: 2\n", (2, 1), "a second document begins here"),
        ("a: " + "[" * 100 + "]" * 100, (1, 67), "nested deeper than 64 levels"),
        ("? [a]\n: 1\n", (1, 3), "a key must be text"),
        ("a: b: c\n", (1, 5), "not YAML: mapping values are not allowed here"),
        ("a:\n\t- b\n", (2, 1), "not YAML: found character '\\t' that cannot start any token"),
        ("a: [1\n", (2, 1), "not YAML: expected ',' or ']', but got '<stream end>'"),
    ],
)
def test_what_is_refused_is_shown_where_it_stands(text: str, place: tuple[int, int], message: str) -> None:
    """Each refusal has its line and column."""
    assert _refusal(text) == (*place, message)


def test_wrong_indentation_gets_a_hint() -> None:
    """The parser's own words say little to who does not know them."""
    problems = parse_yaml("a: [1]\n  b: 2\n", "a.yaml"), parse_yaml("a:\n - 1\n - 2\n b: 3\n", "a.yaml")
    assert ["indentation" in found[0].hint for found in problems if isinstance(found, list)] == [True, True]


def test_every_doubled_key_is_told() -> None:
    """Keys that stand twice are all found at once, with where the first is."""
    problems = parse_yaml("a: 1\na: 2\nb: {c: 1, c: 2}\n", "a.yaml")
    assert isinstance(problems, list)
    assert [(problem.line, problem.hint) for problem in problems] == [
        (2, "the first is on line 1; keep one of them"),
        (3, "the first is on line 3; keep one of them"),
    ]


def test_a_file_has_a_largest_size() -> None:
    """A file beyond the bound is refused before it is parsed; a control character is refused by name of the file."""
    assert _refusal("a" * (BYTES_MOST + 1))[2] == "the file is larger than 1024 KiB"
    assert _refusal("a: \x07")[2].startswith("not YAML: ")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp"))),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(deadline=None)  # a busy machine decides nothing
@given(st.dictionaries(st.sampled_from("abc"), _JSON))
def test_what_a_yaml_writer_writes_is_read_back(data: dict[str, Any]) -> None:
    """Data written by the common library reads as the same data."""
    assert _data(yaml.safe_dump(data, allow_unicode=True)) == data
