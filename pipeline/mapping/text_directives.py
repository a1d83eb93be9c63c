"""The directives that read and write text: `@path`, `@template`, `@case`, `@replace`, `@json`.

Source of the rules: reference/mapping.md §1.4, §1.5, §1.7, §1.10.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

import orjson

from pipeline.mapping.nodes import DEPTH_LIMIT, NOTHING, Node, Place, Resolve, may_have_holes, plain, swept
from pipeline.mapping.paths import Look, compile_path, compile_rooted_path
from pipeline.mapping.substitution import compile_substitution
from pipeline.mapping.values import JSON, MISSING, is_falsy, json_text, text_of, type_name, utf16_length

_TRIPLE: Final = re.compile(r"\{\{\{([^}]+)\}\}\}")
_DOUBLE: Final = re.compile(r"\{\{([^}]+)\}\}")
_PATTERN_LIMIT: Final = 10


def compile_path_directive(place: Place, argument: JSON) -> Node:
    """Compile `@path`: the value at a path, else missing."""
    if isinstance(argument, str):
        return swept(compile_rooted_path(argument), place.scope, holes=place.scope.holes)
    return swept(_looked_up(place, argument, compile_rooted_path), place.scope, holes=place.scope.holes)


def compile_template_directive(place: Place, argument: JSON) -> Node:
    """Compile `@template`: a text with its placeholders filled."""
    if isinstance(argument, str):
        return plain(compile_template(argument))
    return plain(_looked_up(place, argument, compile_template))


def _looked_up(place: Place, argument: JSON, compiled: Callable[[str], Look]) -> Resolve:
    """Compile an argument that only the event gives: a path or template that a directive makes."""
    text = place.compile_text(argument).resolve

    def resolve(event: JSON) -> JSON:
        value = text(event)
        if not isinstance(value, str):
            raise place.failure(f"needs a string, but its directive gave {type_name(value)}", "give it a default by @if")
        return compiled(value)(event)

    return resolve


@lru_cache(maxsize=256)  # templates that a directive makes at run time come again
def compile_template(template: str) -> Look:
    """Compile a template; first `{{{name}}}`, then `{{name}}` in what came out, neither escaped.

    Args:
        template: Text with placeholders; a brace without its partner is text.

    Returns:
        A function that takes the event and gives the text; it never raises.
    """
    if _TRIPLE.search(template) is None:
        return _compile_pass(template, _DOUBLE)
    first = _compile_pass(template, _TRIPLE)

    def render_twice(event: JSON) -> str:
        text = first(event)
        if "{{" not in text:
            return text
        return _DOUBLE.sub(lambda found: text_of(compile_path(found[1].strip())(event)), text)

    return render_twice


def _compile_pass(template: str, placeholder: re.Pattern[str]) -> Callable[[JSON], str]:
    literals = placeholder.split(template)
    head = literals[0]
    tail = tuple((compile_path(name.strip()), after) for name, after in zip(literals[1::2], literals[2::2], strict=True))

    def render(event: JSON) -> str:
        pieces = [head]
        for look, after in tail:
            value = look(event)
            pieces.append(value if type(value) is str else text_of(value))
            pieces.append(after)
        return "".join(pieces)

    return render


def compile_case_directive(place: Place, argument: JSON) -> Node:
    """Compile `@case`: a string in lower or upper case; anything else as it is."""
    fields = place.fields(argument, ("operator",))
    if fields is None:
        return NOTHING
    operator = fields["operator"]
    if not isinstance(operator, str):
        place.below("operator").problem(f"needs a string, but it is {type_name(operator)}", "lower or upper")
    if "value" not in fields:
        return NOTHING
    value = place.below("value").compile_text(fields["value"])
    if fields["value"] == "":
        return NOTHING
    recase = {"lower": str.lower, "upper": str.upper}.get(operator) if isinstance(operator, str) else None

    def recased(inner: Resolve) -> Resolve:
        def resolve(event: JSON) -> JSON:
            found = inner(event)
            if not isinstance(found, str):
                return found
            if recase is None:
                raise place.failure(f'has the operator "{operator}"', "lower or upper")
            return recase(found)

        return resolve

    resolve = recased(value.resolve)
    return Node(resolve, recased(value.finish)) if may_have_holes(value) else plain(resolve)


def compile_replace_directive(place: Place, argument: JSON) -> Node:
    """Compile `@replace`: a text with one or two literal patterns replaced; "" where there is no text."""
    fields = place.fields(argument, ("value", "pattern"))
    if fields is None:
        return NOTHING
    for key, shortest in (("pattern", 1), ("replacement", 0), ("pattern2", 0), ("replacement2", 0)):
        if key in fields:
            _check_length(place.below(key), fields[key], shortest)
    for key in ("ignorecase", "global"):
        if not isinstance(fields.get(key, True), bool):
            place.below(key).problem(f"needs true or false, but it is {type_name(fields[key])}")
    value = place.below("value").compile_text(fields["value"]).resolve
    if fields["value"] == "":
        return NOTHING
    substitutes = [
        compile_substitution(
            pattern,
            str(replacement),
            everywhere=fields.get("global", True),
            ignore_case=fields.get("ignorecase", False),
        )
        for pattern, replacement in (
            (fields["pattern"], fields.get("replacement", "")),
            (fields.get("pattern2"), fields.get("replacement2", "")),
        )
        if isinstance(pattern, str) and pattern
    ]

    def resolve(event: JSON) -> JSON:
        found = value(event)
        text = "" if isinstance(found, (list, dict)) else text_of(found)
        for substitute in substitutes:
            text = substitute(text)
        return text

    return plain(resolve)


def _check_length(place: Place, text: JSON, shortest: int) -> None:
    if not isinstance(text, str):
        place.problem(f"needs a string, but it is {type_name(text)}")
    elif not shortest <= utf16_length(text) <= _PATTERN_LIMIT:
        place.problem(f"needs {shortest} to {_PATTERN_LIMIT} characters, but it has {utf16_length(text)}")


def compile_json_directive(place: Place, argument: JSON) -> Node:
    """Compile `@json`: a value to compact JSON text, or a text to the value that it holds."""
    fields = place.fields(argument, ("mode", "value"))
    if fields is None:
        return NOTHING
    mode = fields["mode"]
    if not isinstance(mode, str) or mode.lower() not in ("encode", "decode"):
        place.below("mode").problem("needs encode or decode")
    if is_falsy(fields["value"]):
        place.below("value").problem("is empty", "give it a directive or a value")
    value = place.below("value").compile(fields["value"])
    if mode == "encode":
        return plain(_encoded(value.resolve))
    if mode == "decode":
        resolve = _decoded(value.resolve)
        return Node(resolve, _decoded(value.finish)) if may_have_holes(value) else plain(resolve)
    return NOTHING  # ENCODE passes the check and gives nothing, as in the reference


def _encoded(value: Resolve) -> Resolve:
    def resolve(event: JSON) -> JSON:
        found = value(event)
        return MISSING if found is MISSING else json_text(found)

    return resolve


def _decoded(value: Resolve) -> Resolve:
    def resolve(event: JSON) -> JSON:
        found = value(event)
        return parse_json(found) if isinstance(found, str) else found

    return resolve


def parse_json(text: str) -> JSON:
    """Parse JSON text; text that is not JSON, or nested deeper than an event may be, is returned as it is."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return text if text.count("[") + text.count("{") > DEPTH_LIMIT and _is_deeper(value, DEPTH_LIMIT) else value


def _is_deeper(value: JSON, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [item for parent in level for item in _items(parent)]
    return any(isinstance(item, (dict, list)) for item in level)


def _items(value: JSON) -> Iterable[JSON]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
