"""Dedup state of one partition: an overlay for the open transaction, a local store, and the changelog that both come from."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from pipeline.dedup.window import DAY_MS, coverage, is_duplicate, pack, unpack
from pipeline.model.record import Output, TopicPartition
from pipeline.ports.broker import Broker
from pipeline.ports.clock import Clock
from pipeline.ports.metrics import Metrics
from pipeline.ports.store import DIGEST_BYTES, DedupStore, Seen, StoreRefused

_log = logging.getLogger(__name__)

WINDOW_MS: Final = DAY_MS
PACKED_ENTRIES: Final = 40_000
"""Most ids in one changelog record, well under the topic's largest record."""
PROGRESS_SECONDS: Final = 2.0
_SHORT: Final = "Dedup of %s-%d covers the last %.0f s only, of a window of %.0f s: a message whose first copy is older passes again."


class DedupState:
    """What one partition has seen.

    Args:
        partition: The changelog's partition, as many as the input has.
        processor: Consumer group without prefix, for metrics.
        open_store: Opens the local store.
        broker: Where the changelog is.
        clock: Time, for progress.
        metrics: Counts.
        window_ms: How long an id is remembered, in milliseconds of broker time.

    Attributes:
        restored: Records of the changelog, and pieces of the store, that were read to catch up.
    """

    def __init__(
        self,
        partition: TopicPartition,
        *,
        processor: str,
        open_store: Callable[[], DedupStore],
        broker: Broker,
        clock: Clock,
        metrics: Metrics,
        window_ms: int = WINDOW_MS,
    ) -> None:
        self._partition = partition
        self._labels = {"processor": processor, "partition": str(partition.partition)}
        self._open_store = open_store
        self._broker = broker
        self._clock = clock
        self._metrics = metrics
        self._window_ms = window_ms
        self._store: DedupStore | None = None
        self._overlay: dict[bytes, tuple[int, int]] = {}
        self._newest_ms = 0
        self._nothing_before_next = False
        self._short = False
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
        first = self._overlay.get(digest)
        if first is None and self._store is not None:
            first = self._store.seen(digest)
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
        place = self._store.seen(digest) if self._store is not None else None
        return Seen(*place) if place is not None else None

    async def restore(self, *, resumed: bool) -> None:
        """Load the local store and read what the changelog has beyond it.

        A store that is damaged, of another format, or that reflects another changelog is refused, said so, and rebuilt from the changelog's
        beginning; it is never read as empty. Where the changelog itself has lost what the window needs, that is said too.

        Args:
            resumed: Whether the group has worked on the input before, so that there should be something to restore.

        Raises:
            ValueError: A changelog record has a layout that this version does not know.
            Uncertain: The store is still open elsewhere.
        """
        self._overlay.clear()
        self.restored = 0
        store = self._open_store()
        try:
            await self._load(store)
            start = store.changelog_offset()
            began = self._clock.monotonic()
            restored = await self._replay(store, start)
            if restored is None:
                self._refuse("foreign", f"it reflects a changelog, up to offset {start}, that is not the one there is")
                known_until_ms = store.newest_ms()
                store.clear()
                store.missing_until(known_until_ms)
                restored = await self._replay(store, 0)
        except BaseException:
            store.close()
            raise
        self._store = store
        self._newest_ms = store.newest_ms()
        self._nothing_before_next = resumed and not store.ids() and not store.covered_since_ms()
        if restored:
            seconds = self._clock.monotonic() - began
            _log.info("Restored %d ids of %s-%d from offset %d in %.1f s.", restored, *self._partition, start, seconds)
        self._report()

    async def _load(self, store: DedupStore) -> None:
        try:
            for _ in store.load():
                self.restored += 1
                await asyncio.sleep(0)  # millions of ids take their time, and heartbeats go on
        except StoreRefused as error:
            self._refuse("damaged", str(error))
            store.clear()

    def _refuse(self, cause: str, reason: str) -> None:
        _log.warning("The local dedup store of %s-%d is refused: %s. It is rebuilt from its changelog.", *self._partition, reason)
        self._metrics.add("headrace_dedup_rebuilds_total", 1, processor=self._labels["processor"], cause=cause)

    async def _replay(self, store: DedupStore, start: int) -> int | None:
        """Add what the changelog has from an offset on; None where its record before that is not the one that the store took last.

        Then the topic was made anew, or cut, or all of it has expired: the store cannot be told from one of another topic.
        """
        number = self._partition.partition
        restored = 0
        trusted = start == 0
        began = said = self._clock.monotonic()
        changelog = self._broker.reader().read(self._partition.topic, start={number: max(0, start - 1)}, partitions=(number,), settled=True)
        async for records in changelog:
            self.restored += len(records)
            for record in records:
                if record.value is None:
                    continue
                block = unpack(record.value)
                if record.offset < start:
                    trusted = len(block.places) > 0 and store.seen(block.digests[-DIGEST_BYTES:]) == tuple(block.places[-1].tolist())
                elif trusted:
                    if not start and not restored and record.offset and await self._is_cut():
                        store.missing_until(int(block.places[:, 0].min()))  # what came before it is no longer there
                    restored += len(block.places)
                    store.add_block(block, record.offset + 1)
                    await asyncio.sleep(0)  # 40,000 ids take their time, and heartbeats go on
            now = self._clock.monotonic()
            self._metrics.set("headrace_dedup_restored_ids", restored, **self._labels)
            if now - said > PROGRESS_SECONDS:
                said = now
                _log.info("Restoring %s-%d: %d ids so far, %.0f a second.", *self._partition, restored, restored / (now - began))
        if trusted:
            store.flush()
        return restored if trusted else None

    async def _is_cut(self) -> bool:
        """Say whether the changelog's beginning is gone; an aborted transaction there looks the same to a reader."""
        lookup = self._broker.lookup()
        try:
            bounds = await lookup.start([self._partition.topic])
            return bounds[self._partition][0] > 0
        finally:
            await lookup.stop()

    def changes(self) -> list[Output]:
        """Give the changelog records of the open transaction."""
        entries = list(self._overlay.items())
        return [
            Output(self._partition.topic, None, pack(dict(entries[start : start + PACKED_ENTRIES])), (), self._partition.partition)
            for start in range(0, len(entries), PACKED_ENTRIES)
        ]

    def committed(self, ends: Mapping[TopicPartition, int]) -> None:
        """Make the overlay lasting."""
        if not self._overlay or self._store is None:
            return
        if self._nothing_before_next:
            self._store.missing_until(next(iter(self._overlay.values()))[0])
            self._nothing_before_next = False
        self._store.add(self._overlay, ends[self._partition])
        self._overlay.clear()
        self._store.expire(self._newest_ms - self._window_ms)
        self._report()

    def _report(self) -> None:
        if self._store is None:
            return
        covered = coverage(self._store.covered_since_ms(), self._newest_ms, self._window_ms)
        self._metrics.set("headrace_dedup_ids", self._store.ids(), **self._labels)
        self._metrics.set("headrace_dedup_window_seconds", covered.seconds, **self._labels)
        self._metrics.set("headrace_dedup_window_short", covered.short, **self._labels)
        if covered.short and not self._short:
            declared = self._window_ms / 1000
            if covered.seconds < declared:
                _log.warning(_SHORT, *self._partition, covered.seconds, declared)
            else:
                _log.warning("Dedup of %s-%d remembers a message for %.0f s, as declared: less than a day.", *self._partition, declared)
        self._short = covered.short

    def close(self) -> None:
        """Let go of the overlay and release the store."""
        self._overlay.clear()
        store, self._store = self._store, None
        if store is not None:
            store.close()
