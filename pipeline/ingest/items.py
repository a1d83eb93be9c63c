"""The events of a batch, read with it or one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Any

from pipeline.ingest.body import parsed
from pipeline.ingest.refusals import Refused
from pipeline.model import odd_json
from pipeline.model.odd_json import Settled


class ReadItems:
    """The events of a batch that was read at once.

    Args:
        items: The events.
        odd: Whether there may be odd values in them.
        texts: The events as compact JSON, where that was written.
    """

    def __init__(self, items: list[Any], *, odd: bool, texts: list[bytes] | None = None) -> None:
        self._items = items
        self._odd = odd
        self._texts = texts

    def __len__(self) -> int:
        """Count them."""
        return len(self._items)

    def unsettled(self) -> Iterator[Any]:
        """Give each event as it is."""
        return iter(self._items)

    def __iter__(self) -> Iterator[tuple[Any, Settled | None, bytes | None]]:
        """Give each event, what was replaced in it where it was odd, and its text where that is at hand."""
        if not self._odd:
            return zip(self._items, repeat(None), repeat(None) if self._texts is None else self._texts, strict=False)
        settled = map(odd_json.settle, self._items)
        return ((one.value, one, None) for one in settled)


class NotJson(Exception):
    """An event of a batch is not JSON, and so the whole batch is not."""


class UnreadItems:
    """The events of a batch that are read one after the other, and kept no longer than that.

    Args:
        texts: Their texts.
    """

    def __init__(self, texts: list[bytes]) -> None:
        self._texts = texts

    def __len__(self) -> int:
        """Count them."""
        return len(self._texts)

    def unsettled(self) -> Iterator[Any]:
        """Read each event."""
        return (value for value, _ in map(self._one, self._texts))

    def __iter__(self) -> Iterator[tuple[Any, Settled | None, bytes | None]]:
        """Read each event, and settle it where it is odd; what it is as compact JSON is not at hand."""
        for value, odd in map(self._one, self._texts):
            settled = odd_json.settle(value) if odd else None
            yield (value if settled is None else settled.value), settled, None

    def _one(self, text: bytes) -> tuple[Any, bool]:
        decoded = parsed(text)
        if isinstance(decoded, Refused):
            raise NotJson
        return decoded
