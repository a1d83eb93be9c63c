"""Whether what was computed again is what is stored, byte for byte, and where it is not."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pipeline.explain.changes import Change, changes
from pipeline.model.json_text import decode
from pipeline.model.record import Output, Record


def differences(stored: Record, computed: Record | Output, *, ignore: Collection[str] = ()) -> tuple[Change, ...]:
    """Compare a stored record with one that was computed.

    Args:
        stored: What lies in the topic.
        computed: What the same steps give again.
        ignore: Headers that do not count.

    Returns:
        Nothing where key, value and headers are the same bytes; else the places that differ, headers under `/headers`.
    """
    found: list[Change] = []
    if stored.value != computed.value:
        found += changes(_read(stored.value), _read(computed.value))
        if not found:  # the same JSON in other bytes
            found.append(Change("changed", "", "the same JSON in other bytes", "the same JSON in other bytes"))
    if stored.key != computed.key:
        found.append(Change("changed", "/key", _text(stored.key), _text(computed.key)))
    one, other = _headers(stored, ignore), _headers(computed, ignore)
    if one != other:
        found += [each._replace(path=f"/headers{each.path}") for each in changes(one, other)]
    return tuple(found)


def compared(found: Collection[Change]) -> str:
    """Say it in a word: `same` or `differs`."""
    return "differs" if found else "same"


def _headers(record: Record | Output, ignore: Collection[str]) -> dict[str, str]:
    return {name: (value or b"").decode("utf-8", "replace") for name, value in record.headers if name not in ignore}


def _read(value: bytes | None) -> Any:  # noqa: ANN401 (any JSON value)
    try:
        return decode(value or b"null")[0]
    except ValueError:
        return _text(value)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")
