"""A source's own schemas: what they judge, and that a hostile one can do nothing (reliability page, T57)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pipeline.model import ids
from pipeline.model.outcomes import Dead, Outcome
from pipeline.model.record import Message, Record
from pipeline.model.workspace import Source, Workspace
from pipeline.resources import resource
from pipeline.validate import SchemaRefusedError, compile_event_schema, create_validate

SCHEMAS = resource("schemas")
SCHEMA_OF = {path.stem: orjson.loads(path.read_bytes()) for path in (SCHEMAS / "calls").glob("*.json")}
ORDER = {
    "properties": {
        "properties": {
            "required": ["order_id"],
            "properties": {"total": {"type": "number"}, "products": {"items": {"$ref": "#/$defs/product"}}},
        }
    },
    "required": ["properties"],
    "$defs": {"product": {"properties": {"a/b": {"type": "string"}}}},
}


def _judge(properties: Any, source: Source, event: str = "Order Completed") -> tuple[Outcome | None, dict[str, Any]]:  # noqa: ANN401 (JSON)
    body = {"type": "track", "event": event, "userId": "u", "messageId": "m", "properties": properties}
    record = Record("raw", ids.partition_of(b"u", 4), 0, 0, b"u", orjson.dumps(body))
    message = Message(body, b"u", {"source": b"web"}, record)
    return create_validate(Workspace("shop", sources={"web": source}), {}, SCHEMA_OF, partitions=4)(message), body


def test_an_event_that_conforms_is_not_touched() -> None:
    """An event that satisfies its schema, or has none, goes on without a mark."""
    source = Source("web", schemas={"Order Completed": ORDER})
    for event, properties in (("Order Completed", {"order_id": "1"}), ("Order Refunded", {})):
        outcome, body = _judge(properties, source, event)
        assert outcome is None
        assert "context" not in body


def test_violations_are_tagged() -> None:
    """A violation is named by place and rule in the event, which goes on."""
    source = Source("web", schemas={"Order Completed": ORDER})
    outcome, body = _judge({"total": "much", "products": [{"a/b": 1}]}, source)
    assert outcome is None
    assert sorted(violation["path"] + " " + violation["rule"] for violation in body["context"]["violations"]) == [
        "/properties/order_id required",
        "/properties/products/0/a~1b type",
        "/properties/total type",
    ]


def test_violations_can_end_an_event() -> None:
    """A source can keep what breaks its schemas in dead letters, whose detail holds no value."""
    outcome, _ = _judge({"order_id": "1", "total": "much"}, Source("web", schemas={"Order Completed": ORDER}, on_violation="dead"))
    assert outcome == Dead("schema_violation", "/properties/total breaks the rule type")


def test_violations_are_few() -> None:
    """Ten violations are named, and the first alone where an event could have thousands."""
    few = compile_event_schema({"required": [f"k{number}" for number in range(20)]})
    assert len(few.violations({})) == 10
    many = compile_event_schema({"properties": {"list": {"items": {"type": "string"}}}})
    assert len(many.violations({"list": [1] * 8000})) == 1


def test_published_event_schemas_are_accepted() -> None:
    """Each semantic event's schema can be a source's own."""
    for path in (SCHEMAS / "events").glob("*/*.json"):
        compile_event_schema(orjson.loads(path.read_bytes()))


def _laughs(depth: int) -> dict[str, Any]:
    parts: dict[str, Any] = {f"a{number}": {"allOf": [{"$ref": f"#/$defs/a{number + 1}"}] * 2} for number in range(depth)}
    return {"$ref": "#/$defs/a0", "$defs": {**parts, f"a{depth}": {}}}


def _nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"not": schema}
    return schema


HOSTILE: dict[str, Any] = {
    "remote reference": {"$ref": "http://127.0.0.1:9/schema"},
    "file reference": {"$ref": "file:///etc/passwd"},
    "remote draft": {"$schema": "http://127.0.0.1:9/draft"},
    "base address": {"properties": {"a": {"$id": "http://127.0.0.1:9/", "$ref": "x"}}},
    "dynamic reference": {"$dynamicRef": "#x"},
    "reference to nothing": {"$ref": "#/$defs/none"},
    "reference in disguise": {"$ref": "#/%24defs/a", "$defs": {"a": {}}},
    "loop": {"$ref": "#"},
    "loop of two": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
    "recursion": {"properties": {"child": {"$ref": "#"}}},
    "a billion laughs": _laughs(60),
    "too deep": _nested(100),
    "far too deep": _nested(300),
    "too large": {"description": "x" * 70_000},
    "many checks of each item": {"items": {"anyOf": [{"minimum": number} for number in range(100)]}},
    "many patterns for each property": {"patternProperties": {f"^{number}": {} for number in range(100)}},
    "many contains": {"allOf": [{"contains": {"const": number}} for number in range(100)]},
    "much to compare with": {"items": {"enum": [{"a": number} for number in range(1000)]}},
    "unevaluated": {"unevaluatedItems": False},
    "back-reference": {"pattern": "(a)\\1"},
    "look-ahead": {"pattern": "(?=a)"},
    "huge automaton": {"pattern": "(a{1000}){1000}"},
    "no schema": {"type": "nonsense"},
    "no pattern": {"pattern": "("},
}


@pytest.mark.parametrize("schema", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_schemas_are_refused(schema: dict[str, Any]) -> None:
    """A schema that reaches outside itself or has no bound is refused before it judges anything."""
    with pytest.raises(SchemaRefusedError):
        compile_event_schema(schema)


def test_a_refused_schema_is_named() -> None:
    """The error says whose schema it is, and for which event."""
    source = Source("web", schemas={"Signed Up": {"$ref": "#"}})
    with pytest.raises(SchemaRefusedError, match="source web: the schema of the event 'Signed Up' refers to itself"):
        create_validate(Workspace("shop", sources={"web": source}), {}, SCHEMA_OF, partitions=4)


def test_patterns_run_in_linear_time() -> None:
    """A pattern that makes a backtracking engine take ages ends at once."""
    schema = compile_event_schema({"properties": {"event": {"pattern": "^(a+)+$"}}})
    assert not schema.is_valid({"event": "a" * 30_000 + "!"})
