"""Broken builds of dedup: each undoes one precaution of the product, in this process, until its block ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import pytest

from pipeline.dedup import step
from pipeline.dedup.step import digest
from pipeline.model.record import Output
from pipeline.ports.store import DIGEST_BYTES
from pipeline.runtime import dedup_state
from pipeline.runtime.dedup_state import DedupState
from pipeline.runtime.stores.sorted_runs import SortedRunsStore

Patch = pytest.MonkeyPatch


def read_as_empty(patch: Patch) -> None:
    """Begin with an empty store, whatever became of it, without reading its changelog."""

    async def broken(self: DedupState, *, resumed: bool) -> None:
        del resumed
        self._store = self._open_store()
        self._store.clear()

    patch.setattr(DedupState, "restore", broken)


def trusted_blindly(patch: Patch) -> None:
    """Believe a store without comparing it with its changelog."""
    replay = DedupState._replay

    async def broken(self: DedupState, store: SortedRunsStore, start: int) -> int | None:
        restored = await replay(self, store, start)
        return 0 if restored is None else restored

    patch.setattr(DedupState, "_replay", broken)


def state_first(patch: Patch) -> None:
    """Write the state to the local store before the transaction is committed."""
    changes = DedupState.changes

    def broken(self: DedupState) -> list[Output]:
        assert self._store is not None
        self._store.add(self._overlay, self._store.changelog_offset())
        return changes(self)

    patch.setattr(DedupState, "changes", broken)


def no_window(patch: Patch) -> None:
    """Remember a message for ever."""
    patch.setattr(dedup_state, "is_duplicate", lambda *_: True)


def window_too_short(patch: Patch) -> None:
    """Let the window end two seconds early."""
    patch.setattr(dedup_state, "is_duplicate", lambda first_ms, now_ms, window_ms: now_ms - first_ms < window_ms - 2_000)


def window_too_long(patch: Patch) -> None:
    """Let the window end two seconds late."""
    patch.setattr(dedup_state, "is_duplicate", lambda first_ms, now_ms, window_ms: now_ms - first_ms < window_ms + 2_000)


def wall_clock(patch: Patch) -> None:
    """Go by the member's own clock instead of the broker's time."""
    seen = DedupState.seen
    patch.setattr(DedupState, "seen", lambda self, name, _at_ms, *rest: seen(self, name, time.time_ns() // 1_000_000, *rest))


def unbounded(patch: Patch) -> None:
    """Keep every id, whatever the store may hold."""
    init = SortedRunsStore.__init__
    patch.setattr(SortedRunsStore, "__init__", lambda self, folder, _most=0, **rest: init(self, folder, 1 << 24, **rest))


def short_names(patch: Patch) -> None:
    """Take two messages for one where the first bytes of their digests agree, as a filter without a look behind it does."""
    patch.setattr(step, "digest", lambda source, message_id: digest(source, message_id)[:2].ljust(DIGEST_BYTES, b"\0"))


def committed_only(patch: Patch) -> None:
    """Look an id up in what is committed only, not in what the open transaction has seen."""
    seen = DedupState.seen

    def broken(self: DedupState, name: bytes, at_ms: int, offset: int, died_at: int | None = None) -> bool:
        kept, self._overlay = self._overlay, {}
        found = seen(self, name, at_ms, offset, died_at)
        self._overlay = {**kept, **self._overlay}
        return found

    patch.setattr(DedupState, "seen", broken)


def sourceless(patch: Patch) -> None:
    """Take the same id in two sources for one message."""
    patch.setattr(step, "digest", lambda _source, message_id: digest("", message_id))


BROKEN: Final[Mapping[str, Callable[[Patch], None]]] = {
    build.__name__: build
    for build in (
        read_as_empty,
        trusted_blindly,
        state_first,
        no_window,
        window_too_short,
        window_too_long,
        wall_clock,
        unbounded,
        short_names,
        committed_only,
        sourceless,
    )
}
"""Every broken build by its name."""


@contextmanager
def broken_build(name: str) -> Iterator[None]:
    """Break this process until the block ends.

    Args:
        name: The broken build; empty for none.
    """
    with pytest.MonkeyPatch.context() as patch:
        if name:
            BROKEN[name](patch)
        yield
