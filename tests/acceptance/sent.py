"""What was sent against what is stored."""

from __future__ import annotations

import json  # values hold integers beyond 64 bits
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

TABLES = ("identifies", "tracks", "pages", "screens", "groups", "aliases")


class Comparison(NamedTuple):
    """Sent against stored.

    Attributes:
        missing: Message ids that are not stored.
        doubled: Message ids that are stored more than once.
        unknown: Stored message ids that nobody sent.
        different: For each message whose values differ, its id and the place of the first difference.
    """

    missing: list[str]
    doubled: list[str]
    unknown: list[str]
    different: list[str]


def compare(sent: Mapping[str, Mapping[str, Any]], stored: Iterable[Mapping[str, Any]], *, others: frozenset[str] = frozenset()) -> Comparison:
    """Compare what was sent with what is stored.

    Args:
        sent: Calls by message id.
        stored: Stored messages.
        others: Message ids that may be stored beside.

    Returns:
        The differences.
    """
    counts: Counter[str] = Counter()
    different = []
    for message in stored:
        message_id = message["messageId"]
        counts[message_id] += 1
        place = difference(sent.get(message_id, {}), message)
        if place:
            different.append(f"{message_id}{place}")
    return Comparison(
        sorted(sent.keys() - counts.keys()),
        sorted(message_id for message_id, count in counts.items() if count > 1),
        sorted(counts.keys() - sent.keys() - others),
        different,
    )


def difference(sent: Any, stored: Any, place: str = "") -> str:  # noqa: ANN401 (any JSON value)
    """Find the first place where a stored value is not what was sent.

    What the SDK or the pipeline adds to the message itself and to its `context` is no difference; everything below is compared exactly, types too.

    Args:
        sent: What was sent.
        stored: What is stored.
        place: Where these lie.

    Returns:
        The place, or an empty text.
    """
    if place in ("", "/context") and isinstance(sent, dict) and isinstance(stored, dict):
        for name, value in sent.items():
            found = difference(value, stored.get(name), f"{place}/{name}")
            if found:
                return found
        return ""
    return "" if _exact(sent) == _exact(stored) else place


def _exact(value: Any) -> str:  # noqa: ANN401 (any JSON value)
    """Write a value so that equal texts mean equal values: 1, 1.0 and true differ, the order of keys does not."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(name)}:{_exact(item)}" for name, item in sorted(value.items())) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_exact, value)) + "]"
    return json.dumps(value)
