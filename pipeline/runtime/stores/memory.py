"""Dedup state in a dictionary, for drivers and tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipeline.ports.store import DIGEST_BYTES, Block


class MemoryDedupStore:
    """Which ids one partition has seen, in memory.

    Args:
        max_ids: Most ids that are held; the oldest go first.
    """

    def __init__(self, max_ids: int = 10_000_000) -> None:
        self._seen: dict[bytes, tuple[int, int]] = {}
        self._max_ids = max_ids
        self._offset = 0
        self._newest_ms = 0
        self._covered_since_ms = 0

    def load(self) -> Iterator[None]:
        """Do nothing: it is there."""
        return iter(())

    def seen(self, digest: bytes) -> tuple[int, int] | None:
        """Look an id up."""
        return self._seen.get(digest)

    def add(self, entries: Mapping[bytes, tuple[int, int]], changelog_offset: int) -> None:
        """Store entries and the changelog offset that they bring the store to."""
        for digest in entries:
            self._seen.pop(digest, None)  # what is seen again is the newest
        self._seen.update(entries)
        self._newest_ms = max([self._newest_ms, *(at_ms for at_ms, _ in entries.values())])
        self._offset = changelog_offset
        while len(self._seen) > self._max_ids:
            at_ms, _ = self._seen.pop(next(iter(self._seen)))
            self._covered_since_ms = max(self._covered_since_ms, at_ms)

    def add_block(self, block: Block, changelog_offset: int) -> None:
        """Store the entries of one changelog record."""
        names = (block.digests[start : start + DIGEST_BYTES] for start in range(0, len(block.digests), DIGEST_BYTES))
        self.add({name: (int(at_ms), int(offset)) for name, (at_ms, offset) in zip(names, block.places, strict=True)}, changelog_offset)

    def flush(self) -> None:
        """Do nothing: it is known already."""

    def changelog_offset(self) -> int:
        """Give the changelog offset that the store reflects; 0 for an empty store."""
        return self._offset

    def ids(self) -> int:
        """Count the ids that are held."""
        return len(self._seen)

    def newest_ms(self) -> int:
        """Give the latest time that was ever added."""
        return self._newest_ms

    def covered_since_ms(self) -> int:
        """Give the time up to which ids may be missing; 0 where none are."""
        return self._covered_since_ms

    def missing_until(self, at_ms: int) -> None:
        """Note that ids up to a time may be missing."""
        self._covered_since_ms = max(self._covered_since_ms, at_ms)

    def expire(self, before_ms: int) -> None:
        """Let go of entries from before a time."""
        self._seen = {digest: place for digest, place in self._seen.items() if place[0] >= before_ms}

    def clear(self) -> None:
        """Forget everything."""
        self._seen.clear()
        self._offset = self._newest_ms = self._covered_since_ms = 0

    def close(self) -> None:
        """Do nothing: there are no files."""
