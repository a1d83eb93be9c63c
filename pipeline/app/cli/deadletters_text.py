"""How a message and a change of it look to a person."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import orjson

from pipeline.app.cli.tail import value_of
from pipeline.model.json_text import encode
from pipeline.runtime.redrive import Change


def difference(change: Change) -> Iterable[str]:
    """Show how a request changes.

    Args:
        change: The change.

    Returns:
        The lines of a unified diff.
    """
    return difflib.unified_diff(pretty(change.before).splitlines(), pretty(change.after).splitlines(), "as it was sent", "as it is now", lineterm="")


def pretty(value: bytes) -> str:
    """Write a message for a person.

    Args:
        value: Its bytes.

    Returns:
        Indented JSON where it is JSON, else the text.
    """
    data = value_of(value)
    if isinstance(data, str):
        return value.decode("utf-8", "replace")
    try:
        return orjson.dumps(data, option=orjson.OPT_INDENT_2).decode("utf-8", "replace")
    except TypeError:  # what only the exact writer carries
        return encode(data).decode("utf-8", "replace")
