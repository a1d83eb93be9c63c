"""Where retention ran ahead of a group, its worker goes on behind what is gone, and the ledger names the loss in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.deliver.progress import decode_finished, encode_finished, moved_on
from pipeline.model.record import TopicPartition
from pipeline.ports.broker import Position
from pipeline.runtime.brokers.memory import MemoryBroker
from pipeline.runtime.expiry import expired_ranges
from pipeline.runtime.lake.worker import LakeWorker
from pipeline.runtime.partition_worker import PartitionWorker
from pipeline.testing import HandClock, MemoryMetrics
from tests.unit.runtime import test_retry, test_step_worker
from tests.unit.runtime.delivery import test_worker
from tests.unit.runtime.jumping import jumping


def lost(values: Sequence[bytes | None]) -> list[tuple[int, int, list[int], int]]:
    """Read ledger records: from, to, what has expired, and inputs."""
    found: list[dict[str, Any]] = [orjson.loads(value or b"") for value in values]
    return [(one["from"], one["to"], one["expired"], one["in"]) for one in found]


async def opened(worker: PartitionWorker, committed: Position | None, bounds: tuple[int, int]) -> int:
    """Open a worker at a position, with what the partition still has."""

    async def read() -> Position | None:
        return committed

    try:
        return await worker.open(read, bounds)
    finally:
        await worker.close()


def ledger(broker: MemoryBroker) -> list[tuple[int, int, list[int], int]]:
    """Read the ledger of a broker in memory."""
    return lost([record.value for record in broker.log("shop.ledger")[0]])


def test_what_a_group_had_not_read_is_lost() -> None:
    """From 2 to 9, but for 3, 4 and what is finished from 8 on; nothing where the position is still there."""
    assert [(2, 3), (5, 8)] == list(expired_ranges(2, 9, [range(3, 5), range(8, 12)]))
    assert [(2, 9)] == list(expired_ranges(2, 9))
    assert [] == list(expired_ranges(9, 9, [range(10, 11)]))


@given(st.integers(0, 20), st.integers(0, 40), st.sets(st.integers(1, 40)))
def test_lost_and_finished_are_all_that_is_gone(known: int, first: int, beyond: set[int]) -> None:
    """Each offset from the position to the first one left is either finished or lost, never both, and nothing else is."""
    finished = [range(known + one, known + one + 1) for one in sorted(beyond)]
    found = [offset for start, end in expired_ranges(known, first, finished) for offset in range(start, end)]
    assert [offset for offset in range(known, first) if offset - known not in beyond] == found


def test_what_is_finished_beyond_what_is_gone_stays_finished() -> None:
    """5, 6 and 9 are finished beyond 2; from 6 on, 6 and 9 still are."""
    before = decode_finished(2, encode_finished(2, [(offset, offset in (5, 6, 9)) for offset in range(2, 10)]))
    assert (range(6, 7), range(9, 10)) == decode_finished(6, moved_on(before, 6))
    assert "" == moved_on(before, 10)


@pytest.mark.parametrize(("committed", "first"), [(None, 5), (Position(5), 5), (Position(7), 5)])
@jumping
async def test_a_new_group_and_one_in_time_lose_nothing(committed: Position | None, first: int) -> None:
    """What retention took before a group was made, or after it was read, is nothing that is missing."""
    bench = test_retry.Bench()
    await opened(bench.worker, committed, (first, 9))
    assert ([], {}) == (ledger(bench.broker), bench.broker.positions(test_retry.GROUP))


@jumping
async def test_steps_name_what_is_lost() -> None:
    """Position 2, first record 5: the ledger names 2 to 4, the position moves on with its metadata, and it is counted."""
    bench = test_step_worker.Bench()
    assert 5 == await opened(bench.worker, Position(2, "a note"), (5, 9))
    [(outputs, position)] = bench.commits
    assert ([(5, 5, [2, 5], 0)], Position(5, "a note")) == (lost([output.value for output in outputs]), position)
    assert {("headrace_records_expired_total", ("filter",)): 3} == bench.metrics.sums


@jumping
async def test_retry_names_what_is_lost() -> None:
    """Requests whose tier was emptied under them are named."""
    bench = test_retry.Bench()
    assert 5 == await opened(bench.worker, Position(0), (5, 9))
    assert ([(5, 5, [0, 5], 0)], 5) == (ledger(bench.broker), bench.broker.positions(test_retry.GROUP)[bench.partition].offset)


@jumping
async def test_deliver_names_what_it_had_not_sent() -> None:
    """Of requests 0 to 4, which are gone, 1 and 3 were sent out of turn: 0, 2 and 4 are lost, and 6 is still known as sent."""
    bench = test_worker.Bench()
    metadata = encode_finished(0, [(offset, offset in (1, 3, 6)) for offset in range(7)])
    assert 5 == await opened(bench.worker(), Position(0, metadata), (5, 9))
    assert [(5, 5, [0, 1], 0), (5, 5, [2, 3], 0), (5, 5, [4, 5], 0)] == ledger(bench.broker)
    position = bench.position()
    assert position is not None
    assert (5, (range(6, 7),)) == (position.offset, decode_finished(5, position.metadata))


@jumping
async def test_a_lake_names_what_it_has_no_rows_of(tmp_path: Path) -> None:
    """A lake without rows counts from its group's position."""
    broker = MemoryBroker()
    for name in ("routed", "ledger"):
        broker.create(f"shop.{name}", 1)
    clock, metrics = HandClock(1_000), MemoryMetrics()
    routed = TopicPartition("shop.routed", 0)
    transactions = broker.transactions("t")
    worker = LakeWorker(routed, storage="lake", prefix="shop", root=tmp_path, transactions=transactions, clock=clock, metrics=metrics)
    assert 5 == await opened(worker, Position(2), (5, 9))
    assert ([(5, 5, [2, 5], 0)], 5) == (ledger(broker), broker.positions("shop.lake.lake")[routed].offset)
