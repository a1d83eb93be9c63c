"""Local state of one partition of one processor, rebuilt from its changelog when lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol


class Seen(NamedTuple):
    """Where and when a message was first seen.

    Attributes:
        at_ms: Broker time of its first copy, milliseconds since the epoch.
        offset: Offset of its first copy in its partition of the input; -1 where it was noted before offsets were.
    """

    at_ms: int
    offset: int


class DedupStore(Protocol):
    """Which messages were seen: 16-byte digests, with the broker time and the offset at which each was first seen.

    It holds what committed transactions did, together with the changelog offset that it reflects.
    """

    def seen(self, digests: Sequence[bytes]) -> list[Seen | None]:
        """Look ids up.

        Args:
            digests: 16-byte digests of (source, message id).

        Returns:
            For each, when and where it was first seen, or None.
        """
        ...

    def add(self, entries: Iterable[tuple[bytes, int, int]], changelog_offset: int) -> None:
        """Store what a committed transaction added, and the changelog offset reflected from now on, in one step.

        Args:
            entries: Digests with the time at which each was first seen, in milliseconds since the epoch, and its offset.
            changelog_offset: Offset after the last changelog record that is reflected.
        """
        ...

    def changelog_offset(self) -> int:
        """Give the changelog offset that the store reflects; 0 for an empty store."""
        ...

    def expire(self, before_ms: int) -> None:
        """Forget whole hours that ended before a time.

        Args:
            before_ms: Milliseconds since the epoch.
        """
        ...

    def close(self) -> None:
        """Release the store's files."""
        ...
