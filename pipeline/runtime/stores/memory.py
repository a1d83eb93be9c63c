"""Dedup state in a dictionary, for drivers and tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from pipeline.ports.store import Seen

HOUR_MS: Final = 3_600_000


class MemoryDedupStore:
    """Which ids one partition has seen, in memory."""

    def __init__(self) -> None:
        self._seen: dict[bytes, Seen] = {}
        self._offset = 0

    def seen(self, digests: Sequence[bytes]) -> list[Seen | None]:
        """Look ids up."""
        return [self._seen.get(digest) for digest in digests]

    def add(self, entries: Iterable[tuple[bytes, int, int]], changelog_offset: int) -> None:
        """Store entries and the changelog offset that they bring the store to."""
        self._seen.update((digest, Seen(at_ms, offset)) for digest, at_ms, offset in entries)
        self._offset = changelog_offset

    def changelog_offset(self) -> int:
        """Give the changelog offset that the store reflects; 0 for an empty store."""
        return self._offset

    def expire(self, before_ms: int) -> None:
        """Forget whole hours that ended before a time."""
        self._seen = {digest: seen for digest, seen in self._seen.items() if (seen.at_ms // HOUR_MS + 1) * HOUR_MS > before_ms}

    def close(self) -> None:
        """Do nothing: there are no files."""
