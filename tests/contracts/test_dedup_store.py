"""The contract of the dedup store, held by the one in memory and the one on disk; and what the one on disk does with damaged files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rocksdict import Options, Rdict

from pipeline.ports.broker import Uncertain
from pipeline.ports.store import DedupStore, Seen
from pipeline.runtime.stores.memory import MemoryDedupStore
from pipeline.runtime.stores.rocksdb import RocksDedupStore, StoreRefusedError, open_rocksdb_store

HOUR_MS = 3_600_000
A, B, C = (bytes([number]) * 16 for number in range(3))


@pytest.fixture(params=["memory", "rocksdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DedupStore]:
    """Each store in turn, empty."""
    made: DedupStore = MemoryDedupStore() if request.param == "memory" else RocksDedupStore(tmp_path / "store")
    yield made
    made.close()


def test_an_empty_store_has_seen_nothing(store: DedupStore) -> None:
    """Nothing is known and the changelog has to be read from its beginning."""
    assert [None, None] == store.seen([A, B])
    assert [] == store.seen([])
    assert 0 == store.changelog_offset()


def test_what_was_added_is_seen(store: DedupStore) -> None:
    """Times come back in the order of the question; the offset is the last one given."""
    store.add([(A, 5, 7), (B, 7 * HOUR_MS, 7)], 3)
    store.add([], 4)
    assert [Seen(7 * HOUR_MS, 7), None, Seen(5, 7)] == store.seen([B, C, A])
    assert 4 == store.changelog_offset()


def test_a_later_time_replaces_an_earlier_one(store: DedupStore) -> None:
    """An id that was seen again after its window counts from then on, in the same hour or another one."""
    store.add([(A, 5, 7), (B, 5, 7)], 1)
    store.add([(A, 9, 7), (B, 30 * HOUR_MS, 7)], 2)
    assert [Seen(9, 7), Seen(30 * HOUR_MS, 7)] == store.seen([A, B])


def test_whole_hours_expire(store: DedupStore) -> None:
    """An hour is forgotten once it has ended before the time, not a moment earlier; what came again later stays."""
    store.add([(A, HOUR_MS - 1, 7), (B, HOUR_MS, 7), (C, 0, 7)], 1)
    store.add([(C, 2 * HOUR_MS, 7)], 2)
    store.expire(HOUR_MS - 1)
    assert [Seen(HOUR_MS - 1, 7), Seen(HOUR_MS, 7), Seen(2 * HOUR_MS, 7)] == store.seen([A, B, C])
    store.expire(HOUR_MS)
    assert [None, Seen(HOUR_MS, 7), Seen(2 * HOUR_MS, 7)] == store.seen([A, B, C])
    store.expire(HOUR_MS)
    store.add([(A, 10, 7)], 3)
    assert [Seen(10, 7)] == store.seen([A])
    assert 3 == store.changelog_offset()


def test_files_outlive_a_process(tmp_path: Path) -> None:
    """After close and open everything is there, expired hours are not, and the store goes on."""
    path = tmp_path / "group" / "3"
    first = RocksDedupStore(path)
    first.add([(A, 5, 7), (B, 3 * HOUR_MS, 7)], 7)
    first.expire(HOUR_MS)
    first.close()
    second = open_rocksdb_store(path)
    assert [None, Seen(3 * HOUR_MS, 7)] == second.seen([A, B])
    assert 7 == second.changelog_offset()
    second.add([(A, 6, 7), (C, 3 * HOUR_MS, 7)], 8)
    second.close()
    third = open_rocksdb_store(path)
    assert [Seen(6, 7), Seen(3 * HOUR_MS, 7), Seen(3 * HOUR_MS, 7)] == third.seen([A, B, C])
    assert 8 == third.changelog_offset()
    third.close()


def _cut_current(path: Path) -> None:
    (path / "CURRENT").write_bytes(b"MANIFEST-999999\n")


def _overwrite_tables(path: Path) -> None:
    for file in path.glob("MANIFEST-*"):
        file.write_bytes(b"\x00" * 100)


def _remove_format(path: Path) -> None:
    db = Rdict(str(path), Options(raw_mode=True), column_families={name: Options(raw_mode=True) for name in Rdict.list_cf(str(path))})
    db.delete(b"format")
    db.close()


@pytest.mark.parametrize("damage", [_cut_current, _overwrite_tables, _remove_format])
def test_damage_is_refused_and_rebuilt(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """A damaged store is never read as an empty one: it is refused, and made anew with offset 0, so that the changelog fills it."""
    path = tmp_path / "store"
    store = RocksDedupStore(path)
    store.add([(A, 5, 7)], 7)
    store.close()
    damage(path)
    with pytest.raises(StoreRefusedError, match="store"):
        RocksDedupStore(path)
    rebuilt = open_rocksdb_store(path)
    assert 0 == rebuilt.changelog_offset()
    assert [None] == rebuilt.seen([A])
    rebuilt.add([(B, 6, 7)], 9)
    rebuilt.close()
    again = open_rocksdb_store(path)
    assert [None, Seen(6, 7)] == again.seen([A, B])
    again.close()


def test_a_foreign_database_is_refused_and_rebuilt(tmp_path: Path) -> None:
    """Somebody else's RocksDB is not a dedup store, whatever lies in it."""
    path = tmp_path / "store"
    foreign = Rdict(str(path))
    foreign["anything"] = 1
    foreign.close()
    with pytest.raises(StoreRefusedError, match="store"):
        RocksDedupStore(path)
    rebuilt = open_rocksdb_store(path)
    assert 0 == rebuilt.changelog_offset()
    rebuilt.close()


def test_a_store_that_is_open_is_left_alone(tmp_path: Path) -> None:
    """Opening a store that has an owner fails and takes nothing from the owner."""
    path = tmp_path / "store"
    owner = RocksDedupStore(path)
    owner.add([(A, 5, 7)], 7)
    files = {file.name for file in path.iterdir()}
    with pytest.raises(Uncertain, match="open elsewhere"):
        open_rocksdb_store(path)
    assert files <= {file.name for file in path.iterdir()}
    owner.close()
    again = open_rocksdb_store(path)
    assert 7 == again.changelog_offset()
    assert [Seen(5, 7)] == again.seen([A])
    again.close()
