"""Check data against one of our own JSON Schemas, and say what is wrong in words that fit a hand-written file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from jsonschema import Draft202012Validator, ValidationError

from pipeline.declaration.problems import Path, did_you_mean

_KINDS: Final = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "empty",
}
_TYPES: Final = {
    "object": "an object",
    "array": "a list",
    "string": "text",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
}


class Fault(NamedTuple):
    """One place where data does not have the shape that a schema asks for.

    Attributes:
        path: The place.
        message: What is wrong.
        hint: What to do about it; may be empty.
        key: Whether the key is wrong, not its value.
    """

    path: Path
    message: str
    hint: str = ""
    key: bool = False


def shape_faults(data: Any, schema: Mapping[str, Any]) -> list[Fault]:  # noqa: ANN401 (any JSON value)
    """Find everything that a schema refuses.

    Args:
        data: Plain data.
        schema: A JSON Schema (2020-12); a `description` beside a `pattern` or `enum` serves as the hint.

    Returns:
        The faults; empty when the data has the shape.
    """
    validator = Draft202012Validator(schema)
    return [fault for error in validator.iter_errors(data) for fault in _faults(error)]


def _faults(error: ValidationError) -> Iterator[Fault]:
    say = _SAY.get(str(error.validator))
    if say is None:
        yield Fault(tuple(error.absolute_path), error.message)
    else:
        yield from say(error)


def _unknown_keys(error: ValidationError) -> Iterator[Fault]:
    known = error.schema.get("properties", {}) if isinstance(error.schema, Mapping) else {}
    for name in _instance(error):
        if name not in known:
            yield Fault((*error.absolute_path, name), f"unknown key {name}", did_you_mean(name, known), key=True)


def _missing_keys(error: ValidationError) -> Iterator[Fault]:
    properties = error.schema.get("properties", {}) if isinstance(error.schema, Mapping) else {}
    # jsonschema reports one error for each missing key, with the key only in its text.
    for name in _asked(error):
        if name not in _instance(error) and error.message.startswith(repr(name)):
            yield Fault(tuple(error.absolute_path), f"{name} is missing", str(properties.get(name, {}).get("description", "")))


def _wrong_type(error: ValidationError) -> Iterator[Fault]:
    hint = "write true or false" if _asked(error) == "boolean" else _hint(error)
    yield Fault(tuple(error.absolute_path), f"needs {_wanted(_asked(error))}, but it is {_kind(error.instance)}", hint)


def _wrong_choice(error: ValidationError) -> Iterator[Fault]:
    known = [str(choice) for choice in _asked(error)]
    yield Fault(tuple(error.absolute_path), f"{error.instance} is not one of its values", did_you_mean(str(error.instance), known))


def _wrong_pattern(error: ValidationError) -> Iterator[Fault]:
    yield Fault(tuple(error.absolute_path), "is not written as it must be", _hint(error) or f"pattern: {error.validator_value}")


def _empty(error: ValidationError) -> Iterator[Fault]:
    yield Fault(tuple(error.absolute_path), "must not be empty", _hint(error))


def _too_many(error: ValidationError) -> Iterator[Fault]:
    yield Fault(tuple(error.absolute_path), f"has {len(_instance(error))} entries, and {error.validator_value} are the most", _hint(error))


def _bound(word: str) -> Callable[[ValidationError], Iterator[Fault]]:
    def say(error: ValidationError) -> Iterator[Fault]:
        yield Fault(tuple(error.absolute_path), f"{error.instance} is {word} {error.validator_value}", _hint(error))

    return say


_SAY: Final[Mapping[str, Callable[[ValidationError], Iterator[Fault]]]] = {
    "additionalProperties": _unknown_keys,
    "required": _missing_keys,
    "type": _wrong_type,
    "enum": _wrong_choice,
    "pattern": _wrong_pattern,
    "minLength": _empty,
    "minItems": _empty,
    "minProperties": _empty,
    "minimum": _bound("less than"),
    "exclusiveMinimum": _bound("not more than"),
    "maximum": _bound("more than"),
    "maxItems": _too_many,
}


def _asked(error: ValidationError) -> Any:  # noqa: ANN401 (the value of a schema's keyword)
    return error.validator_value


def _instance(error: ValidationError) -> Any:  # noqa: ANN401 (any JSON value)
    return error.instance


def _hint(error: ValidationError) -> str:
    return str(error.schema.get("description", "")) if isinstance(error.schema, Mapping) else ""


def _wanted(types: str | list[str]) -> str:
    names = [types] if isinstance(types, str) else types
    return " or ".join(_TYPES.get(name, name) for name in names)


def _kind(value: Any) -> str:  # noqa: ANN401 (any JSON value)
    return _KINDS.get(type(value), "something else")
