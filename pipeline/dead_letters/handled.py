"""Which dead letters need nothing more: the records of `handled`, written in the transaction that handled them.

One record stands for all letters of one partition that one transaction handled. Its key is the place of the first of them, which no other
record has, because a letter is handled once; its value is JSON with the ranges of offsets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import orjson

from pipeline.dead_letters.letter import parse_place, place_of
from pipeline.model.topics import DEAD_LETTERS_MS

How = Literal["redriven", "discarded"]


class Handled(NamedTuple):
    """What was done with a letter.

    Attributes:
        how: `redriven` or `discarded`.
        at_ms: When, milliseconds since the epoch.
        because: Why, as the person said who did it; may be empty.
    """

    how: How
    at_ms: int
    because: str = ""


def handled_record(stage: str, partition: int, offsets: Sequence[int], handled: Handled) -> tuple[bytes, bytes]:
    """Write down that letters of one partition were handled.

    Args:
        stage: Their stage.
        partition: Partition of its dead-letter topic.
        offsets: Their offsets, ascending, at least one.
        handled: What was done with them.

    Returns:
        Key and value.
    """
    body = {"how": handled.how, "at": handled.at_ms, "because": handled.because, "offsets": list(_ranges(offsets))}
    return place_of(stage, partition, offsets[0]).encode(), orjson.dumps(body)


def _ranges(offsets: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Give runs of offsets as pairs of the first and the last."""
    first = last = offsets[0]
    for offset in offsets[1:]:
        if offset != last + 1:
            yield first, last
            first = offset
        last = offset
    yield first, last


class HandledLetters:
    """Everything that was read of `handled`."""

    def __init__(self) -> None:
        self._letters: dict[tuple[str, int], dict[int, Handled]] = {}
        self._records: dict[bytes, int] = {}

    def take(self, key: bytes | None, value: bytes | None) -> None:
        """Take the next record.

        Args:
            key: Its key; a record that is not ours is ignored.
            value: Its value; None says that its letters are no longer there.
        """
        place = parse_place((key or b"").decode("utf-8", "replace"))
        if key is None or place is None:
            return
        if value is None:
            self._records.pop(key, None)
            return
        try:
            body: dict[str, Any] = orjson.loads(value)
            handled = Handled(body["how"], int(body["at"]), str(body["because"]))
            ranges = [(int(first), int(last)) for first, last in body["offsets"]]
        except (ValueError, KeyError, TypeError):
            return
        letters = self._letters.setdefault(place[:2], {})
        for first, last in ranges:
            letters.update(dict.fromkeys(range(first, last + 1), handled))
        self._records[key] = handled.at_ms

    def get(self, stage: str, partition: int, offset: int) -> Handled | None:
        """Say what was done with a letter.

        Args:
            stage: Its stage.
            partition: Its partition.
            offset: Its offset.

        Returns:
            What was done, or None where it is open.
        """
        return self._letters.get((stage, partition), {}).get(offset)

    def expired(self, now_ms: int) -> list[bytes]:
        """List the keys of records that nothing needs any more: twice the time for which letters are kept has passed since.

        Args:
            now_ms: Wall time, milliseconds since the epoch.

        Returns:
            Keys.
        """
        return [key for key, at_ms in self._records.items() if now_ms - at_ms > 2 * DEAD_LETTERS_MS]
