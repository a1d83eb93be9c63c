"""The directives that exist, and how a mapping is compiled with them.

Source of the rules: reference/mapping.md §1.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from pipeline.mapping import object_directives as objects
from pipeline.mapping import text_directives as texts
from pipeline.mapping.nodes import Directive, Node, Place
from pipeline.mapping.problems import MappingError, Problem
from pipeline.mapping.values import JSON


def _compile_liquid_directive(place: Place, _argument: JSON) -> Node:
    return place.problem("is not supported", "use @template, @if, @case or @replace")


DIRECTIVES: Final = MappingProxyType[str, Directive](
    {
        "@arrayPath": objects.compile_array_path_directive,
        "@case": texts.compile_case_directive,
        "@excludeWhenNull": objects.compile_exclude_when_null_directive,
        "@flatten": objects.compile_flatten_directive,
        "@if": objects.compile_if_directive,
        "@json": texts.compile_json_directive,
        "@liquid": _compile_liquid_directive,
        "@literal": objects.compile_literal_directive,
        "@merge": objects.compile_merge_directive,
        "@path": texts.compile_path_directive,
        "@replace": texts.compile_replace_directive,
        "@template": texts.compile_template_directive,
        "@transform": objects.compile_transform_directive,
    }
)
"""Every directive by its name."""


def compile_mapping(mapping: JSON) -> Callable[[JSON], JSON]:
    """Compile a mapping to a function from an event to the values of a destination's fields.

    Args:
        mapping: JSON; an object with an `@` key is a directive, all else stands for itself. Nested at most 64 levels.

    Returns:
        A pure function. It takes an event (parsed JSON, which it leaves as it is) and returns JSON that shares parts
        with the event. A key whose value is missing is left out, a missing list item is null; where the mapping as a
        whole is one directive that finds nothing, the function returns `MISSING`. It raises MappingError where a
        directive that makes a path or template gives no string, `@case` with an unknown operator meets a string, or
        `@transform` meets an item that is no object.

    Raises:
        MappingError: The mapping is wrong; holds all problems, lists included.

    Source: reference/mapping.md §1 (Segment's mapping kit).
    """
    problems: list[Problem] = []
    node = objects.compile_root(Place(DIRECTIVES, problems), mapping)
    if problems:
        raise MappingError(tuple(problems))
    return node.finish
