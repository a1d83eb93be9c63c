"""Paths: how they split, where they stop, what they never reach."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.mapping.paths import compile_path, compile_rooted_path, split_path
from pipeline.mapping.values import MISSING

EVENT: dict[str, Any] = {
    "a": {"b": [{"c": 1}, {"c": 2}], "key with space": 3, "key-dash": 4, "": 5},
    "null": None,
    "zero": 0,
    "empty": "",
    "no": False,
    "text": "a\U0001f600b",
    "yes": True,
    "a[b]": 6,
    "$": {"a": 7},
}


@pytest.mark.parametrize(
    ("path", "pieces"),
    [
        ("", ()),
        (".", ()),
        ("a.b", ("a", "b")),
        ("a..b", ("a", "b")),
        ("a.", ("a",)),
        ("a[0]", ("a", "0")),
        ("a['b']", ("a", "b")),
        ('a["b"].c', ("a", "b", "c")),
        ("a[b]", ("a[b]",)),
        ("a[0][1]", ("a", "0", "1")),
        ("it's", ("its",)),
    ],
)
def test_split(path: str, pieces: tuple[str, ...]) -> None:
    """A path splits at dots and at brackets that hold a digit or a quote."""
    assert split_path(path) == pieces


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$.a.b[1].c", 2),
        ("a.b.0.c", 1),
        ("$.a.b.length", 2),
        ("a.b.2", MISSING),
        ("a.b[-1]", MISSING),
        ("a.b.00", MISSING),
        ("a.key with space", 3),
        ("a.key-dash", 4),
        ("a[b]", 6),
        ("nothing", MISSING),
        ("nothing.more", MISSING),
        ("null.more.still", None),
        ("zero.more", 0),
        ("empty.length", ""),
        ("no.more", False),
        ("yes.more", MISSING),
        ("text.more", MISSING),
        ("text.length", 4),
        ("text.0", "a"),
        ("text.1", MISSING),
        ("text.3", "b"),
        ("text.9", MISSING),
        ("a.__class__", MISSING),
        ("a.b.append", MISSING),
        ("$['text']", MISSING),
        ("", EVENT),
        ("$.", EVENT),
        (".", EVENT),
    ],
)
def test_rooted_path(path: str, value: object) -> None:
    """A walk stops at null, 0, false and "" with that value, and past all else at missing."""
    found = compile_rooted_path(path)(EVENT)

    assert found == value
    assert type(found) is type(value)


def test_template_path_keeps_the_dollar() -> None:
    """Templates don't strip `$.`: it is a key of its own."""
    assert compile_path("$.a")(EVENT) == 7


@pytest.mark.parametrize("event", [None, 0, "", False])
def test_falsy_event_is_returned(event: object) -> None:
    """A falsy item under a shape makes every path that item."""
    assert [compile_path(path)(event) for path in ("a", "a.b", "a.b.c", "")] == [event] * 4


@pytest.mark.parametrize("event", [1, "x", True, [1]])
def test_truthy_event_without_keys(event: object) -> None:
    """An item that has no keys makes every path missing."""
    assert [compile_path(path)(event) for path in ("a", "a.b", "a.b.c")] == [MISSING] * 3


def test_subclass_of_dict() -> None:
    """A mapping that is not a plain dict is walked too."""

    class Event(dict[str, object]):
        pass

    assert compile_path("a.b.c")(Event(a=Event(b=Event(c=1)))) == 1
