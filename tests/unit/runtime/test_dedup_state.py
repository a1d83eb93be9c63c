"""What one partition has seen: nothing of an open transaction lasts, and a lost store comes back from its changelog."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.dedup import pack, unpack
from pipeline.model.record import Output, TopicPartition
from pipeline.ports.store import DedupStore, Seen
from pipeline.runtime.brokers.memory import MemoryBroker
from pipeline.runtime.dedup_state import PACKED_ENTRIES, WINDOW_MS, DedupState
from pipeline.runtime.stores.memory import MemoryDedupStore
from pipeline.runtime.stores.rocksdb import open_rocksdb_store
from tests.unit.runtime.jumping import jumping

CHANGELOG = TopicPartition("test.validate.dedup.changelog", 1)
A, B, C, D = (bytes([number]) * 16 for number in range(4))
NOW = 100 * WINDOW_MS


class Bench:
    """A changelog with a store beside it."""

    def __init__(self, store: DedupStore | None = None) -> None:
        self.broker = MemoryBroker()
        self.broker.create(CHANGELOG.topic, 2)
        self.store = store or MemoryDedupStore()

    def state(self) -> DedupState:
        """Make the state anew, as after an assignment."""
        return DedupState(CHANGELOG, open_store=lambda: self.store, reader=self.broker.reader())

    def commit(self, state: DedupState) -> None:
        """Commit what is open, as a transaction does."""
        state.committed(self.broker.append(state.changes()))


@jumping
async def test_a_second_copy_is_a_duplicate_within_the_window() -> None:
    """In the same transaction, after its commit, to the last moment of the window, and no longer."""
    bench = Bench()
    state = bench.state()
    await state.restore()
    assert [False, True, False] == [state.seen(A, NOW, 7), state.seen(A, NOW, 7), state.seen(B, NOW, 7)]
    bench.commit(state)
    assert state.seen(A, NOW + WINDOW_MS - 1, 7)
    assert not state.seen(A, NOW + WINDOW_MS, 7)
    assert state.seen(A, NOW + WINDOW_MS, 7)


@jumping
async def test_the_store_learns_only_what_was_committed() -> None:
    """What a transaction changed is in no store before its commit, and gone when it is given up."""
    bench = Bench()
    state = bench.state()
    await state.restore()
    state.seen(A, NOW, 7)
    assert [None] == bench.store.seen([A])
    state.close()
    again = bench.state()
    await again.restore()
    assert not again.seen(A, NOW, 7)
    bench.commit(again)
    assert [Seen(NOW, 7)] == bench.store.seen([A])
    assert 1 == bench.store.changelog_offset()


@jumping
async def test_the_changelog_holds_what_was_added_and_nothing_else() -> None:
    """One packed record in the partition of the state; duplicates add nothing, and a transaction without news none at all."""
    bench = Bench()
    state = bench.state()
    await state.restore()
    state.seen(A, NOW, 7)
    state.seen(B, NOW + 1, 7)
    state.seen(A, NOW + 2, 7)
    (change,) = state.changes()
    assert (CHANGELOG.topic, None, 1) == (change.topic, change.key, change.partition)
    assert [(A, NOW, 7), (B, NOW + 1, 7)] == unpack(change.value or b"")
    bench.commit(state)
    state.seen(A, NOW + 3, 7)
    assert [] == state.changes()
    state.committed({})
    assert 1 == bench.store.changelog_offset()


@jumping
async def test_a_large_transaction_takes_several_records() -> None:
    """No changelog record grows beyond what a topic takes; all of them come back."""
    bench = Bench()
    state = bench.state()
    await state.restore()
    digests = [number.to_bytes(16) for number in range(PACKED_ENTRIES + 1)]
    assert not any(state.seen(digest, NOW, 7) for digest in digests)
    assert [PACKED_ENTRIES, 1] == [len(unpack(change.value or b"")) for change in state.changes()]
    bench.commit(state)
    assert 2 == bench.store.changelog_offset()
    bench.store = MemoryDedupStore()
    again = bench.state()
    await again.restore()
    assert all(again.seen(digest, NOW, 7) for digest in digests)


@pytest.fixture(params=["whole", "behind", "lost"])
def stored(request: pytest.FixtureRequest) -> Sequence[tuple[bytes, int]]:
    """Give what a store still knows of A (changelog offset 1) and B (offset 2)."""
    kept: dict[str, Sequence[tuple[bytes, int]]] = {"whole": [(A, 1), (B, 2)], "behind": [(A, 1)], "lost": []}
    return kept[request.param]


def test_restore_reads_what_the_store_lacks(stored: Sequence[tuple[bytes, int]]) -> None:
    """Whatever the store still has, after restore all that was committed is known, from this partition alone."""

    @jumping
    async def run() -> None:
        bench = Bench()
        bench.broker.append([Output(CHANGELOG.topic, None, pack([(digest, NOW, 7)]), (), 1) for digest in (A, B)])
        bench.broker.append([Output(CHANGELOG.topic, None, pack([(C, NOW, 7)]), (), 0), Output(CHANGELOG.topic, None, None, (), 1)])
        for digest, offset in stored:
            bench.store.add([(digest, NOW, 7)], offset)
        state = bench.state()
        await state.restore()
        assert [True, True, False] == [state.seen(digest, NOW + 1, 7) for digest in (A, B, C)]

    run()


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Give the folder of a store that knew A and B and whose files are spoiled."""
    path = tmp_path / "store"
    store = open_rocksdb_store(path)
    store.add([(A, NOW, 7), (B, NOW, 7)], 2)
    store.close()
    for file in path.glob("MANIFEST-*"):
        file.write_bytes(b"spoiled")
    return path


def test_a_damaged_store_is_rebuilt(damaged: Path) -> None:
    """Spoiled files cost nothing but the time to read the changelog."""

    @jumping
    async def run() -> None:
        bench = Bench()
        bench.broker.append([Output(CHANGELOG.topic, None, pack([(digest, NOW, 7)]), (), 1) for digest in (A, B)])
        state = DedupState(CHANGELOG, open_store=lambda: open_rocksdb_store(damaged), reader=bench.broker.reader())
        await state.restore()
        assert [True, True, False] == [state.seen(digest, NOW + 1, 7) for digest in (A, B, C)]
        bench.commit(state)
        state.close()
        store = open_rocksdb_store(damaged)
        assert (3, [Seen(NOW, 7), Seen(NOW + 1, 7)]) == (store.changelog_offset(), store.seen([A, C]))
        store.close()

    run()


@jumping
async def test_a_changelog_of_another_layout_is_refused() -> None:
    """A changelog record that cannot be read ends the worker: guessing would let duplicates through."""
    bench = Bench()
    bench.broker.append([Output(CHANGELOG.topic, None, b"\x09nonsense", (), 1)])
    with pytest.raises(ValueError, match="layout"):
        await bench.state().restore()


@jumping
async def test_old_hours_leave_the_store() -> None:
    """What lies more than a window and an hour back is forgotten after the next commit."""
    bench = Bench()
    state = bench.state()
    await state.restore()
    state.seen(A, NOW, 7)
    bench.commit(state)
    state.seen(B, NOW + WINDOW_MS + 3_600_000, 7)
    bench.commit(state)
    assert [None] == bench.store.seen([A])


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_store_of_another_changelog_is_rebuilt(length: int) -> None:
    """Where the changelog was made anew, shorter or longer than before, the store gives up what it had and takes what is there."""

    @jumping
    async def run() -> None:
        bench = Bench()
        bench.store.add([(C, NOW, 7)], 2)
        bench.broker.append([Output(CHANGELOG.topic, None, pack([(digest, NOW, 7)]), (), 1) for digest in (A, B, D)[:length]])
        state = bench.state()
        await state.restore()
        assert length == bench.store.changelog_offset()
        assert [True, length > 1, False] == [state.seen(digest, NOW + 1, 7) for digest in (A, B, C)]

    run()
