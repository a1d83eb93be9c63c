"""What waits for an earlier request of its user, as it lies in `requests.<destination>.held` (design rule: order under retry).

The topic is the changelog of one partition's waiting requests: its key is the offset in `requests.<destination>` and the request's
own key, its value the item, a tombstone its end. Order is that of the offsets, however often a record is written again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pipeline.model.record import Record

HELD_MOST: Final = 10_000
"""Most requests of one partition that wait; above it the partition takes no more until there is room: order goes before flow."""

HELD_BYTES: Final = 16 * 1024 * 1024
"""Bytes of their values above which the same holds."""

CHAIN_MOST: Final = 100
"""Most requests of one key that wait in a partition's window; more of a busy key must not fill it, so that other keys go on."""


def held_key(record: Record) -> bytes:
    """Give the key under which a request lies in the topic of those that wait.

    Args:
        record: Record of `requests.<destination>`.

    Returns:
        Its offset and its key.
    """
    return b"%d/%s" % (record.offset, record.key or b"")


def waiting(records: Iterable[Record], *, topic: str) -> list[Record]:
    """Find the requests that still wait.

    Args:
        records: All records of one partition of the held topic, in order.
        topic: `requests.<destination>` with prefix, where they came from.

    Returns:
        A record for each, as of `topic`: own offset, key, value and headers; in the order of their offsets.
    """
    left: dict[int, Record] = {}
    for record in records:
        number, slash, key = (record.key or b"").partition(b"/")
        if not slash or not number.isdigit():
            continue  # not ours
        if record.value is None:
            left.pop(int(number), None)
        else:
            left[int(number)] = record._replace(topic=topic, offset=int(number), key=key)
    return [left[offset] for offset in sorted(left)]
