"""A source's own JSON Schema for one of its track events, made safe to run on every event.

A schema comes from a workspace, which need not be ours. It can reach nothing outside itself, its patterns run in linear
time, and how much work one event can cause is bounded before the first event is judged. Source: design, own schemas;
reliability page, hostile schemas (T57).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

import jsonschema_rs
import orjson

from pipeline.validate.schema_cost import Cost, SchemaRefusedError, check_cost

__all__ = ["EventSchema", "SchemaRefusedError", "Violation", "compile_event_schema"]

_SCHEMA_BYTES: Final = 64 * 1024
_PATTERN_BYTES: Final = 1024 * 1024
"""Most memory that one compiled pattern may take; `(a{1000}){1000}` does not fit."""
_VIOLATIONS: Final = 10
_ERRORS: Final = 1_000
"""The library collects all errors before it gives the first, each with a copy of its part of the event."""
_PATH_CHARACTERS: Final = 200


class Violation(NamedTuple):
    """One rule that an event breaks.

    Attributes:
        path: JSON Pointer to the place in the event, at most 200 characters.
        rule: The JSON Schema keyword.
    """

    path: str
    rule: str


class EventSchema:
    """A compiled schema."""

    __slots__ = ("_cost", "_validator", "is_valid")

    def __init__(self, validator: jsonschema_rs.Validator, cost: Cost) -> None:
        self._validator = validator
        self._cost = cost
        self.is_valid = validator.is_valid

    def violations(self, body: dict[str, Any]) -> list[Violation]:
        """Name what an event breaks.

        Args:
            body: The event, which is not valid.

        Returns:
            At most 10 violations, without values; the first alone where there could be very many.
        """
        if self._cost.errors * (_count_values(body) if self._cost.repeats else 1) <= _ERRORS:
            return [_violation(error) for error in islice(self._validator.iter_errors(body), _VIOLATIONS)]
        try:
            self._validator.validate(body)
        except jsonschema_rs.ValidationError as error:
            return [_violation(error)]
        return []


def compile_event_schema(schema: Mapping[str, Any]) -> EventSchema:
    """Compile a schema for whole track events.

    Args:
        schema: JSON Schema; draft 2020-12 unless its `$schema` names another. `$ref` may point into the schema itself, not
            recursively. `format` is an annotation, as in the draft.

    Returns:
        The compiled schema.

    Raises:
        SchemaRefusedError: It is no JSON Schema, asks for anything outside itself, or could make one event too costly.
    """
    try:
        text = orjson.dumps(schema)
    except TypeError as error:  # too deep, or not JSON
        raise SchemaRefusedError("is not JSON that can be carried") from error
    if not isinstance(schema, Mapping):
        raise SchemaRefusedError("is not an object")
    if len(text) > _SCHEMA_BYTES:
        raise SchemaRefusedError(f"has {len(text)} bytes; at most {_SCHEMA_BYTES} are allowed")
    plain = orjson.loads(text)  # the compiler takes plain objects only
    cost = check_cost(plain)
    try:
        validator = jsonschema_rs.validator_for(
            plain,
            validate_formats=False,
            offline=True,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=_PATTERN_BYTES),
        )
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise SchemaRefusedError(f"is not a usable JSON Schema: {str(error).partition(chr(10))[0]}") from error
    return EventSchema(validator, cost)


def _violation(error: jsonschema_rs.ValidationError) -> Violation:
    steps = list(error.instance_path)
    if error.kind.name == "required":
        steps.append(error.kind.property)  # type: ignore[attr-defined]  # the stub declares the kinds' own attributes on subclasses
    path = "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)
    return Violation(path[:_PATH_CHARACTERS], error.kind.name)


def _count_values(value: Any) -> int:  # noqa: ANN401 (any JSON value)
    count = 0
    waiting = [value]
    while waiting:
        count += 1
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return count
