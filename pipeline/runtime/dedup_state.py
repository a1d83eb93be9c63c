"""Dedup state of one partition: an overlay for the open transaction, a local store, and the changelog that both come from."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from pipeline.dedup.window import is_duplicate, pack, unpack
from pipeline.model.record import Output, TopicPartition
from pipeline.ports.broker import Reader
from pipeline.ports.store import DedupStore, Seen

_log = logging.getLogger(__name__)

WINDOW_MS: Final = 24 * 3_600_000
_END_OF_TIME_MS: Final = 2**62
PACKED_ENTRIES: Final = 40_000
"""Most ids in one changelog record, well under the topic's largest record."""


class DedupState:
    """What one partition has seen.

    Args:
        partition: The changelog's partition, as many as the input has.
        open_store: Opens the local store, rebuilding a damaged one as empty with changelog offset 0.
        reader: Reads the changelog.
        window_ms: How long an id is remembered, in milliseconds of broker time.

    Attributes:
        restored: Records of the changelog that were read to catch up.
    """

    def __init__(self, partition: TopicPartition, *, open_store: Callable[[], DedupStore], reader: Reader, window_ms: int = WINDOW_MS) -> None:
        self._partition = partition
        self._open_store = open_store
        self._reader = reader
        self._window_ms = window_ms
        self._store: DedupStore | None = None
        self._overlay: dict[bytes, tuple[int, int]] = {}
        self._newest_ms = 0
        self.restored = 0

    def seen(self, digest: bytes, at_ms: int, offset: int, died_at: int | None = None) -> bool:
        """Tell whether an id was seen within the window, and remember it if not.

        Args:
            digest: 16-byte digest of source and message id.
            at_ms: Broker time of the record, milliseconds since the epoch.
            offset: Offset of the record.
            died_at: Offset of the copy that died, where the record was redriven from dead letters: the first copy, if that is it, counts for nothing.

        Returns:
            Whether it is a duplicate.
        """
        first: tuple[int, int] | None = self._overlay.get(digest)
        if first is None and self._store is not None:
            first = self._store.seen((digest,))[0]
        if first is not None and is_duplicate(first[0], at_ms, self._window_ms) and (died_at is None or first[1] != died_at):
            return True
        self._overlay[digest] = (at_ms, offset)
        self._newest_ms = max(self._newest_ms, at_ms)
        return False

    def first_seen(self, digest: bytes) -> Seen | None:
        """Look up what committed transactions know of an id.

        Args:
            digest: 16-byte digest of source and message id.

        Returns:
            When and where it was first seen; None where it is not known, or the partition is not held here (any more).
        """
        return self._store.seen((digest,))[0] if self._store is not None else None

    async def restore(self) -> None:
        """Read what the changelog has beyond the local store; one that reflects another changelog is rebuilt."""
        self.restored = 0
        self._overlay.clear()
        store = self._store = self._open_store()
        start = store.changelog_offset()
        restored = await self._replay(store, start)
        if restored is None:
            _log.warning("The store of %s-%d reflects another changelog, up to offset %d; it is rebuilt.", *self._partition, start)
            store.expire(_END_OF_TIME_MS)
            store.add((), 0)
            start = 0
            restored = await self._replay(store, start)
        if restored:
            _log.info("Restored %d ids of %s-%d from offset %d.", restored, *self._partition, start)

    async def _replay(self, store: DedupStore, start: int) -> int | None:
        """Add what the changelog has from an offset on; None where its record before that is not the one that the store took last.

        Then the topic was made anew, or all of it has expired: in both cases the store has nothing that the changelog would not give.
        """
        number = self._partition.partition
        restored = 0
        trusted = start == 0
        async for records in self._reader.read(self._partition.topic, start={number: max(0, start - 1)}, partitions=(number,)):
            self.restored += len(records)
            for record in records:
                if record.offset < start:
                    last = unpack(record.value)[-1:] if record.value is not None else []
                    trusted = last != [] and store.seen([last[0].digest]) == [Seen(last[0].first_seen_ms, last[0].offset)]
                elif trusted and record.value is not None:
                    entries = unpack(record.value)
                    restored += len(entries)
                    store.add(entries, record.offset + 1)
                    await asyncio.sleep(0)  # 40,000 ids take their time, and heartbeats go on
        return restored if trusted else None

    def changes(self) -> list[Output]:
        """Give the changelog records of the open transaction."""
        entries = self._entries()
        return [
            Output(self._partition.topic, None, pack(entries[start : start + PACKED_ENTRIES]), (), self._partition.partition)
            for start in range(0, len(entries), PACKED_ENTRIES)
        ]

    def committed(self, ends: Mapping[TopicPartition, int]) -> None:
        """Make the overlay lasting."""
        if not self._overlay or self._store is None:
            return
        self._store.add(self._entries(), ends[self._partition])
        self._overlay.clear()
        self._store.expire(self._newest_ms - self._window_ms)

    def _entries(self) -> list[tuple[bytes, int, int]]:
        return [(digest, at_ms, offset) for digest, (at_ms, offset) in self._overlay.items()]

    def close(self) -> None:
        """Let go of the overlay and release the store."""
        self._overlay.clear()
        store, self._store = self._store, None
        if store is not None:
            store.close()
