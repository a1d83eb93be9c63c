"""JSON Schemas that a source names: bounded, local, and really JSON Schemas."""

import orjson
import pytest

from pipeline.declaration.event_schemas import BYTES_MOST, SchemaFault, parse_schema
from tests.unit.declaration.cases import problems


def test_a_schema_with_local_references_is_taken() -> None:
    """`$ref` may point to `$defs`, to an element of a list, or to an anchor."""
    text = b'{"$defs": {"a/b": {"$anchor": "x"}}, "anyOf": [{"$ref": "#/$defs/a~1b"}, {"$ref": "#/anyOf/0"}, {"$ref": "#x"}]}'
    assert parse_schema(text) == orjson.loads(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "the schema is not JSON"),
        (b"[]", "the schema is not a JSON object"),
        (b'{"type": "strnig"}', "not a JSON Schema"),
        (b'{"$schema": "https://example.com/mine"}', "its $schema is no known JSON Schema dialect"),
        (b'{"properties": {"a": {"$ref": "https://example.com/a.json"}}}', "a $ref may only point into the same schema"),
        (b'{"properties": {"a": {"$ref": "file:///etc/passwd"}}}', "a $ref may only point into the same schema"),
        (b'{"$ref": "#/$defs/a"}', "the $ref #/$defs/a leads nowhere"),
        (b'{"anyOf": [{"$ref": "#/anyOf/7"}]}', "the $ref #/anyOf/7 leads nowhere"),
        (b'{"not": ' * 100 + b"{}" + b"}" * 100, "the schema is nested deeper than 64 levels"),
        (b'{"a": "' + b"x" * BYTES_MOST + b'"}', "the schema is larger than 256 KiB"),
    ],
)
def test_a_schema_is_refused(text: bytes, message: str) -> None:
    """Each kind of bad or hostile schema has its message."""
    with pytest.raises(SchemaFault) as caught:
        parse_schema(text)
    assert caught.value.message.startswith(message)


def test_a_fault_is_told_at_the_source_that_names_the_schema() -> None:
    """A file that is missing, and one that is wrong, are told where they are named; an inline schema at the place itself."""
    text = "workspace: shop\nsources:\n  - id: web\n    schemas:\n      A: a.json\n      B: b.json\n      C: {properties: {x: {$ref: 'http://x'}}}\n"
    found = problems(text, files={"b.json": b"{"})
    assert [(problem.line, problem.path) for problem in found] == [
        (5, "sources[0].schemas.A"),
        (6, "sources[0].schemas.B"),
        (7, "sources[0].schemas.C.properties.x.$ref"),
    ]
    assert found[0].message == "there is no file a.json"
