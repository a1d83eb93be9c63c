"""The chain of manifest records."""

import pytest

from pipeline.lake.manifest import (
    AGAIN,
    MERGE_BYTES,
    MERGE_RECORDS,
    STORED,
    BrokenChain,
    DataFile,
    ManifestRecord,
    Resumption,
    chain_name,
    covered,
    data_path,
    decode_record,
    encode_record,
    follow,
    is_of_topic,
    next_revision,
    plan_merge,
    resume,
)
from pipeline.model.record import Output
from pipeline.ports.broker import Position


def _follow(*records: ManifestRecord) -> list[tuple[int, int]]:
    by_name = {record.name: record for record in records}
    return [(record.start, record.end) for record in follow(by_name, by_name.__getitem__)]


def _file(size: int) -> DataFile:
    return DataFile("p", "web", "track", 1, size, {"id": "varchar", "total": "double", "n": "bigint"}, ("bought",))


def test_a_record_survives_writing() -> None:
    """What is read is what was written, outputs and column types included."""
    output = Output("shop.ledger", None, b"\x00\xff", (("source", b"\xfe"),))
    record = ManifestRecord(0, 7, (_file(9),), 0, 5, {"clash": 1}, (output,), 2, "of-a-topic")
    assert decode_record(encode_record(record)) == record


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"start":1}', b"\x00" * 10])
def test_damage_is_a_value_error(text: bytes) -> None:
    """A damaged record is never taken for another one."""
    with pytest.raises(ValueError, match=r"."):
        decode_record(text)


def test_a_chain_is_known_by_the_id_of_its_topic() -> None:
    """The newest that any record has; where chain or topic have none, by name."""
    old, new = ManifestRecord(0, 2, ()), ManifestRecord(2, 4, (), topic_id="a")
    assert is_of_topic([old, new], "a")
    assert not is_of_topic([old, new], "b")
    assert all(is_of_topic(live, topic_id) for live, topic_id in (([], "a"), ([old], "a"), ([old, new], "")))


def test_paths_say_source_call_and_hour() -> None:
    """Readers that know partitioned folders can use them."""
    path = data_path(("web", "track", "2026-03-14T09"), chain_name("shop.routed", 3, 0), 5, 9)
    assert path == "source=web/type=track/day=2026-03-14/hour=09/shop.routed-3-5-9.parquet"
    assert chain_name("shop.routed", 3, 2) == "shop.routed-3.2"


def test_follow_reads_the_chain() -> None:
    """Records follow each other from the first to the end."""
    assert _follow() == []
    assert _follow(ManifestRecord(7, 9, ()), ManifestRecord(3, 7, ())) == [(3, 7), (7, 9)]


def test_follow_prefers_what_was_merged() -> None:
    """Merged records stand for what they cover, also when they were merged again, and when the covered ones are gone."""
    old = [ManifestRecord(0, 2, ()), ManifestRecord(2, 4, ()), ManifestRecord(4, 6, ()), ManifestRecord(6, 8, ())]
    first, second = ManifestRecord(0, 4, (), 1), ManifestRecord(0, 6, (), 2)
    assert _follow(*old, first) == [(0, 4), (4, 6), (6, 8)]
    assert _follow(*old, first, second) == [(0, 6), (6, 8)]
    assert _follow(old[3], second) == [(0, 6), (6, 8)]


def test_follow_refuses_a_gap() -> None:
    """A record that nothing leads to means that one was lost."""
    with pytest.raises(BrokenChain, match="offset 2"):
        _follow(ManifestRecord(0, 2, ()), ManifestRecord(4, 6, ()))


def test_covered_names_what_may_go() -> None:
    """Everything but the records that count; other files are not ours to name."""
    merged, last = ManifestRecord(0, 4, (), 1), ManifestRecord(4, 6, ())
    names = [merged.name, last.name, f"{0:020d}.json", "notes.txt"]
    assert covered(names, [merged, last]) == [f"{0:020d}.json"]


def test_plan_merge_takes_the_oldest_of_one_level() -> None:
    """Enough neighbours of a level are merged, and the newest wait."""
    young = [ManifestRecord(n, n + 1, (_file(1),)) for n in range(MERGE_RECORDS + 3)]
    assert plan_merge(young) == tuple(young[:MERGE_RECORDS])
    assert plan_merge(young[1:MERGE_RECORDS]) == ()
    mixed = [ManifestRecord(100, 101, (), 1), *young[: MERGE_RECORDS - 1]]
    assert plan_merge(mixed) == ()


def test_plan_merge_leaves_large_files_alone() -> None:
    """What is large already is not read again."""
    large = [ManifestRecord(n, n + 1, (_file(MERGE_BYTES // 2),)) for n in range(MERGE_RECORDS)]
    assert plan_merge(large) == ()


CHAIN = [ManifestRecord(n, n + 1, (), outputs=(Output("ledger", None, b"%d" % n),)) for n in range(3)]


def test_a_crash_is_made_good() -> None:
    """The offset is the sink's own and lies where the last record starts: its transaction is missing, and nothing else."""
    assert Resumption(CHAIN[2].outputs) == resume(CHAIN, Position(2, STORED), 0)
    assert Resumption(CHAIN[0].outputs) == resume(CHAIN[:1], None, 0)
    assert Resumption() == resume(CHAIN, Position(3, STORED), 0)
    assert Resumption() == resume([], Position(7), 0)


@pytest.mark.parametrize(("offset", "again"), [(0, CHAIN), (1, CHAIN[1:]), (2, CHAIN[2:])])
def test_an_offset_that_was_set_back_is_written_again(offset: int, again: list[ManifestRecord]) -> None:
    """Kafka's own tool leaves no metadata, and so says that it was not the sink; nor was it at its end where it was interrupted."""
    assert Resumption(again=tuple(again)) == resume(CHAIN, Position(offset), 0)
    assert Resumption(again=tuple(again)) == resume(CHAIN, Position(offset, AGAIN), 0)


def test_what_cannot_be_read_whole_stays() -> None:
    """A range that retention has begun to take is not written again, nor anything where the broker forgot the group."""
    assert Resumption(again=tuple(CHAIN[2:])) == resume(CHAIN, Position(0), 2)
    assert Resumption() == resume(CHAIN, None, 0)


def test_a_range_that_was_written_again_counts_once() -> None:
    """The highest revision of a range stands for it, until a merge covers it."""
    first, second = ManifestRecord(0, 2, (), revision=1), ManifestRecord(0, 2, (), revision=2)
    old = [ManifestRecord(0, 2, ()), ManifestRecord(2, 4, ())]
    records = {record.name: record for record in (*old, second, first)}
    assert [second, old[1]] == follow(records, records.__getitem__)
    assert 3 == next_revision(records, 0)
    assert 1 == next_revision(records, 2)
    records[ManifestRecord(0, 4, (), 1).name] = merged = ManifestRecord(0, 4, (), 1)
    assert [merged] == follow(records, records.__getitem__)
    assert second == decode_record(encode_record(second))
