"""How much work a JSON Schema can make of one event, bounded by looking at the schema alone.

Every subschema is counted once for each way that leads to it through `$ref`, under the place in an event that it applies to:
that is how often it is applied there. Ways that come back to themselves have no bound and are refused, and so are too many of
them (`allOf` of two references, forty times over, is 2^40 checks). A place that stands for each item of an array or each
property of an object is bounded more tightly, because an event of 64 KiB can hold 30,000 of them.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, NamedTuple

_APPLICATIONS: Final = 2_000
_APPLICATIONS_TO_EACH: Final = 50
_COST_OF_PATTERN: Final = 10
_COST_OF_CONTAINS: Final = 8
_COST_OF_OBJECT: Final = 5  # an array or object to compare with, in enum or const
_DEPTH: Final = 64
_DRAFTS: Final = ("draft-06/", "draft-07/", "draft/2019-09/", "draft/2020-12/")

_EACH: Final = "*"
_HERE: Final = frozenset({"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies"})
_ITEMS: Final = frozenset({"items", "additionalItems", "prefixItems", "contains", "additionalProperties", "patternProperties", "propertyNames"})
_NAMED: Final = frozenset({"properties", "patternProperties", "dependentSchemas", "dependencies"})
_REFUSED: Final = frozenset({"$dynamicRef", "$recursiveRef", "$vocabulary", "unevaluatedItems", "unevaluatedProperties"})


class SchemaRefusedError(ValueError):
    """A schema cannot be used; the text says why."""


class Cost(NamedTuple):
    """What one event can cost.

    Attributes:
        errors: Most errors that one place of an event can have.
        repeats: Whether any part of the schema applies to each item or each property of something.
    """

    errors: int
    repeats: bool


def check_cost(schema: dict[str, Any]) -> Cost:
    """Refuse a schema whose work on one event has no bound that we accept.

    Args:
        schema: The whole schema, plain JSON.

    Returns:
        The bound.

    Raises:
        SchemaRefusedError: It reaches outside itself, is recursive, too deep, or too much once its references are followed.
    """
    _refuse_addresses(schema)
    count = _Count(schema)
    count.walk(schema, (), (), 0)
    return Cost(count.total + count.required, any(_EACH in place for place in count.places))


def _refuse_addresses(schema: dict[str, Any]) -> None:
    """With one address for the whole schema, `#/…` means the same to us as to the validator."""
    draft = schema.get("$schema", _DRAFTS[-1])
    if not isinstance(draft, str) or not any(name in draft for name in _DRAFTS):
        raise SchemaRefusedError("is of an unknown draft; draft 6, draft 7, 2019-09 and 2020-12 are known")
    waiting: list[Any] = list(schema.values())
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if isinstance(value.get("$id"), str):
                raise SchemaRefusedError("gives a part of itself an address of its own ($id)")
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


class _Count:
    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self.total = 0
        self.required = 0
        self.places: Counter[tuple[str, ...]] = Counter()

    def walk(self, schema: Any, place: tuple[str, ...], references: tuple[str, ...], depth: int) -> None:  # noqa: ANN401 (any JSON value)
        if not isinstance(schema, dict):
            return
        if depth > _DEPTH:
            raise SchemaRefusedError(f"is nested deeper than {_DEPTH} levels")
        if refused := _REFUSED & schema.keys():
            raise SchemaRefusedError(f"uses {min(refused)}, which is not supported")
        self._add(schema, place)
        reference = schema.get("$ref")
        if reference is not None:
            if reference in references:
                raise SchemaRefusedError("refers to itself")
            self.walk(_resolve(self._root, reference), place, (*references, reference), depth + 1)
        for keyword, value in schema.items():
            for name, child in _children(keyword, value):
                self.walk(child, (*place, name) if name else place, references, depth + 1)

    def _add(self, schema: dict[str, Any], place: tuple[str, ...]) -> None:
        compared = [schema.get("const"), *_list(schema.get("enum"))]
        each = _COST_OF_PATTERN * len(_dict(schema.get("patternProperties"))) + _COST_OF_CONTAINS * ("contains" in schema)
        cost = 1 + _COST_OF_PATTERN * ("pattern" in schema) + _COST_OF_OBJECT * sum(isinstance(value, dict | list) for value in compared)
        self.places[place] += cost
        if each:
            self.places[*place, _EACH] += each
        self.total += cost + each
        self.required += len(_list(schema.get("required")))
        if self.total > _APPLICATIONS:
            raise SchemaRefusedError(f"makes more than {_APPLICATIONS} checks of one event")
        if any(_EACH in busy and self.places[busy] > _APPLICATIONS_TO_EACH for busy in (place, (*place, _EACH))):
            raise SchemaRefusedError(f"makes more than {_APPLICATIONS_TO_EACH} checks of each item or each property")


def _resolve(root: dict[str, Any], reference: Any) -> Any:  # noqa: ANN401 (any JSON value)
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")) or "%" in reference:
        raise SchemaRefusedError("refers to something else than a part of itself, such as #/$defs/name")
    value: Any = root
    for step in reference[2:].split("/") if len(reference) > 1 else ():
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        elif isinstance(value, dict) and name in value:
            value = value[name]
        else:
            raise SchemaRefusedError("refers to a part of itself that does not exist")
    return value


def _children(keyword: str, value: Any) -> list[tuple[str, Any]]:  # noqa: ANN401 (any JSON value)
    """List the subschemas under a keyword, each with the name of the place that it applies to, empty for the same place."""
    if keyword == "properties":
        return [("/" + name, child) for name, child in _dict(value).items()]
    if keyword not in _HERE and keyword not in _ITEMS:
        return []
    name = _EACH if keyword in _ITEMS else ""
    if isinstance(value, list):
        return [(name, child) for child in value]
    return [(name, child) for child in (_dict(value).values() if keyword in _NAMED else (value,))]


def _dict(value: Any) -> dict[str, Any]:  # noqa: ANN401 (any JSON value)
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:  # noqa: ANN401 (any JSON value)
    return value if isinstance(value, list) else []
