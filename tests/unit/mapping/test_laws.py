"""Laws over any mapping, any query and any event."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.mapping import MISSING, Explanation, MappingError, Problem, QueryError, compile_mapping, compile_query, explain
from pipeline.mapping.directives import DIRECTIVES
from pipeline.mapping.fql_functions import FUNCTIONS
from pipeline.mapping.fql_parser import parse
from pipeline.mapping.nodes import Node, Place
from pipeline.mapping.object_directives import compile_root
from pipeline.mapping.paths import compile_rooted_path
from pipeline.mapping.substitution import compile_substitution
from pipeline.mapping.values import json_text, number_text, sweep, text_of

KEYS = st.sampled_from(["a", "b", "c", "0", "length", ""])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(-1e15, 1e15),  # beyond 2**53 JavaScript writes digits that name the nearest double, not the integer
    st.sampled_from(["", "a", "b.c", "$.a", "{{a}}", "{{{b}}}", '{"a":[1]}', "x y"]),
)
EVENTS = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12)
OBJECTS = st.dictionaries(KEYS, EVENTS, max_size=5)
PATHS = st.sampled_from(["$.a", "$.b", "a.b", "$.a.c", "c[0]", "a.0.b", "absent", "", "a.length", "b.c.a"])
ABSENT = {"@path": "$.absent"}


@st.composite
def directives(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Any:  # noqa: ANN401 (JSON)
    """Draw a mapping one level above others, always a valid one."""
    found = st.one_of(PATHS.map(lambda path: {"@path": path}), inner.filter(lambda value: isinstance(value, dict) and has_directive(value)))
    objects = st.dictionaries(KEYS, inner, max_size=3)
    levels = st.one_of(
        objects,
        st.lists(inner, max_size=3),
        st.builds(lambda value: {"@literal": value}, inner),
        st.builds(lambda value: {"@path": value}, found),
        st.builds(lambda value: {"@template": value}, found),
        st.builds(lambda test, yes, no: {"@if": {"exists": test, "then": yes, "else": no}}, found, inner, inner),
        st.builds(lambda test, yes: {"@if": {"blank": test, "then": yes}}, found, inner),
        st.builds(lambda value: {"@case": {"operator": "upper", "value": value}}, found),
        st.builds(lambda value: {"@replace": {"value": value, "pattern": "a", "replacement": "$&b"}}, found),
        st.builds(lambda value, shape: {"@arrayPath": [value, shape]}, PATHS | found, inner),
        st.builds(lambda value, lists: {"@flatten": {"value": value, "separator": ".", "omitArrays": lists}}, inner, st.booleans()),
        st.builds(lambda value, mode: {"@json": {"mode": mode, "value": value}}, found, st.sampled_from(["encode", "decode"])),
        st.builds(
            lambda items, side: {"@merge": {"objects": items, "direction": side}},
            st.lists(objects | found, max_size=3),
            st.sampled_from(["left", "right"]),
        ),
        st.builds(lambda apply, mapping: {"@transform": {"apply": apply, "mapping": mapping}}, objects | found, objects | found),
        st.builds(lambda value: {"@excludeWhenNull": value}, inner),
    )
    return draw(levels)


def has_directive(value: dict[str, Any]) -> bool:
    """Tell whether an object is written as a directive."""
    return any(key.startswith("@") for key in value)


MAPPINGS = st.recursive(SCALARS | PATHS.map(lambda path: {"@path": path}), directives, max_leaves=10)


def compiled(mapping: object) -> Node:
    """Compile a mapping to its node, in which `resolve` still shows what is missing."""
    return compile_root(Place(DIRECTIVES, []), mapping)


def outcome(function: Any, event: object) -> Any:  # noqa: ANN401 (JSON)
    """Return what a compiled mapping gives, or the text of its documented error."""
    try:
        return function(event)
    except MappingError as error:
        return str(error)


def problems(mapping: object) -> tuple[Problem, ...]:
    """Return what is wrong with a mapping; nothing where it compiles."""
    try:
        compile_mapping(mapping)
    except MappingError as error:
        return error.problems
    return ()


def column(query: str) -> int:
    """Return the column of what is wrong with a query; 1 where it compiles."""
    try:
        compile_query(query)
    except QueryError as error:
        return error.column
    return 1


def holds_missing(value: object) -> bool:
    """Tell whether anything inside a value is missing."""
    if isinstance(value, dict):
        return any(item is MISSING or holds_missing(item) for item in value.values())
    return isinstance(value, list) and any(item is MISSING or holds_missing(item) for item in value)


@given(mapping=MAPPINGS, event=EVENTS)
def test_any_event_resolves(mapping: object, event: object) -> None:
    """Any event gives JSON with nothing missing inside, or the documented error; the event stays as it was."""
    before = copy.deepcopy(event)
    resolve = compile_mapping(mapping)
    result = outcome(resolve, event)

    assert not holds_missing(result)
    assert result is MISSING or orjson.dumps(result)
    assert outcome(resolve, event) == result
    assert json_text(event) == json_text(before)


@given(mapping=MAPPINGS, event=EVENTS)
def test_finishing_is_sweeping(mapping: object, event: object) -> None:
    """The closures that leave out what is missing on the way agree with one sweep at the end."""
    node = compiled(mapping)

    assert outcome(node.finish, event) == sweep(outcome(node.resolve, event), None)


@given(mapping=EVENTS)
def test_json_without_directives_maps_to_itself(mapping: object) -> None:
    """Raw JSON stands for itself."""
    assert compile_mapping(mapping)({}) == mapping


@given(
    mapping=st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*DIRECTIVES, "value", "a"]), inner, max_size=3)
    )
)
def test_any_mapping_compiles_or_says_why(mapping: object) -> None:
    """Any JSON compiles, or every problem has a path from the root and a message."""
    assert all(problem.path.startswith("/") and problem.message for problem in problems(mapping))


@given(path=st.text(max_size=12), event=EVENTS)
def test_any_path_looks_up(path: str, event: object) -> None:
    """No path raises, and what it finds is a part of the event or a length."""
    found = compile_rooted_path(path)(event)

    assert found is MISSING or orjson.dumps(found)


@given(template=st.text("{}a. $", max_size=16), event=OBJECTS)
def test_template_is_text(template: str, event: object) -> None:
    """Any template gives text; without two braces in a row it is the template itself."""
    text = compile_mapping({"@template": template})(event)

    assert isinstance(text, str)
    assert "{{" in template or text == template


@given(value=EVENTS)
def test_encoded_json_decodes_to_the_value(value: object) -> None:
    """What `@json` encodes, it decodes."""
    encoded = compile_mapping({"@json": {"mode": "encode", "value": {"@path": ""}}})(value)

    assert compile_mapping({"@json": {"mode": "decode", "value": {"@path": ""}}})(encoded) == value


@given(value=EVENTS)
def test_flat_objects_hold_no_objects(value: object) -> None:
    """Nothing nested is left, and flattening again changes nothing."""
    flatten = compile_mapping({"@flatten": {"value": {"@path": ""}, "separator": "."}})
    flat = flatten(value)

    assert not any(isinstance(item, (dict, list)) for item in flat.values())
    assert flatten(flat) == flat


@given(first=OBJECTS, second=OBJECTS)
def test_merge_left_mirrors_right(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Merging to the left is merging the reverse to the right, which is what `|` does."""

    def merged(direction: str) -> Any:  # noqa: ANN401 (JSON)
        mapping = {"@merge": {"objects": [{"@path": "a"}, {"@path": "b"}], "direction": direction}}
        return compile_mapping(mapping)({"a": first, "b": second})

    assert merged("right") == first | second
    assert merged("left") == second | first


@given(text=st.text("aAbB.\u017fs", max_size=12), pattern=st.text("aAb.s", min_size=1, max_size=3))
def test_ignoring_case_finds_every_match(text: str, pattern: str) -> None:
    """No match is left, whatever its case; letters outside ASCII stay."""
    found = compile_substitution(pattern, "", everywhere=True, ignore_case=True)(text)

    assert found.count("\u017f") == text.count("\u017f")
    assert "".join(compile_substitution(pattern.swapcase(), "", everywhere=True, ignore_case=True)(text)) == found


@given(value=EVENTS)
def test_text_and_json_never_fail(value: object) -> None:
    """Every value has a text, and its JSON text parses to it."""
    assert isinstance(text_of(value), str)
    assert orjson.loads(json_text(value)) == value


@given(number=st.floats(allow_nan=False, allow_infinity=False))
def test_number_text_names_the_number(number: float) -> None:
    """The text of a number reads back as it."""
    assert float(number_text(number)) == number


FIELDS = ["a", "b", "a.b", "absent", "a.c.a"]
OPERANDS = st.sampled_from([*FIELDS, "null", "true", "false", "5", "-1.5", '"a"', "''", "[1, 'a']", "[]", "length(a)", "typeof(b)"])


def queries(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return queries one level above others."""
    return st.one_of(
        st.builds("{} {} {}".format, OPERANDS, st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "in"]), OPERANDS),
        st.builds("{} {} {}".format, inner, st.sampled_from(["and", "or"]), inner),
        st.builds("!{}".format, inner),
        st.builds("({})".format, inner),
        st.builds("contains({}, {})".format, OPERANDS, OPERANDS),
        st.builds("match({}, {})".format, OPERANDS, st.sampled_from(["a", "'*'", "'[a-c]?'", "'['"])),
    )


QUERIES = st.recursive(OPERANDS, queries, max_leaves=8)


@given(query=QUERIES, event=EVENTS)
def test_any_event_has_a_verdict(query: str, event: object) -> None:
    """A compiled query gives true or false for any event."""
    assert compile_query(query)(event) in (True, False)


@given(left=OPERANDS, right=OPERANDS, event=OBJECTS)
def test_unequal_is_not_equal(left: str, right: str, event: object) -> None:
    """`!=` is the exact negation of `=`, and `=` looks the same from both sides."""
    equal = compile_query(f"{left} = {right}")(event)

    assert compile_query(f"{left} != {right}")(event) is not equal
    assert compile_query(f"{right} = {left}")(event) is equal
    assert compile_query(f"{left} in [{right}]")(event) is equal


@given(left=OPERANDS, right=OPERANDS, event=OBJECTS)
def test_order(left: str, right: str, event: object) -> None:
    """`<=` is `<` or `=` between numbers, and never both ways without equality."""
    less, more = (compile_query(f"{left} {sign} {right}")(event) for sign in ("<", ">"))
    at_most, at_least = (compile_query(f"{left} {sign} {right}")(event) for sign in ("<=", ">="))

    assert not (less and more)
    assert (at_most and at_least) is ((at_most or at_least) and not less and not more)


@given(query=QUERIES, event=OBJECTS)
def test_negation(query: str, event: object) -> None:
    """`!` in front of a whole query turns its verdict."""
    assert compile_query(f"!({query})")(event) is not compile_query(query)(event)


@given(query=QUERIES, event=OBJECTS)
def test_parts_explain_the_whole(query: str, event: object) -> None:
    """Each part that is told is a query of its own with the value that is told; parsing is stable."""

    def check(part: Explanation) -> None:
        assert compile_query(part.text)(event) is (part.value is True)
        for inner in part.parts:
            check(inner)

    check(explain(query, event))
    assert parse(query) == parse(query)


@given(query=st.text("ab.\\ '\"=<>!()[],*and or in1-", max_size=20) | st.text(max_size=12))
def test_any_text_compiles_or_says_where(query: str) -> None:
    """Any text is a query, or an error whose column lies in it or just behind it."""
    assert 1 <= column(query) <= len(query) + 1


@pytest.mark.parametrize("name", FUNCTIONS)
@given(values=st.lists(EVENTS, min_size=3, max_size=3))
def test_functions_take_anything(name: str, values: list[Any]) -> None:
    """No function raises, whatever it is given."""
    function = FUNCTIONS[name]

    function.evaluate(*values[: function.arity])
