"""Dedup: let each message of a source through once inside a window.

Comes in: a normalised message whose source is known, in the partition of its key, where all its copies meet. Goes out: the
same message, untouched. Reason: `duplicate` (dropped).

The state is given in as one function; `window` says what its changelog looks like and when an entry is too old to count.
"""

from __future__ import annotations

from pipeline.dedup.step import create_dedup, digest
from pipeline.dedup.window import UNKNOWN_OFFSET, Coverage, coverage, is_duplicate, pack, unpack

__all__ = ["UNKNOWN_OFFSET", "Coverage", "coverage", "create_dedup", "digest", "is_duplicate", "pack", "unpack"]
