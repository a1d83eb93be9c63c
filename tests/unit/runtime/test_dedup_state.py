"""What one partition has seen: nothing of an open transaction lasts, and a lost store comes back from its changelog."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pytest

from pipeline.dedup import pack, unpack
from pipeline.model.record import Output, TopicPartition
from pipeline.ports.store import DedupStore, Seen
from pipeline.runtime.brokers.memory import MemoryBroker
from pipeline.runtime.brokers.memory_lookup import MemoryLookup
from pipeline.runtime.dedup_state import PACKED_ENTRIES, WINDOW_MS, DedupState
from pipeline.runtime.metrics.memory import MemoryMetrics
from pipeline.runtime.stores.memory import MemoryDedupStore
from pipeline.runtime.stores.sorted_runs import SortedRunsStore
from pipeline.testing import HandClock
from tests.unit.runtime.jumping import jumping

CHANGELOG = TopicPartition("test.validate.dedup.changelog", 1)
LABELS = {"processor": "validate", "partition": "1"}
A, B, C, D = (bytes([number]) * 16 for number in range(4))
NOW = 100 * WINDOW_MS


class _Cut(MemoryLookup):
    """Says that the changelog has lost its beginning."""

    async def start(self, topics: Collection[str]) -> Mapping[TopicPartition, tuple[int, int]]:
        return {partition: (1, end) for partition, (_, end) in (await super().start(topics)).items()}


class _CutBroker(MemoryBroker):
    def lookup(self) -> MemoryLookup:
        return _Cut(self.topics, self.log)


class Bench:
    """A changelog with a store beside it."""

    def __init__(self, store: DedupStore | None = None, broker: MemoryBroker | None = None) -> None:
        self.broker = broker or MemoryBroker()
        self.broker.create(CHANGELOG.topic, 2)
        self.store = store or MemoryDedupStore()
        self.metrics = MemoryMetrics()

    def state(self, window_ms: int = WINDOW_MS) -> DedupState:
        """Make the state anew, as after an assignment."""
        return DedupState(
            CHANGELOG,
            processor="validate",
            open_store=lambda: self.store,
            broker=self.broker,
            clock=HandClock(0),
            metrics=self.metrics,
            window_ms=window_ms,
        )

    async def restored(self, *, resumed: bool = False) -> DedupState:
        """Make the state anew, and restore it."""
        state = self.state()
        await state.restore(resumed=resumed)
        return state

    def commit(self, state: DedupState) -> None:
        """Commit what is open, as a transaction does."""
        state.committed(self.broker.append(state.changes()))

    def log(self, *digests: bytes, partition: int = 1) -> None:
        """Write each digest into a changelog record of its own."""
        self.broker.append([Output(CHANGELOG.topic, None, pack({digest: (NOW, 7)}), (), partition) for digest in digests])

    def metric(self, name: str, **labels: str) -> float:
        """Give a count or a gauge."""
        key = (name, tuple(labels.values()))
        return self.metrics.values.get(key, self.metrics.sums.get(key, 0))

    @property
    def window(self) -> tuple[float, float]:
        """The covered stretch in seconds, and whether it is short."""
        return self.metric("headrace_dedup_window_seconds", **LABELS), self.metric("headrace_dedup_window_short", **LABELS)


@jumping
async def test_a_second_copy_is_a_duplicate_within_the_window() -> None:
    """In the same transaction, after its commit, to the last moment of the window, and no longer."""
    bench = Bench()
    state = await bench.restored()
    assert [False, True, False] == [state.seen(A, NOW, 7), state.seen(A, NOW, 8), state.seen(B, NOW, 9)]
    bench.commit(state)
    assert state.seen(A, NOW + WINDOW_MS - 1, 10)
    assert not state.seen(A, NOW + WINDOW_MS, 11)
    assert state.seen(A, NOW + WINDOW_MS, 12)


@jumping
async def test_another_window_counts_to_its_last_second(caplog: pytest.LogCaptureFixture) -> None:
    """With a window of an hour a copy one second before its end is dropped, one second after it passes."""
    bench = Bench()
    state = bench.state(window_ms=3_600_000)
    await state.restore(resumed=False)
    assert "remembers a message for 3600 s, as declared: less than a day" in caplog.text
    state.seen(A, NOW, 7)
    state.seen(B, NOW, 8)
    bench.commit(state)
    assert [True, False] == [state.seen(A, NOW + 3_599_000, 9), state.seen(B, NOW + 3_601_000, 10)]


@jumping
async def test_the_store_learns_only_what_was_committed() -> None:
    """What a transaction changed is in no store before its commit, and gone when it is given up."""
    bench = Bench()
    state = await bench.restored()
    state.seen(A, NOW, 7)
    assert bench.store.seen(A) is None
    assert state.first_seen(A) is None
    state.close()
    again = await bench.restored()
    assert not again.seen(A, NOW, 7)
    bench.commit(again)
    assert Seen(NOW, 7) == again.first_seen(A)
    assert 1 == bench.store.changelog_offset()
    again.close()
    assert again.first_seen(A) is None


@jumping
async def test_the_changelog_holds_what_was_added_and_nothing_else() -> None:
    """One packed record in the partition of the state; duplicates add nothing, and a transaction without news none at all."""
    bench = Bench()
    state = await bench.restored()
    state.seen(A, NOW, 7)
    state.seen(B, NOW + 1, 8)
    state.seen(A, NOW + 2, 9)
    (change,) = state.changes()
    assert (CHANGELOG.topic, None, 1) == (change.topic, change.key, change.partition)
    entries = unpack(change.value or b"")
    assert (A + B, [[NOW, 7], [NOW + 1, 8]]) == (entries.digests, entries.places.tolist())
    bench.commit(state)
    state.seen(A, NOW + 3, 10)
    assert [] == state.changes()
    state.committed({})
    assert 1 == bench.store.changelog_offset()


@jumping
async def test_a_large_transaction_takes_several_records() -> None:
    """No changelog record grows beyond what a topic takes; all of them come back."""
    bench = Bench()
    state = await bench.restored()
    digests = [number.to_bytes(16) for number in range(PACKED_ENTRIES + 1)]
    assert not any(state.seen(digest, NOW, 7) for digest in digests)
    assert [PACKED_ENTRIES, 1] == [len(unpack(change.value or b"").places) for change in state.changes()]
    bench.commit(state)
    assert 2 == bench.store.changelog_offset()
    bench.store = MemoryDedupStore()
    again = await bench.restored()
    assert all(again.seen(digest, NOW, 7) for digest in digests)
    assert PACKED_ENTRIES + 1 == bench.metric("headrace_dedup_restored_ids", **LABELS)


@pytest.mark.parametrize("stored", [[(A, 1), (B, 2)], [(A, 1)], []], ids=["whole", "behind", "lost"])
def test_restore_reads_what_the_store_lacks(stored: Sequence[tuple[bytes, int]]) -> None:
    """Whatever the store still has, after restore all that was committed is known, from this partition alone."""

    @jumping
    async def run() -> None:
        bench = Bench()
        bench.log(A, B)
        bench.log(C, partition=0)
        bench.broker.append([Output(CHANGELOG.topic, None, None, (), 1)])
        for digest, offset in stored:
            bench.store.add({digest: (NOW, 7)}, offset)
        state = await bench.restored(resumed=True)
        assert [True, True, False] == [state.seen(digest, NOW + 1, 9) for digest in (A, B, C)]
        assert (86_400, False) == bench.window

    run()


def test_a_damaged_store_is_rebuilt(tmp_path: Path) -> None:
    """Spoiled files cost nothing but the time to read the changelog, and are counted."""

    @jumping
    async def run() -> None:
        store = SortedRunsStore(tmp_path / "store")
        for _ in store.load():
            pass
        store.add({A: (NOW, 7), B: (NOW, 7)}, 2)
        store.close()
        (tmp_path / "store" / "manifest.json").write_bytes(b"spoiled")
        bench = Bench(SortedRunsStore(tmp_path / "store"))
        bench.log(A, B)
        state = await bench.restored(resumed=True)
        assert [True, True, False] == [state.seen(digest, NOW + 1, 8) for digest in (A, B, C)]
        assert 1 == bench.metric("headrace_dedup_rebuilds_total", processor="validate", cause="damaged")
        bench.commit(state)
        state.close()
        store = SortedRunsStore(tmp_path / "store")
        for _ in store.load():
            pass
        assert (3, (NOW, 7), (NOW + 1, 8)) == (store.changelog_offset(), store.seen(A), store.seen(C))
        store.close()

    run()


@jumping
async def test_a_changelog_without_offsets_is_read() -> None:
    """What an earlier release wrote is known, without its place."""
    bench = Bench()
    bench.broker.append([Output(CHANGELOG.topic, None, b"\x01" + struct.pack(">qI", NOW, 0) + A, (), 1)])
    state = await bench.restored()
    assert Seen(NOW, -1) == state.first_seen(A)
    assert state.seen(A, NOW + 1, 8)


@jumping
async def test_a_changelog_of_another_layout_is_refused() -> None:
    """A changelog record that cannot be read ends the worker: guessing would let duplicates through."""
    bench = Bench()
    bench.broker.append([Output(CHANGELOG.topic, None, b"\x09nonsense", (), 1)])
    with pytest.raises(ValueError, match="layout"):
        await bench.restored()


@jumping
async def test_what_is_outside_the_window_leaves_the_store() -> None:
    """What lies more than a window back is forgotten after the next commit, and the window is whole."""
    bench = Bench()
    state = await bench.restored()
    state.seen(A, NOW, 7)
    bench.commit(state)
    state.seen(B, NOW + WINDOW_MS + 1, 8)
    bench.commit(state)
    assert bench.store.seen(A) is None
    assert (86_400, False) == bench.window


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_store_of_another_changelog_is_rebuilt(length: int) -> None:
    """Where the changelog was made anew, shorter or longer than before, the store gives up what it had, and says from when on ids are known."""

    @jumping
    async def run() -> None:
        bench = Bench()
        bench.store.add({C: (NOW - 5_000, 7)}, 2)
        bench.log(*(A, B, D)[:length])
        state = await bench.restored(resumed=True)
        assert length == bench.store.changelog_offset()
        assert [True, length > 1, False] == [state.seen(digest, NOW + 1, 9) for digest in (A, B, C)]
        assert 1 == bench.metric("headrace_dedup_rebuilds_total", processor="validate", cause="foreign")
        assert (5, True) == bench.window

    run()


@jumping
async def test_a_changelog_that_lost_its_beginning_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A rebuild from a changelog that was cut covers what is left of it, and says so; the warning goes when the window is whole again."""
    bench = Bench(broker=_CutBroker())
    bench.broker.append([Output(CHANGELOG.topic, None, None, (), 1)])
    bench.log(A)
    state = await bench.restored(resumed=True)
    assert (0, True) == bench.window
    assert "covers the last 0 s only, of a window of 86400 s" in caplog.text
    state.seen(B, NOW + 60_000, 8)
    bench.commit(state)
    assert (60, True) == bench.window
    state.seen(C, NOW + WINDOW_MS, 9)
    bench.commit(state)
    assert (86_400, False) == bench.window


@jumping
async def test_a_beginning_that_was_aborted_is_no_loss() -> None:
    """A changelog whose first record the reader does not see, for a transaction that was aborted, is whole."""
    bench = Bench()
    bench.broker.append([Output(CHANGELOG.topic, None, None, (), 1)])
    bench.log(A)
    await bench.restored(resumed=True)
    assert (86_400, False) == bench.window


@jumping
async def test_a_group_that_remembers_nothing_says_so() -> None:
    """Where the group has worked before and neither store nor changelog have anything, the window begins with the next message."""
    bench = Bench()
    state = await bench.restored(resumed=True)
    state.seen(A, NOW, 7)
    bench.commit(state)
    state.seen(B, NOW + 1_000, 8)
    bench.commit(state)
    assert (1, True) == bench.window


@jumping
async def test_overload_shrinks_the_window() -> None:
    """A store at its bound forgets the oldest, and says what it still covers."""
    bench = Bench(MemoryDedupStore(max_ids=2))
    state = await bench.restored()
    for number, digest in enumerate((A, B, C)):
        assert not state.seen(digest, NOW + 1_000 * number, number)
        bench.commit(state)
    assert (2, True) == bench.window
    assert 2 == bench.metric("headrace_dedup_ids", **LABELS)
    assert [False, True, True] == [state.seen(digest, NOW + 3_000, 9) for digest in (A, B, C)]
