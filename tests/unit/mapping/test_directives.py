"""Directives: what each gives, row by row from the rules; the rows of the traps bear their name."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.mapping import MISSING, MappingError, compile_mapping

EVENT: dict[str, Any] = {
    "type": "track",
    "event": "Order",
    "null": None,
    "zero": 0,
    "empty": "",
    "no": False,
    "yes": True,
    "one": 1.0,
    "name": "Ada Lovelace",
    "path": "$.name",
    "list": [1, None, "x"],
    "items": [{"sku": "a", "price": 1}, {"sku": None}, None, 3],
    "lone": {"sku": "z"},
    "none": [],
    "deep": {"a": {"b": 1, "c": None}, "l": [], "o": {}, "m": [{"n": None}]},
    "json": '{"a":[1.0,null]}',
    "bad": "{nope",
    "nan": "[NaN]",
    "inject": "{{name}}",
    "dot": {"x.y": 1, "": {"k": 2}},
}


def path(text: str) -> dict[str, str]:
    """Return a `@path` directive."""
    return {"@path": text}


ABSENT = path("$.absent")
NULL = path("$.null")


def check(table: list[tuple[Any, Any]]) -> pytest.MarkDecorator:
    """Return a parametrisation over (mapping, result)."""
    return pytest.mark.parametrize(("mapping", "result"), table)


def resolved(mapping: object) -> object:
    """Compile a mapping and resolve it against the event."""
    return compile_mapping(mapping)(EVENT)


@check(
    [
        (5, 5),
        ("$.name", "$.name"),
        (None, None),
        ({"a": None, "b": [], "c": {}, "d": "", "e": 0, "f": False}, {"a": None, "b": [], "c": {}, "d": "", "e": 0, "f": False}),
        ({"{{name}}": 1}, {"{{name}}": 1}),
        ({"a": ABSENT, "b": NULL}, {"b": None}),
        ({"a": {"b": ABSENT}}, {"a": {}}),
        ([ABSENT, NULL, path("$.zero")], [None, None, 0]),
        ({"a": [{"b": ABSENT}]}, {"a": [{}]}),
        ({"_metadata": 1}, {"_metadata": 1}),
        ({"a": {"@path": "$.type", "_metadata": {"label": "Type"}}}, {"a": "track"}),
        (ABSENT, MISSING),
    ],
)
def test_raw(mapping: object, result: object) -> None:
    """Raw values stand for themselves; missing keys go, null stays, lists never shrink."""
    assert resolved(mapping) == result


@check(
    [
        (path("$.deep.a.b"), 1),
        (path("$.null.a.b"), None),
        (path("$.zero.a"), 0),
        (path("$.empty.a"), ""),
        (path("$.name.a"), MISSING),
        ({"@path": path("$.path")}, "Ada Lovelace"),
        ({"@path": {"@template": "$.{{type}}"}}, MISSING),
        (path(""), EVENT),
    ],
)
def test_path(mapping: object, result: object) -> None:
    """The value at the path; null where the walk met null."""
    assert resolved(mapping) == result


@check(
    [
        ("{{name}}!", "Ada Lovelace!"),
        ("{{ name }}", "Ada Lovelace"),
        ("{{{name}}}", "Ada Lovelace"),
        ("{{absent}}{{null}}", ""),
        ("{{yes}} {{no}}", "true false"),
        ("{{one}}", "1"),
        ("{{zero}}", "0"),
        ("{{list}}", "1,,x"),
        ("{{deep}}", "[object Object]"),
        ("{{ }}", "[object Object]"),
        ("{{.}}", "[object Object]"),
        ("{{$.name}}", ""),
        ("{{{inject}}}", "Ada Lovelace"),
        ("{{inject}}", "{{name}}"),
        ("{{{inject}}} {{type}}", "Ada Lovelace track"),
        ("{{}}", "{{}}"),
        ("{{name", "{{name"),
        ("{name}", "{name}"),
        ("{{name}x}}", "{{name}x}}"),
        ("{{name}}}", "Ada Lovelace}"),
        ("{{items.0.sku}}", "a"),
        ("plain", "plain"),
        ("", ""),
        (path("$.inject"), "Ada Lovelace"),
    ],
)
def test_template(mapping: object, result: str) -> None:
    """Placeholders are filled with JavaScript's text, and what came out of triple braces is filled again."""
    assert resolved({"@template": mapping}) == result


@check(
    [
        (path("$.name"), "Ada Lovelace"),
        ({"a": path("$.type"), "b": ABSENT}, {"a": "track"}),
        ("{{name}}", "{{name}}"),
        (None, None),
        ("", ""),
    ],
)
def test_literal(mapping: object, result: object) -> None:
    """Directives inside a literal still run."""
    assert resolved({"@literal": mapping}) == result


@check(
    [
        ({"exists": path("$.name"), "then": 1, "else": 2}, 1),
        ({"exists": ABSENT, "then": 1, "else": 2}, 2),
        ({"exists": NULL, "then": 1, "else": 2}, 2),
        ({"exists": path("$.empty"), "then": 1}, 1),
        ({"exists": path("$.zero"), "then": 1}, 1),
        ({"exists": path("$.no"), "then": 1}, 1),
        ({"exists": path("$.none"), "then": 1}, 1),
        ({"exists": ABSENT, "then": 1}, MISSING),
        ({"exists": path("$.name"), "else": 1}, MISSING),
        ({"exists": path("$.name"), "then": None}, None),
        ({"exists": path("$.name"), "then": False}, False),
        ({"exists": path("$.name"), "then": ""}, ""),
        ({"exists": ABSENT, "else": False}, MISSING),
        ({"exists": ABSENT, "else": 0}, MISSING),
        ({"exists": ABSENT, "else": ""}, MISSING),
        ({"exists": ABSENT, "else": None}, MISSING),
        ({"exists": ABSENT, "else": []}, []),
        ({"exists": ABSENT, "else": {"a": ABSENT}}, {}),
        ({"exists": ABSENT, "else": path("$.no")}, False),
        ({"exists": False, "blank": path("$.empty"), "then": 1, "else": 2}, 1),
        ({"blank": path("$.name"), "then": 1, "else": 2}, 1),
        ({"blank": path("$.empty"), "then": 1, "else": 2}, 2),
        ({"blank": path("$.zero"), "then": 1, "else": 2}, 2),
        ({"blank": path("$.none"), "then": 1, "else": 2}, 2),
        ({"blank": path("$.deep.o"), "then": 1, "else": 2}, 1),
        ({"blank": ABSENT, "then": 1}, MISSING),
    ],
)
def test_if(mapping: object, result: object) -> None:
    """`exists` takes "" and 0 for there; `blank` runs `then` for what is not blank; a falsy `else` is missing."""
    found = resolved({"@if": mapping})

    assert found == result
    assert type(found) is type(result)


@check(
    [
        ({"operator": "lower", "value": path("$.name")}, "ada lovelace"),
        ({"operator": "upper", "value": "straße"}, "STRASSE"),
        ({"operator": "lower", "value": path("$.one")}, 1.0),
        ({"operator": "lower", "value": NULL}, None),
        ({"operator": "lower", "value": ABSENT}, MISSING),
        ({"operator": "lower", "value": ""}, MISSING),
        ({"operator": "lower"}, MISSING),
        ({"operator": "swap", "value": path("$.one")}, 1.0),
        ({"operator": "lower", "value": {"@literal": {"A": ABSENT}}}, {}),
    ],
)
def test_case(mapping: object, result: object) -> None:
    """A string is recased, anything else passes."""
    assert resolved({"@case": mapping}) == result


@check(
    [
        ({"value": "a-b-c", "pattern": "-", "replacement": "_"}, "a_b_c"),
        ({"value": "a-b-c", "pattern": "-"}, "abc"),
        ({"value": "a-b-c", "pattern": "-", "replacement": "_", "global": False}, "a_b-c"),
        ({"value": "a.b", "pattern": ".", "replacement": ""}, "ab"),
        ({"value": "AbaB", "pattern": "ab", "replacement": "x", "ignorecase": True}, "xx"),
        ({"value": "AbaB", "pattern": "ab", "replacement": "x", "ignorecase": True, "global": False}, "xaB"),
        ({"value": "sS\u017f kK\u212a", "pattern": "s", "replacement": "", "ignorecase": True}, "\u017f kK\u212a"),
        ({"value": "kK\u212a", "pattern": "k", "replacement": "", "ignorecase": True}, "\u212a"),
        ({"value": "\u03c3\u03a3\u03c2", "pattern": "\u03c3", "replacement": "x", "ignorecase": True}, "xxx"),
        ({"value": "ßẞ\U00010400\U00010428", "pattern": "ß\U00010400", "replacement": "x", "ignorecase": True}, "ßẞ\U00010400\U00010428"),
        ({"value": "\U00010400", "pattern": "\U00010400", "replacement": "x", "ignorecase": True}, "x"),
        ({"value": "a1b", "pattern": "1", "replacement": "$$"}, "a$b"),
        ({"value": "a1b", "pattern": "1", "replacement": "[$&]"}, "a[1]b"),
        ({"value": "a1b", "pattern": "1", "replacement": "$`$'"}, "aabb"),
        ({"value": "a1b", "pattern": "1", "replacement": "$1\\1"}, "a$1\\1b"),
        ({"value": "abc", "pattern": "a", "replacement": "b", "pattern2": "b", "replacement2": "x"}, "xxc"),
        ({"value": "abc", "pattern": "a", "pattern2": ""}, "bc"),
        ({"value": "abc", "pattern": "a", "pattern2": "c"}, "b"),
        ({"value": path("$.yes"), "pattern": "t", "replacement": "T"}, "True"),
        ({"value": path("$.one"), "pattern": "0", "replacement": ""}, "1"),
        ({"value": path("$.zero"), "pattern": "x"}, "0"),
        ({"value": NULL, "pattern": "x"}, ""),
        ({"value": ABSENT, "pattern": "x"}, ""),
        ({"value": path("$.list"), "pattern": "x"}, ""),
        ({"value": path("$.deep"), "pattern": "x"}, ""),
        ({"value": "", "pattern": "x"}, MISSING),
        ({"value": path("$.empty"), "pattern": "x"}, ""),
    ],
)
def test_replace(mapping: object, result: object) -> None:
    """Patterns are literal text; null, missing, lists and objects give ""."""
    assert resolved({"@replace": mapping}) == result


@check(
    [
        (["$.list"], [1, None, "x"]),
        (["$.absent", {"s": path("$.sku")}], MISSING),
        (["$.null", {"s": path("$.sku")}], None),
        (["$.name", {"s": path("$.sku")}], "Ada Lovelace"),
        (["$.none", {"s": path("$.sku")}], []),
        (["$.lone", {"s": path("$.sku")}], [{"s": "z"}]),
        (["$.lone", {}], {"sku": "z"}),
        (["$.lone", "x"], {"sku": "z"}),
        (["$.items", {"s": path("$.sku")}], [{"s": "a"}, {"s": None}, {"s": None}, {}]),
        (["$.items", path("$.price")], [1, None, None, None]),
        ([path("$.lone"), {"s": path("$.sku")}], [{"s": "z"}]),
        ([{"@literal": [ABSENT, {"a": ABSENT, "b": 1}]}, path("")], [None, {"b": 1}]),
        ([{"@literal": [ABSENT, None]}, {"v": path("$.a")}], [{}, {"v": None}]),
        ([{"@literal": {"a": ABSENT}}], {}),
    ],
)
def test_array_path(mapping: object, result: object) -> None:
    """A lone object is wrapped, each item is the event of the shape, and primitives pass through."""
    assert resolved({"@arrayPath": mapping}) == result


@check(
    [
        ({"value": path("$.deep"), "separator": "."}, {"a.b": 1, "a.c": None, "m.0.n": None}),
        ({"value": path("$.deep"), "separator": "_", "omitArrays": True}, {"a_b": 1, "a_c": None, "l": [], "m": [{"n": None}]}),
        ({"value": path("$.list"), "separator": "."}, {"0": 1, "1": None, "2": "x"}),
        ({"value": path("$.one"), "separator": "."}, {"": 1.0}),
        ({"value": NULL, "separator": "."}, {"": None}),
        ({"value": ABSENT, "separator": "."}, {}),
        ({"value": path("$.dot"), "separator": "."}, {"x.y": 1, "k": 2}),
        ({"value": {"a": ABSENT, "b": [ABSENT, None], "c": {}}, "separator": "."}, {"b.1": None}),
        ({"value": {"b": [ABSENT]}, "separator": ".", "omitArrays": 1}, {"b": [None]}),
        ({"value": {"b": [1]}, "separator": ".", "omitArrays": 0}, {"b.0": 1}),
    ],
)
def test_flatten(mapping: object, result: object) -> None:
    """Keys are joined; empty objects and lists vanish."""
    assert resolved({"@flatten": mapping}) == result


@check(
    [
        ({"mode": "encode", "value": {"b": 1.0, "a": "é", "c": ABSENT}}, '{"b":1,"a":"é"}'),
        ({"mode": "encode", "value": [ABSENT, 1e-7]}, "[null,1e-7]"),
        ({"mode": "encode", "value": NULL}, "null"),
        ({"mode": "encode", "value": ABSENT}, MISSING),
        ({"mode": "decode", "value": path("$.json")}, {"a": [1.0, None]}),
        ({"mode": "decode", "value": path("$.bad")}, "{nope"),
        ({"mode": "decode", "value": path("$.nan")}, "[NaN]"),
        ({"mode": "decode", "value": path("$.empty")}, ""),
        ({"mode": "decode", "value": "Infinity"}, "Infinity"),
        ({"mode": "decode", "value": path("$.one")}, 1.0),
        ({"mode": "decode", "value": NULL}, None),
        ({"mode": "decode", "value": {"a": ABSENT}}, {}),
        ({"mode": "decode", "value": "[" * 65 + "]" * 65}, "[" * 65 + "]" * 65),
        ({"mode": "decode", "value": "[" * 3 + '{"a":"[{["}' + "]" * 3}, [[[{"a": "[{["}]]]),
        ({"mode": "decode", "value": "[" + "[]," * 99 + "{}]"}, [[]] * 99 + [{}]),
        ({"mode": "ENCODE", "value": 1}, MISSING),
    ],
)
def test_json(mapping: object, result: object) -> None:
    """Text that does not parse stays text, as does what Python alone takes for JSON."""
    assert resolved({"@json": mapping}) == result


@check(
    [
        ({"objects": [{"a": 1, "b": 1}, {"a": 2}], "direction": "right"}, {"a": 2, "b": 1}),
        ({"objects": [{"a": 1, "b": 1}, {"a": 2}], "direction": "left"}, {"a": 1, "b": 1}),
        ({"objects": [{"a": 1}, {"a": 2}], "direction": "LEFT"}, {"a": 2}),
        ({"objects": [{"name": "default"}, {"name": ABSENT}], "direction": "right"}, {}),
        ({"objects": [{"name": "default"}, {"name": NULL}], "direction": "right"}, {"name": None}),
        ({"objects": [{"name": ABSENT}, {"name": "default"}], "direction": "left"}, {}),
        ({"objects": [{"a": {"x": 1}}, {"a": {"y": 2}}], "direction": "right"}, {"a": {"y": 2}}),
        ({"objects": [{"a": 1}, ABSENT, NULL, path("$.one"), path("$.name"), path("$.list")], "direction": "right"}, {"a": 1}),
        ({"objects": [path("$.lone"), path("$.deep.a")], "direction": "right"}, {"sku": "z", "b": 1, "c": None}),
        ({"objects": [{"a": {"b": ABSENT}}, path("$.lone")], "direction": "right"}, {"a": {}, "sku": "z"}),
        ({"objects": [], "direction": "right"}, {}),
    ],
)
def test_merge(mapping: object, result: object) -> None:
    """A missing or null value of a later object overwrites; what is no object is skipped."""
    assert resolved({"@merge": mapping}) == result


def test_merge_in_merge_and_if() -> None:
    """What is missing inside still overwrites when it comes through other directives."""
    inner = {"@merge": {"objects": [{"b": 1}, {"@if": {"exists": path("$.name"), "then": {"a": ABSENT}}}], "direction": "right"}}

    assert resolved({"@merge": {"objects": [{"a": 1}, {"@literal": inner}], "direction": "right"}}) == {"b": 1}


@check(
    [
        ({"apply": {"n": path("$.name")}, "mapping": {"x": path("$.n"), "y": path("$.name")}}, {"x": "Ada Lovelace"}),
        ({"apply": {"n": ABSENT}, "mapping": {"x": {"@if": {"exists": path("$.n"), "then": 1, "else": 2}}}}, {"x": 2}),
        ({"apply": {"n": [ABSENT, None]}, "mapping": {"x": path("$.n.0"), "y": path("$.n.1"), "z": path("$.n")}}, {"y": None, "z": [None, None]}),
        ({"apply": path("$.lone"), "mapping": path("$.sku")}, "z"),
        ({"apply": {}, "mapping": {"a": 1, "b": path("$.type")}}, {"a": 1}),
    ],
)
def test_transform(mapping: object, result: object) -> None:
    """The inner mapping sees only what `apply` made."""
    assert resolved({"@transform": mapping}) == result


@check(
    [
        (NULL, MISSING),
        (ABSENT, MISSING),
        (path("$.zero"), 0),
        (path("$.deep"), {"a": {"b": 1}, "l": [], "o": {}, "m": [{"n": None}]}),
        ({"a": NULL, "b": {"c": NULL}, "d": [NULL, {"e": NULL}]}, {"b": {}, "d": [None, {"e": None}]}),
        ([NULL, ABSENT], [None, None]),
    ],
)
def test_exclude_when_null(mapping: object, result: object) -> None:
    """Nulls go from objects at every depth; lists and what they hold stay; emptied objects stay."""
    assert resolved({"@excludeWhenNull": mapping}) == result


def test_root_directive() -> None:
    """The directive under the reserved key works on the whole event before all other keys."""
    mapping = {"__segment_internal_directive": {"@transform": {"apply": {"n": path("$.name")}}}, "x": path("$.n"), "y": path("$.name")}

    assert resolved(mapping) == {"x": "Ada Lovelace"}


@check(
    [
        ({"a": {"@path": NULL}}, "/a/@path"),
        ({"a": {"@path": path("$.one")}}, "/a/@path"),
        ({"a": [{"@template": ABSENT}]}, "/a/0/@template"),
        ({"a": {"@case": {"operator": "swap", "value": path("$.name")}}}, "/a/@case"),
        ({"a": {"@arrayPath": ["$.items", {"@transform": {"apply": {}, "mapping": {}}}]}}, "/a/@arrayPath/1/@transform"),
    ],
)
def test_fault_of_an_event(mapping: object, result: str) -> None:
    """The few faults that only an event can show are errors that name the place."""
    resolve = compile_mapping(mapping)

    with pytest.raises(MappingError) as caught:
        resolve(EVENT)

    assert [problem.path for problem in caught.value.problems] == [result]


def test_event_is_left_as_it_is() -> None:
    """Resolving changes neither the event nor what later events get."""
    event: dict[str, Any] = {"a": {"b": None}, "l": [{"x": 1}]}
    resolve = compile_mapping({"k": {"c": [1]}, "m": {"@merge": {"objects": [path("$.a"), {"b": 1}], "direction": "right"}}})
    first = resolve(event)
    first["k"]["c"].append(2)

    assert event == {"a": {"b": None}, "l": [{"x": 1}]}
    assert resolve(event) == {"k": {"c": [1]}, "m": {"b": 1}}
