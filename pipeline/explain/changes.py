"""How one JSON value differs from another, place by place."""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

MOST: Final = 60
"""Most differences that are named; an event may have 10,000 keys."""
TEXT_CHARACTERS: Final = 300
"""Longest text that is shown of a value."""
HIDDEN: Final = frozenset(("writeKey",))
"""Keys of an event whose values are never shown."""


class Change(NamedTuple):
    """One difference.

    Attributes:
        kind: What happened at the place.
        path: JSON Pointer to it (RFC 6901).
        before: Value before; None where it was added.
        after: Value after; None where it was removed.
    """

    kind: Literal["added", "removed", "changed"]
    path: str
    before: Any = None
    after: Any = None


def changes(before: Any, after: Any, most: int = MOST) -> tuple[Change, ...]:  # noqa: ANN401 (any JSON value)
    """Compare two JSON values.

    Args:
        before: The one.
        after: The other.
        most: Most differences that are given.

    Returns:
        Differences in the order of the places; an object that is wholly new is one of them. Long texts are cut, secrets of the protocol hidden.
    """
    found: list[Change] = []
    _compare("", before, after, found, most)
    return tuple(found[:most])


def _compare(path: str, before: Any, after: Any, found: list[Change], most: int) -> None:  # noqa: ANN401 (the same)
    if len(found) >= most:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *(name for name in after if name not in before)]:
            place = f"{path}/{str(name).replace('~', '~0').replace('/', '~1')}"
            if name not in after:
                found.append(Change("removed", place, before=shown(before[name], str(name))))
            elif name not in before:
                found.append(Change("added", place, after=shown(after[name], str(name))))
            else:
                _compare(place, before[name], after[name], found, most)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            _compare(f"{path}/{index}", one, other, found, most)
    elif before.__class__ is not after.__class__ or before != after:
        found.append(Change("changed", path, shown(before), shown(after)))


def shown(value: Any, name: str = "") -> Any:  # noqa: ANN401 (the same)
    """Give a value as it is shown.

    Args:
        value: Any JSON value.
        name: The key that it stands under.

    Returns:
        The value; long texts cut, hidden ones replaced.
    """
    if name in HIDDEN:
        return "…"
    if isinstance(value, str):
        return value if len(value) <= TEXT_CHARACTERS else f"{value[:TEXT_CHARACTERS]}… ({len(value)} characters)"
    if isinstance(value, dict):
        return {key: shown(item, str(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [shown(item) for item in value]
    return value
