"""The contract of the dedup store, held by the one in memory and the one on disk; and what the one on disk does with damaged files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ports.broker import Uncertain
from pipeline.ports.store import Block, DedupStore, StoreRefused
from pipeline.runtime.stores.memory import MemoryDedupStore
from pipeline.runtime.stores.sorted_runs import SortedRunsStore

A, B, C = (bytes([number]) * 16 for number in range(3))


def loaded(store: DedupStore) -> DedupStore:
    """Load a store to its end."""
    for _ in store.load():
        pass
    return store


def on_disk(path: Path, max_ids: int = 1_000_000) -> SortedRunsStore:
    """Open the store on disk, loaded."""
    store = SortedRunsStore(path, max_ids)
    loaded(store)
    return store


def block(*entries: tuple[bytes, int, int]) -> Block:
    """Make a block of entries."""
    return Block(b"".join(digest for digest, _, _ in entries), np.array([place for _, *place in entries], np.int64).reshape(-1, 2))


def name(number: int) -> bytes:
    """Give the digest of a number, spread as hashes are."""
    return (number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128).to_bytes(16)


@pytest.fixture(params=["memory", "disk"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[int], DedupStore]]:
    """Make each store in turn, empty, for a number of ids."""
    made: list[DedupStore] = []

    def make_one(max_ids: int) -> DedupStore:
        made.append(MemoryDedupStore(max_ids) if request.param == "memory" else SortedRunsStore(tmp_path / "store", max_ids))
        return loaded(made[-1])

    yield make_one
    for store in made:
        store.close()


@pytest.fixture
def store(make: Callable[[int], DedupStore]) -> DedupStore:
    """Give each store in turn, empty and roomy."""
    return make(1_000_000)


def test_an_empty_store_has_seen_nothing(store: DedupStore) -> None:
    """Nothing is known and the changelog has to be read from its beginning."""
    assert store.seen(A) is None
    assert (0, 0, 0, 0) == (store.changelog_offset(), store.ids(), store.newest_ms(), store.covered_since_ms())


def test_what_was_added_is_seen(store: DedupStore) -> None:
    """Time and offset come back, from single entries and from blocks; the changelog offset is the last one given."""
    store.add({A: (5, 70), B: (9, 71)}, 3)
    store.add_block(block((C, 7, 72)), 4)
    store.flush()
    store.add({}, 5)
    assert [(5, 70), (9, 71), (7, 72), None] == [store.seen(digest) for digest in (A, B, C, name(1))]
    assert (5, 3, 9) == (store.changelog_offset(), store.ids(), store.newest_ms())


def test_a_later_entry_replaces_an_earlier_one(store: DedupStore) -> None:
    """An id that was seen again after its window counts from then on, wherever its entries lie."""
    store.add({A: (5, 1)}, 1)
    store.flush()
    store.add({A: (9, 2)}, 2)
    assert (9, 2) == store.seen(A)
    store.flush()
    assert (9, 2) == store.seen(A)
    store.add_block(block((A, 11, 3), (B, 11, 4), (A, 12, 5)), 3)
    store.flush()
    assert (12, 5) == store.seen(A)


def test_what_is_too_old_goes_and_nothing_else(make: Callable[[int], DedupStore]) -> None:
    """What was added from the time on stays; what came long before is let go, and nothing is said to be missing."""
    store = make(2_400)
    for number in range(1_000):
        store.add({name(number): (number, number)}, number + 1)
    store.expire(500)
    assert all(store.seen(name(number)) == (number, number) for number in range(500, 1_000))
    assert all(store.seen(name(number)) is None for number in range(300))
    assert 0 == store.covered_since_ms()


def test_beyond_its_bound_it_forgets_the_oldest(make: Callable[[int], DedupStore]) -> None:
    """It never holds more than its bound by more than what is in memory; what is missing lies before the time that it says; the rest is all there."""
    store = make(2_400)
    for number in range(10_000):
        store.add({name(number): (number + 1, number)}, number + 1)
        assert store.ids() <= 2_400 + 6
    since = store.covered_since_ms()
    assert 10_000 - 2_400 <= since < 10_000 - 2_200
    assert all(store.seen(name(number)) == (number + 1, number) for number in range(since, 10_000))
    assert store.seen(name(0)) is None


def test_one_transaction_may_be_larger_than_the_bound(make: Callable[[int], DedupStore]) -> None:
    """What came last in it is known, what came first is forgotten."""
    store = make(2_400)
    store.add({name(number): (number + 1, number) for number in range(10_000)}, 1)
    assert all(store.seen(name(number)) == (number + 1, number) for number in range(8_000, 10_000))
    assert store.seen(name(0)) is None
    assert 7_500 < store.covered_since_ms() < 8_000


def test_what_is_missing_for_another_reason_is_kept(store: DedupStore) -> None:
    """The latest time up to which something may be missing counts."""
    store.missing_until(7)
    store.missing_until(5)
    assert 7 == store.covered_since_ms()


def test_a_cleared_store_is_empty(store: DedupStore) -> None:
    """After clear it is as new, and goes on."""
    store.add({A: (5, 1)}, 7)
    store.flush()
    store.missing_until(4)
    store.clear()
    assert (None, 0, 0, 0, 0) == (store.seen(A), store.changelog_offset(), store.ids(), store.newest_ms(), store.covered_since_ms())
    store.add({B: (6, 2)}, 8)
    assert (6, 2) == store.seen(B)


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(st.one_of(st.lists(st.integers(0, 60), max_size=12), st.sampled_from(["flush", "again"])), max_size=40))
def test_the_store_on_disk_answers_as_a_dictionary(tmp_path_factory: pytest.TempPathFactory, steps: Sequence[list[int] | str]) -> None:
    """Whatever is added, written, merged and opened again in between, the answers are those of the store in memory."""
    path = tmp_path_factory.mktemp("store") / "0"
    expected, actual = MemoryDedupStore(), on_disk(path, 2_400)
    for number, step in enumerate(steps, 1):
        if step == "flush":
            actual.flush()
        elif step == "again":
            actual.close()
            actual = on_disk(path, 2_400)
        else:
            entries = {name(int(one)): (number, int(one)) for one in step}
            expected.add(entries, number)
            actual.add(entries, number)
        assert [expected.seen(name(one)) for one in range(61)] == [actual.seen(name(one)) for one in range(61)]
        assert expected.changelog_offset() == actual.changelog_offset()
    actual.close()


def test_the_filter_grows_with_the_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first group to more than a word of 8 or 16 bits has place for, and when old ones are forgotten, all ids of the bound are known."""
    monkeypatch.setattr("pipeline.runtime.stores.sorted_runs._UNFILTERED_IDS", 0)
    store = on_disk(tmp_path / "store", 2_400)
    widths = set()
    for end in range(5, 3_500, 5):
        store.add({name(number): (end, number) for number in range(end - 5, end)}, end)
        if end % 50 == 0:
            widths.add(store._filter.view.itemsize)
            assert not [number for number in range(max(0, end - 2_100), end) if store.seen(name(number)) is None]
    assert {1, 2, 4} == widths
    store.close()


def test_millions_of_ids_are_told_apart(tmp_path: Path) -> None:
    """Of a million unique ids none is taken for another, with the filter at work; all of them are known, before and after opening again."""
    store = on_disk(tmp_path / "store", 1_200_000)
    rest = np.random.default_rng(1)
    digests = rest.bytes(16 * 1_000_000)
    others = rest.bytes(16 * 100_000)
    for start in range(0, 1_000_000, 20_000):
        places = np.stack([np.arange(start, start + 20_000)] * 2, axis=1)
        store.add_block(Block(digests[16 * start : 16 * (start + 20_000)], places), start + 1)
    store.flush()

    def check(one: SortedRunsStore) -> None:
        assert not any(one.seen(others[place : place + 16]) for place in range(0, len(others), 16))
        assert all(one.seen(digests[16 * number : 16 * number + 16]) == (number, number) for number in range(0, 1_000_000, 7))

    check(store)
    store.close()
    again = on_disk(tmp_path / "store", 1_200_000)
    check(again)
    assert 1_000_000 == again.ids()
    again.close()


def test_files_outlive_a_process(tmp_path: Path) -> None:
    """After close and open everything is there, and the store goes on; a smaller bound takes effect at once."""
    first = on_disk(tmp_path / "group" / "3", 2_400)
    for number in range(1_000):
        first.add({name(number): (number + 1, number)}, number + 1)
    first.missing_until(1)
    first.close()
    second = on_disk(tmp_path / "group" / "3", 1_200)
    assert (1_000, 1_000, 1_000, 1) == (second.changelog_offset(), second.ids(), second.newest_ms(), second.covered_since_ms())
    assert all(second.seen(name(number)) == (number + 1, number) for number in range(1_000))
    second.close()
    third = on_disk(tmp_path / "group" / "3", 240)
    assert 240 >= third.ids()
    assert 1_000 - 240 <= third.covered_since_ms()
    third.close()


def test_a_killed_process_leaves_a_store_that_knows_where_it_is(tmp_path: Path) -> None:
    """What had not been written is not there, and the changelog offset says so; the files of an unfinished merge are removed."""
    path, copy = tmp_path / "store", tmp_path / "copy"
    store = on_disk(path)
    store.add({A: (5, 1)}, 3)
    store.flush()
    store.add({B: (6, 2)}, 4)
    shutil.copytree(path, copy)
    (copy / "000000099.segment").write_bytes(b"half a merge")
    store.close()
    killed = on_disk(copy)
    assert ((5, 1), None, 3) == (killed.seen(A), killed.seen(B), killed.changelog_offset())
    assert not (copy / "000000099.segment").exists()
    killed.close()


def _segment(path: Path) -> Path:
    return next(path.glob("*.segment"))


def _cut_segment(path: Path) -> None:
    _segment(path).write_bytes(_segment(path).read_bytes()[:-1])


def _cut_to_nothing(path: Path) -> None:
    _segment(path).write_bytes(b"")


def _flip(place: int) -> Callable[[Path], None]:
    def flip(path: Path) -> None:
        content = bytearray(_segment(path).read_bytes())
        content[place] ^= 1
        _segment(path).write_bytes(content)

    return flip


def _lose_segment(path: Path) -> None:
    _segment(path).unlink()


def _lose_manifest(path: Path) -> None:
    (path / "manifest.json").unlink()


def _change_offset(path: Path) -> None:
    manifest = path / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"changelog_offset":7', b'"changelog_offset":9'))


def _foreign(path: Path) -> None:
    shutil.rmtree(path)
    (path / "column_family").mkdir(parents=True)
    (path / "CURRENT").write_bytes(b"MANIFEST-000005\n")


@pytest.mark.parametrize(
    "damage", [_cut_segment, _cut_to_nothing, _flip(3), _flip(50), _flip(-1), _lose_segment, _lose_manifest, _change_offset, _foreign]
)
def test_damage_is_refused_and_rebuilt(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """A damaged or foreign store is never read as an empty one: it is refused, left as it is until it is cleared, and starts at offset 0 then."""
    path = tmp_path / "store"
    store = on_disk(path)
    store.add({A: (5, 1), B: (6, 2)}, 7)
    store.close()
    damage(path)
    left = sorted(file.name for file in path.iterdir())
    damaged = SortedRunsStore(path)
    with pytest.raises(StoreRefused, match="store"):
        loaded(damaged)
    damaged.close()
    assert {*left, "lock"} == {file.name for file in path.iterdir()}
    damaged = SortedRunsStore(path)
    with pytest.raises(StoreRefused):
        loaded(damaged)
    damaged.clear()
    assert (None, 0) == (damaged.seen(A), damaged.changelog_offset())
    damaged.add({B: (6, 2)}, 9)
    damaged.close()
    again = on_disk(path)
    assert (None, (6, 2), 9) == (again.seen(A), again.seen(B), again.changelog_offset())
    again.close()


def test_a_store_that_is_open_is_left_alone(tmp_path: Path) -> None:
    """Opening a store that has an owner fails and takes nothing from the owner."""
    owner = on_disk(tmp_path / "store")
    owner.add({A: (5, 1)}, 7)
    with pytest.raises(Uncertain, match="open elsewhere"):
        SortedRunsStore(tmp_path / "store")
    owner.close()
    again = on_disk(tmp_path / "store")
    assert (7, (5, 1)) == (again.changelog_offset(), again.seen(A))
    again.close()
