"""The JSON Schemas that a source names for its own events: read, bounded, and free of anything that would be fetched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson
from jsonschema import Draft202012Validator, SchemaError, validators
from jsonschema.validators import validator_for

from pipeline.declaration.problems import Path

BYTES_MOST: Final = 256 * 1024
"""Largest JSON Schema of an event."""
DEPTH_MOST: Final = 64
"""Deepest nesting of a JSON Schema of an event."""

_NoDialect: Final = validators.create(meta_schema={}, validators={})
_POINTERS: Final = ("$ref", "$dynamicRef", "$recursiveRef")


class SchemaFault(ValueError):
    """A JSON Schema that cannot be used.

    Attributes:
        message: What is wrong.
        hint: What to do about it; may be empty.
        path: Where in the schema.
    """

    def __init__(self, message: str, hint: str = "", path: Path = ()) -> None:
        """Keep message, hint and path."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.path = path


def parse_schema(text: bytes) -> dict[str, Any]:
    """Read a JSON Schema from a file's bytes.

    Args:
        text: UTF-8 JSON.

    Returns:
        The schema, checked.

    Raises:
        SchemaFault: It is too large, not JSON, or no JSON Schema.
    """
    if len(text) > BYTES_MOST:
        raise SchemaFault(f"the schema is larger than {BYTES_MOST // 1024} KiB")
    try:
        schema = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise SchemaFault(f"the schema is not JSON: {error}") from None
    if not isinstance(schema, dict):
        raise SchemaFault("the schema is not a JSON object")
    check_schema(schema)
    return schema


def check_schema(schema: Mapping[str, Any]) -> None:
    """Refuse what is no JSON Schema, or asks for anything outside itself.

    Args:
        schema: Plain data.

    Raises:
        SchemaFault: What is wrong first.
    """
    for path, name, value in _members(schema):
        if len(path) > DEPTH_MOST:
            raise SchemaFault(f"the schema is nested deeper than {DEPTH_MOST} levels")
        if name in _POINTERS and isinstance(value, str):
            _check_pointer(schema, value, path)
    dialect = schema.get("$schema")
    # Without a $schema it is read as the newest dialect; with an unknown one there is no validator.
    validator = Draft202012Validator if dialect is None else validator_for(schema, default=_NoDialect)
    if validator is _NoDialect:
        raise SchemaFault("its $schema is no known JSON Schema dialect", "https://json-schema.org/draft/2020-12/schema is the newest", ("$schema",))
    try:
        validator.check_schema(dict(schema))
    except SchemaError as error:
        raise SchemaFault(f"not a JSON Schema: {error.message}", "", tuple(error.absolute_path)) from None


def _check_pointer(schema: Mapping[str, Any], pointer: str, path: Path) -> None:
    if not pointer.startswith("#"):
        raise SchemaFault("a $ref may only point into the same schema", "put what it names under $defs and use #/$defs/NAME", path)
    if pointer.startswith("#/") and not _leads_somewhere(schema, pointer):
        raise SchemaFault(f"the $ref {pointer} leads nowhere", "check its spelling and what stands under $defs", path)


def _leads_somewhere(schema: Any, pointer: str) -> bool:  # noqa: ANN401 (any JSON value)
    for token in pointer.removeprefix("#/").split("/"):
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(schema, Mapping) and name in schema:
            schema = schema[name]
        elif isinstance(schema, list) and name.isdigit() and int(name) < len(schema):
            schema = schema[int(name)]
        else:
            return False
    return True


def _members(schema: Mapping[str, Any]) -> Iterator[tuple[Path, str, Any]]:
    """Give every member of every object in it, without recursion: how deep it is, is not known yet."""
    open_: list[tuple[Path, Any]] = [((), schema)]
    while open_:
        path, value = open_.pop()
        if isinstance(value, Mapping):
            for name, item in value.items():
                yield (*path, name), name, item
                if len(path) <= DEPTH_MOST:
                    open_.append(((*path, name), item))
        elif isinstance(value, list):
            open_.extend(((*path, index), item) for index, item in enumerate(value) if len(path) <= DEPTH_MOST)
