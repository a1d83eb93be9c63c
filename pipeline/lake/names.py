"""Names of tables, columns and events (warehouse reference §2; the rule of segmentio/go-snakecase)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from types import MappingProxyType
from typing import Final

NAME_CHARACTERS: Final = 250
"""Longest name of a column; longer ones are cut and end in a hash of the whole (the limit of Segment's lakes)."""

TABLES: Final = MappingProxyType(
    {"identify": "identifies", "track": "tracks", "page": "pages", "screen": "screens", "group": "groups", "alias": "aliases"}
)
"""Table of each spec call."""

_WORD: Final = re.compile("[A-Z0-9]+[a-z0-9]*|[a-z0-9]+")
_HASH_CHARACTERS: Final = 8
_SAFE_BYTES: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def snake_case(name: str) -> str:
    """Fold a name as Segment's warehouses do.

    Words are runs of ASCII letters and digits in which capitals only lead; everything else separates.

    Args:
        name: Name of a property, a trait or an event.

    Returns:
        The words in lower case, joined by `_`; empty where the name has no ASCII letter or digit.
    """
    return "_".join(_WORD.findall(name)).lower()


@lru_cache(maxsize=65536)
def event_slug(event: str) -> str:
    """Name the table of a track event.

    Args:
        event: Name of the event, as it was sent.

    Returns:
        Its slug; empty where the name has no ASCII letter or digit.
    """
    return _within_limit(snake_case(event))


def column_name(path: Iterable[str]) -> str:
    """Name the column of a value.

    Args:
        path: Keys from the outermost object to the value, as they were sent; the first may be a prefix (`context`).

    Returns:
        The folded keys joined by `_`; empty where the last key folds to nothing, because such a value would take its parent's name.
    """
    folded = [snake_case(key) for key in path]
    if not folded[-1]:
        return ""
    return _within_limit("_".join(part for part in folded if part))


def _within_limit(name: str) -> str:
    if len(name) <= NAME_CHARACTERS:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_CHARACTERS]
    return f"{name[: NAME_CHARACTERS - _HASH_CHARACTERS - 1]}_{digest}"


@lru_cache(maxsize=4096)
def folder_value(identifier: str) -> str:
    """Write an id so that it is safe as part of a path.

    Args:
        identifier: Id of a source, normally of lower-case letters, digits and `-`.

    Returns:
        The id, with every other byte as `%XX`; `%` alone for an empty id.
    """
    return "".join(chr(byte) if byte in _SAFE_BYTES else f"%{byte:02X}" for byte in identifier.encode("utf-8", "replace")) or "%"
