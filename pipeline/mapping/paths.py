"""Paths into an event (`$.properties.products[0].sku`), compiled to look-ups.

Source of the rules: reference/mapping.md §1.3.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from pipeline.mapping.values import JSON, MISSING, is_falsy, utf16_length

Look = Callable[[JSON], JSON]
"""A compiled path: takes the event, gives the value there or `MISSING`; never raises."""

_BORDER: Final = re.compile(r"""\.|\[(?=['"0-9])|(?<=['"0-9])\]""")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")


def split_path(text: str) -> tuple[str, ...]:
    """Split a path into its keys; "" and "." have none and mean the root."""
    return tuple(piece.replace("'", "").replace('"', "") for piece in _BORDER.split(text) if piece)


@lru_cache(maxsize=1024)  # paths made by templates and directives at run time come again and again
def compile_path(text: str) -> Look:
    """Compile a path as templates write it, where `$.` has no meaning.

    Args:
        text: Keys joined by dots or brackets.

    Returns:
        The look-up. It stops at null, 0, false and "" and returns them, whatever keys remain.
    """
    pieces = split_path(text)
    if not pieces:
        return _root
    if len(pieces) == 1:
        return _one_step(pieces[0])
    if len(pieces) == 2:
        return _two_steps(*pieces)
    return _steps(pieces)


def compile_rooted_path(text: str) -> Look:
    """Compile a path as `@path` and `@arrayPath` write it: the first `$.` is taken off, wherever it stands."""
    return compile_path(text.replace("$.", "", 1))


def _root(event: JSON) -> JSON:
    return event


def _one_step(key: str) -> Look:
    def look(event: JSON) -> JSON:
        return event.get(key, MISSING) if type(event) is dict else _step(event, key)

    return look


def _two_steps(first: str, second: str) -> Look:
    def look(event: JSON) -> JSON:
        value = event.get(first, MISSING) if type(event) is dict else _step(event, first)
        return value.get(second, MISSING) if type(value) is dict else _step(value, second)

    return look


def _steps(pieces: tuple[str, ...]) -> Look:
    def look(event: JSON) -> JSON:
        value = event
        for key in pieces:
            if type(value) is dict:
                value = value.get(key, MISSING)
            elif is_falsy(value):
                return value
            else:
                value = _step(value, key)
        return value

    return look


def _step(value: JSON, key: str) -> JSON:
    """Go one step from what is not a plain object. A falsy value stays where it is: the walk stops there."""
    if is_falsy(value):
        return value
    if isinstance(value, list):
        return len(value) if key == "length" else _item(value, key)
    if isinstance(value, str):
        return utf16_length(value) if key == "length" else _character(value, key)
    return value.get(key, MISSING) if isinstance(value, dict) else MISSING


def _item(values: list[JSON], key: str) -> JSON:
    return values[int(key)] if _INDEX.fullmatch(key) and int(key) < len(values) else MISSING


def _character(text: str, key: str) -> JSON:
    """Return the character at a UTF-16 index; half of a surrogate pair is missing, since no JSON could carry it."""
    if _INDEX.fullmatch(key) is None:
        return MISSING
    unit = text.encode("utf-16-le", "surrogatepass")[2 * int(key) : 2 * int(key) + 2]
    character = unit.decode("utf-16-le", "ignore")
    return character or MISSING
