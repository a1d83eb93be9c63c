"""What is wrong with a mapping is said at once, all of it, with the place and a hint."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from pipeline.mapping import MappingError, Problem, compile_mapping


def problems(mapping: object) -> list[Problem]:
    """Return what compiling a mapping finds wrong."""
    with pytest.raises(MappingError) as caught:
        compile_mapping(mapping)

    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("mapping", "path", "message"),
    [
        ({"@Path": "$.a"}, "/", "has an unknown directive: @Path"),
        ({"@path": "$.a", "@case": {}}, "/", "has the directives @path, @case"),
        ({"@path": "$.a", "b": 1}, "/", "has b beside @path"),
        ({"f": {"@path": 1}}, "/f/@path", "needs a string or a directive, but it is a number"),
        ({"f": {"@path": {"a": "b"}}}, "/f/@path", "needs a string or a directive, but it is an object"),
        ({"f": {"@template": None}}, "/f/@template", "needs a string or a directive, but it is null"),
        ({"f": [1, {"@pth": "x"}]}, "/f/1", "has an unknown directive: @pth"),
        ({"f": {"@literal": [{"@nope": 1}]}}, "/f/@literal/0", "has an unknown directive: @nope"),
        ({"f": {"@liquid": "{{ a }}"}}, "/f/@liquid", "is not supported"),
        ({"@if": []}, "/@if", "needs an object, but it is a list"),
        ({"@if": {"@path": "$.a"}}, "/@if", "needs an object of settings, not a directive"),
        ({"@if": {"then": 1}}, "/@if", 'needs "exists" or "blank"'),
        ({"@if": {"exists": False}}, "/@if", 'needs "exists" or "blank"'),
        ({"@if": {"exists": {"@path": "a"}, "then": {"@x": 1}}}, "/@if/then", "has an unknown directive: @x"),
        ({"@if": {"exists": {"@path": "a"}, "else": {"@x": 1}}}, "/@if/else", "has an unknown directive: @x"),
        ({"@case": {"value": "a"}}, "/@case", 'needs the field "operator"'),
        ({"@case": {"operator": 1, "value": "a"}}, "/@case/operator", "needs a string, but it is a number"),
        ({"@case": {"operator": "lower", "value": 1}}, "/@case/value", "needs a string or a directive, but it is a number"),
        ({"@case": 1}, "/@case", "needs an object, but it is a number"),
        ({"@replace": {"value": "a"}}, "/@replace", 'needs the field "pattern"'),
        ({"@replace": {"value": "a", "pattern": ""}}, "/@replace/pattern", "needs 1 to 10 characters, but it has 0"),
        ({"@replace": {"value": "a", "pattern": "\U0001f600" * 6}}, "/@replace/pattern", "needs 1 to 10 characters, but it has 12"),
        ({"@replace": {"value": "a", "pattern": "a", "replacement": None}}, "/@replace/replacement", "needs a string, but it is null"),
        ({"@replace": {"value": "a", "pattern": "a", "pattern2": "x" * 11}}, "/@replace/pattern2", "needs 0 to 10 characters, but it has 11"),
        ({"@replace": {"value": "a", "pattern": "a", "global": "yes"}}, "/@replace/global", "needs true or false, but it is a string"),
        ({"@replace": {"value": 1, "pattern": "a"}}, "/@replace/value", "needs a string or a directive, but it is a number"),
        ({"@arrayPath": "$.a"}, "/@arrayPath", "needs a list, but it is a string"),
        ({"@arrayPath": []}, "/@arrayPath", "needs a list, but it is empty"),
        ({"@arrayPath": [1]}, "/@arrayPath/0", "needs a string or a directive, but it is a number"),
        ({"@arrayPath": ["$.a", {"b": {"@x": 1}}]}, "/@arrayPath/1/b", "has an unknown directive: @x"),
        ({"@flatten": {"value": 1}}, "/@flatten", 'needs the field "separator"'),
        ({"@flatten": {"value": 1, "separator": ""}}, "/@flatten/separator", "needs a string that is not empty"),
        ({"@json": {"mode": "encode"}}, "/@json", 'needs the field "value"'),
        ({"@json": {"mode": "parse", "value": 1}}, "/@json/mode", "needs encode or decode"),
        ({"@json": {"mode": "encode", "value": 0}}, "/@json/value", "is empty"),
        ({"@merge": {"objects": {}, "direction": "left"}}, "/@merge/objects", "needs a list, but it is an object"),
        ({"@merge": {"objects": ["a"], "direction": "left"}}, "/@merge/objects/0", "needs an object or a directive, but it is a string"),
        ({"@merge": {"objects": [], "direction": "up"}}, "/@merge/direction", "needs left or right"),
        ({"@merge": None}, "/@merge", "needs an object, but it is null"),
        ({"@transform": {"apply": {}, "mapping": 1}}, "/@transform/mapping", "needs an object or a directive, but it is a number"),
        ({"@transform": {"mapping": {}}}, "/@transform", 'needs the field "apply"'),
        ({"@flatten": []}, "/@flatten", "needs an object, but it is a list"),
        ({"@json": []}, "/@json", "needs an object, but it is a list"),
        ({"@replace": []}, "/@replace", "needs an object, but it is a list"),
        ({"a": {1: "x"}}, "/a", "has the key 1, which is a number"),
        ({"a": dt.date(2026, 8, 21)}, "/a", "is a date, which JSON has not"),
        ({"__segment_internal_directive": {"a": 1}}, "/__segment_internal_directive", "needs an object with one directive"),
        (
            {"__segment_internal_directive": {"@transform": "x"}},
            "/__segment_internal_directive/@transform",
            "needs an object, but it is a string",
        ),
    ],
)
def test_problem(mapping: object, path: str, message: str) -> None:
    """Each rule that a mapping breaks is named with its place."""
    assert [(problem.path, problem.message) for problem in problems(mapping)] == [(path, message)]


def test_all_problems_at_once() -> None:
    """One attempt tells everything that is wrong, lists included."""
    mapping = {"a": {"@path": 1}, "b": [{"@cas": {}}], "c": {"@replace": {"value": 1, "pattern": "", "global": 0}}}

    assert [problem.path for problem in problems(mapping)] == [
        "/a/@path",
        "/b/0",
        "/c/@replace/pattern",
        "/c/@replace/global",
        "/c/@replace/value",
    ]


def test_hint_names_what_was_meant() -> None:
    """A misspelt directive is answered with the nearest one, anything else with all."""
    assert problems({"@pth": "$.a"})[0].hint == "did you mean @path?"
    assert "@template" in problems({"@qqqqqqqq": 1})[0].hint


def test_text_of_the_error() -> None:
    """The error's text has a line for each problem."""
    with pytest.raises(MappingError, match=r"^/a has an unknown directive: @pth \(did you mean @path\?\)\n/b is a date") as caught:
        compile_mapping({"a": {"@pth": 1}, "b": dt.date(2026, 8, 21)})

    assert isinstance(caught.value, ValueError)


def test_problem_without_hint() -> None:
    """A problem without a hint ends with its message."""
    assert str(Problem("/a", "is wrong")) == "/a is wrong"


def test_depth() -> None:
    """A mapping may be as deep as an event, and no deeper."""

    def nested(levels: int) -> Any:  # noqa: ANN401 (JSON)
        value: Any = 1
        for _ in range(levels):
            value = {"k": value}
        return value

    assert compile_mapping(nested(64))({}) == nested(64)
    assert problems(nested(65))[0].message == "is nested more than 64 levels deep"
