"""Local state of one partition of one processor, rebuilt from its changelog when lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

DIGEST_BYTES: Final = 16
"""Two of 50 million messages share a digest with a probability of 4 in 10^24."""


class StoreRefused(Exception):
    """What lies on disk is not a store of this format, or damaged; it must be rebuilt, never read as empty."""


class Seen(NamedTuple):
    """When and where a message was first seen.

    Attributes:
        at_ms: Broker time of its first copy, milliseconds since the epoch.
        offset: Offset of its first copy in its partition of the input; -1 where it was noted before offsets were.
    """

    at_ms: int
    offset: int


class Block(NamedTuple):
    """Many entries at once, column by column.

    Attributes:
        digests: 16 bytes an entry, one after the other.
        places: For each entry a row of two 64-bit numbers: when and where it was first seen, as in `Seen`.
    """

    digests: bytes
    places: NDArray[np.int64]

    def seen(self, digest: bytes) -> Seen | None:
        """Look an id up, entry by entry.

        Args:
            digest: 16 bytes.

        Returns:
            When and where it was first seen, or None.
        """
        place = self.digests.find(digest)
        while place % DIGEST_BYTES and place >= 0:  # across the border of two entries
            place = self.digests.find(digest, place + 1)
        return Seen(*self.places[place // DIGEST_BYTES].tolist()) if place >= 0 else None


class DedupStore(Protocol):
    """Which messages were seen: 16-byte digests, with the broker time and the offset at which each was first seen.

    It holds what committed transactions did, together with the changelog offset that it reflects, and no more ids than its bound.
    """

    def load(self) -> Iterator[None]:
        """Read and check what is there; has to be driven to its end before anything else.

        Yields:
            Nothing, after each bounded piece of work, so that an event loop can turn in between.

        Raises:
            StoreRefused: It is damaged or of another format; `clear` it and rebuild.
        """
        ...

    def seen(self, digest: bytes) -> tuple[int, int] | None:
        """Look an id up.

        Args:
            digest: 16-byte digest of (source, message id).

        Returns:
            When and where it was first seen, as in `Seen`, or None.
        """
        ...

    def add(self, entries: Mapping[bytes, tuple[int, int]], changelog_offset: int) -> None:
        """Store what a committed transaction added, and the changelog offset reflected from now on, in one step.

        Args:
            entries: When and where each was first seen, by digest.
            changelog_offset: Offset after the last changelog record that is reflected.
        """
        ...

    def add_block(self, block: Block, changelog_offset: int) -> None:
        """Store the entries of one changelog record, as `add`, for millions of them; `seen` knows them after `flush` at the latest.

        Args:
            block: The entries; a later one for the same digest counts.
            changelog_offset: Offset after the changelog record.
        """
        ...

    def flush(self) -> None:
        """Make what was added lasting and known, as far as it is not yet; after the last block."""
        ...

    def changelog_offset(self) -> int:
        """Give the changelog offset that the store reflects; 0 for an empty store."""
        ...

    def ids(self) -> int:
        """Count the ids that are held."""
        ...

    def newest_ms(self) -> int:
        """Give the latest time that was ever added, milliseconds since the epoch; 0 for an empty store."""
        ...

    def covered_since_ms(self) -> int:
        """Give the time up to which ids may be missing, milliseconds since the epoch; 0 where none are."""
        ...

    def missing_until(self, at_ms: int) -> None:
        """Note that ids up to a time may be missing, for a reason outside of the store.

        Args:
            at_ms: Milliseconds since the epoch.
        """
        ...

    def expire(self, before_ms: int) -> None:
        """Let go of entries from before a time. Some of them may stay for a while; none from that time or later goes.

        Args:
            before_ms: Milliseconds since the epoch.
        """
        ...

    def clear(self) -> None:
        """Forget everything: the changelog offset is 0 again."""
        ...

    def close(self) -> None:
        """Release the store's files."""
        ...
