"""A large batch in parts that are read one at a time, so that no turn of the collector's loop is long: no library reads JSON in slices."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Final, NamedTuple

from pipeline.ingest import refusals
from pipeline.ingest.refusals import Refused
from pipeline.model import json_text, limits

VALUES_MOST: Final = 32_768
"""Most values that are read at once, and that an event may have: as many as 64 KiB of compact JSON hold, of one digit each."""
BATCH_VALUES_MOST: Final = 1_000_000
"""Most values of a batch: 8 MiB of them have eight bytes each."""
MARKS_AT_ONCE: Final = 20_000
"""Brackets and texts of a batch that are looked at in one turn, some milliseconds of work."""
_DEEP: Final = b"[" * 1_025
"""Nested deeper than any of our readers goes."""
_MARK: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+("|\Z)|[\[\]{}]', re.DOTALL)
"""A bracket, or a whole text; one that does not end takes the rest, so that nothing is looked at twice."""
_COLON: Final = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*\Z")


class Parts(NamedTuple):
    """A batch, cut.

    Attributes:
        envelope: The object with null in the place of its events.
        items: The text of each event.
    """

    envelope: bytes
    items: list[bytes]


def many_values(text: bytes) -> bool:
    """Say whether a text may have more values than are read at once."""
    return len(text) > VALUES_MOST and _values_most_at_sight(text) > VALUES_MOST and _values_most(text) > VALUES_MOST


def _values_most_at_sight(text: bytes) -> int:
    """Count no fewer values than a text has, in half the time: each but the first has a comma before it, or the bracket that it is the first in.

    The commas count twice, so that an object is held to as many members as by the other count. Brackets are few, and a text without them is made
    faster than they are counted.
    """
    return 1 + 2 * text.count(b",") + 2 * len(text) - len(text.replace(b"[", b"")) - len(text.replace(b"{", b""))


def _values_most(text: bytes) -> int:
    """Count no fewer values than a text has: each but the first has a comma before it, a colon, or the bracket that it is in."""
    return 1 + text.count(b",") + text.count(b":") + text.count(b"[")


def refusal_of(text: bytes) -> Refused:
    """Say what is wrong with a text of too many values.

    Args:
        text: The text of an event, or of a request.
    """
    return refusals.INVALID_JSON if _DEEP in text else refusals.TOO_MANY_VALUES


def parts_of(text: bytes) -> Generator[None, None, Parts | Refused]:
    """Cut a batch into its envelope and its events by its brackets; whether each part is JSON shows when it is read.

    Args:
        text: An object with an array under `batch`.

    Yields:
        None, after each slice of the work.

    Returns:
        The parts: where all of them are JSON, the text was; or the refusal.
    """
    values = _values_most(text)
    if values > BATCH_VALUES_MOST:
        return refusals.TOO_MANY_VALUES
    cutting = _Cutting(text)
    for number, mark in enumerate(_MARK.finditer(text), 1):
        cutting.take(mark)
        if cutting.refusal is not None:
            return cutting.refusal
        if number > 3 * values:  # two brackets, or a text, for each value, and a text for its name
            return refusals.INVALID_JSON
        if number % MARKS_AT_ONCE == 0:
            yield
    if cutting.depth or cutting.array is None:
        return refusals.INVALID_JSON if cutting.depth else refusals.NOT_A_BATCH
    start, end = cutting.array
    return Parts(text[:start] + b"null" + text[end:], cutting.items)


class _Cutting:
    """What is known after each mark: how deep it lies, where the events began and the last one ended."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._key: tuple[bytes, int] | None = None
        self._begun: int | None = None
        self._free = 0
        self._item = 0
        self.depth = 0
        self.array: tuple[int, int] | None = None
        self.items: list[bytes] = []
        self.refusal: Refused | None = None

    def take(self, mark: re.Match[bytes]) -> None:
        """Look at the next bracket or text."""
        sign = self._text[mark.start()]
        if sign == 0x22:  # a text
            if not mark[1]:
                self.refusal = refusals.INVALID_JSON
            elif self.depth == 1:
                self._key = mark[0], mark.end()
        elif sign in b"{[":
            self._open(mark.start(), sign)
        else:
            self._close(mark.end())

    def _open(self, at: int, sign: int) -> None:
        self.depth += 1
        if self.depth == 1 and sign == 0x5B:
            self.refusal = refusals.NOT_A_BATCH
        elif self.depth == 2 and sign == 0x5B and self._is_batch(at):
            if self.array is not None:  # two of them: nobody knows which one was meant
                self.refusal = refusals.INVALID_JSON
            self._begun, self._free = at, at + 1
        elif self.depth == 3 and self._begun is not None:
            self._between(at, first=self._free == self._begun + 1, last=False)
            self._item = at

    def _close(self, end: int) -> None:
        self.depth -= 1
        if self.depth < 0:
            self.refusal = refusals.INVALID_JSON
        elif self.depth == 2 and self._begun is not None:
            self._add(self._text[self._item : end])
            self._free = end
        elif self.depth == 1 and self._begun is not None:
            self._between(end - 1, first=self._free == self._begun + 1, last=True)
            self.array = self._begun, end
            self._begun = None

    def _is_batch(self, at: int) -> bool:
        if self._key is None or not _COLON.match(self._text[self._key[1] : at]):
            return False
        name = self._key[0]
        return name == b'"batch"' or (b"\\" in name and json_text.decode(name)[0] == "batch")

    def _between(self, end: int, *, first: bool, last: bool) -> None:
        """Look at what lies between two events that are objects or arrays: a comma, or values that are neither."""
        gap = self._text[self._free : end].strip(b" \t\r\n")
        if gap == b"," and not first and not last:
            return
        if not gap and (last or first):
            return
        if (not first and not gap.startswith(b",")) or (not last and not gap.endswith(b",")):
            self.refusal = refusals.INVALID_JSON
            return
        if many_values(gap):
            self.refusal = refusal_of(gap)
            return
        try:
            values = json_text.decode(b"[%s]" % gap[0 if first else 1 : None if last else -1])[0]
        except ValueError:
            self.refusal = refusals.INVALID_JSON
            return
        if not values:
            self.refusal = refusals.INVALID_JSON
        for value in values:
            self._add(json_text.encode(value))

    def _add(self, item: bytes) -> None:
        self.items.append(item)
        if len(self.items) > limits.BATCH_EVENTS:
            self.refusal = refusals.BATCH_TOO_LONG
        elif many_values(item):
            self.refusal = refusal_of(item)
