"""How much work a JSON Schema can make of one event, bounded by looking at the schema alone.

Every subschema is counted once for each way that leads to it through `$ref`: that is how often it can be applied to one
place of an event. Ways that come back to themselves have no bound and are refused, and so are too many of them (`allOf` of
two references, forty times over, is 2^40 checks). What stands under a keyword that is applied to each item or each
property is bounded more tightly, because an event of 64 KiB can hold some ten thousand of them.
"""

from __future__ import annotations

from typing import Any, Final

_APPLICATIONS: Final = 2_000
_REPEATED_APPLICATIONS: Final = 250
_DEPTH: Final = 64
_PATTERN_CHARACTERS: Final = 1_000

_ONE: Final = frozenset({"not", "if", "then", "else", "propertyNames", "contentSchema"})
_MANY: Final = frozenset({"allOf", "anyOf", "oneOf"})
_NAMED: Final = frozenset({"properties", "dependentSchemas", "dependencies"})
_EACH: Final = frozenset(
    {"items", "additionalItems", "prefixItems", "contains", "additionalProperties", "patternProperties", "unevaluatedItems", "unevaluatedProperties"}
)
_REFUSED: Final = frozenset({"$dynamicRef", "$recursiveRef", "$vocabulary"})


class SchemaRefusedError(ValueError):
    """A schema cannot be used; the text says why."""


def check_cost(schema: Any) -> None:  # noqa: ANN401 (any JSON value)
    """Refuse a schema whose work on one event has no bound that we accept.

    Args:
        schema: The whole schema, plain JSON.

    Raises:
        SchemaRefusedError: It reaches outside itself, is recursive, too deep, or too large once its references are followed.
    """
    _Count(schema).walk(schema, (), 0, repeated=False)


class _Count:
    def __init__(self, root: Any) -> None:  # noqa: ANN401 (any JSON value)
        self._root = root
        self._all = 0
        self._repeated = 0

    def walk(self, schema: Any, references: tuple[str, ...], depth: int, *, repeated: bool) -> None:  # noqa: ANN401 (any JSON value)
        if not isinstance(schema, dict):
            return
        self._all += 1
        self._repeated += repeated
        if self._all > _APPLICATIONS or self._repeated > _REPEATED_APPLICATIONS:
            raise SchemaRefusedError(f"applies more than {_REPEATED_APPLICATIONS if repeated else _APPLICATIONS} subschemas to one place")
        if depth > _DEPTH:
            raise SchemaRefusedError(f"is nested deeper than {_DEPTH} levels")
        self._refuse(schema, depth)
        reference = schema.get("$ref")
        if reference is not None:
            if reference in references:
                raise SchemaRefusedError("refers to itself")
            self.walk(self._resolve(reference), (*references, reference), depth + 1, repeated=repeated)
        for keyword, value in schema.items():
            for child in _children(keyword, value):
                self.walk(child, references, depth + 1, repeated=repeated or keyword in _EACH or keyword == "propertyNames")

    def _refuse(self, schema: dict[str, Any], depth: int) -> None:
        if refused := _REFUSED & schema.keys():
            raise SchemaRefusedError(f"uses {min(refused)}")
        if depth and ("$id" in schema or ("id" in schema and isinstance(schema["id"], str))):
            raise SchemaRefusedError("gives a part of itself an address of its own ($id)")
        patterns = [schema.get("pattern", ""), *(schema.get("patternProperties") or ())]
        if any(len(str(pattern)) > _PATTERN_CHARACTERS for pattern in patterns):
            raise SchemaRefusedError(f"has a pattern of more than {_PATTERN_CHARACTERS} characters")

    def _resolve(self, reference: Any) -> Any:  # noqa: ANN401 (any JSON value)
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            raise SchemaRefusedError("refers to something outside itself; only references such as #/$defs/name are followed")
        value = self._root
        for step in reference[2:].split("/") if len(reference) > 1 else ():
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(value, list) and name.isdecimal() and int(name) < len(value):
                value = value[int(name)]
            elif isinstance(value, dict) and name in value:
                value = value[name]
            else:
                raise SchemaRefusedError("refers to a part of itself that does not exist")
        return value


def _children(keyword: str, value: Any) -> list[Any]:  # noqa: ANN401 (any JSON value)
    if keyword in _MANY or (keyword in _EACH and isinstance(value, list)):
        return value if isinstance(value, list) else []
    if keyword in _NAMED or keyword == "patternProperties":
        return list(value.values()) if isinstance(value, dict) else []
    if keyword in _ONE or keyword in _EACH:
        return [value]
    return []
