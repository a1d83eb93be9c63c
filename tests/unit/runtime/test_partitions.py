"""A group member serves its partitions in the order that makes a hand-over safe, asserted from one ordered log of effects."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from pipeline.model.record import Output, Record, TopicPartition
from pipeline.ports.broker import Blocked, BrokerError, Fenced, Position, TopicState, Uncertain
from pipeline.runtime.brokers.memory import MemoryBroker
from pipeline.runtime.brokers.memory_consumer import MemoryConsumer
from pipeline.runtime.inbox import Inbox, InboxClosedError
from pipeline.runtime.partition_worker import ReadCommitted, start_offset
from pipeline.runtime.partitions import FENCED_SECONDS, REOPEN_SECONDS, REVOKE_SECONDS, PartitionHost
from pipeline.runtime.progress import PATIENCE_SECONDS, Standing
from tests.unit.runtime.jumping import jumping

TOPIC = "test.in"
FIRST, SECOND = TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)


class Bench:
    """A broker whose consumer, and workers that, write what they do into one log.

    Attributes:
        log: What happened to each partition, in order.
        taken: Offsets that workers took, by partition, a list for each worker.
        failures: What workers raise after they took records, by partition, in order.
        held: While set, a fetch keeps what it has found to itself.
    """

    def __init__(self, partitions: int = 1) -> None:
        self.broker = _Broker(self)
        self.broker.create(TOPIC, partitions)
        self.log: list[str] = []
        self.taken: dict[int, list[list[int]]] = {number: [] for number in range(partitions)}
        self.failures: dict[int, deque[Exception]] = {number: deque() for number in range(partitions)}
        self.slow_close = 0.0
        self.slow_release = 0.0
        self.retention: int | None = None  # offset before which nothing is kept
        self.lazy = False  # workers take records and never get done with them
        self.waits_for = ""
        self.away = False  # the broker does not say what topics are
        self.deaf = False  # the fetching client gets nothing any more
        self.free = asyncio.Event()
        self.free.set()
        self.host = self.a_host()

    def a_host(self, inbox_bytes: int = 1_000_000, **counts: int) -> PartitionHost:
        """Make a member."""
        return PartitionHost(
            self.broker,
            group="test.group",
            topics=[TOPIC],
            make_worker=lambda one, _membership: _Worker(self, one),
            counts={f"test.{name}": count for name, count in counts.items()},
            inbox_bytes=inbox_bytes,
        )

    def write(self, count: int, partition: int = 0) -> None:
        """Write records."""
        self.broker.append([Output(TOPIC, b"k", b"v", (), partition) for _ in range(count)])

    def commit(self, offset: int, partition: int = 0) -> None:
        """Set the group's position."""
        self.broker.positions("test.group")[TopicPartition(TOPIC, partition)] = Position(offset)

    @asynccontextmanager
    async def running(self, host: PartitionHost | None = None) -> AsyncIterator[asyncio.Task[None]]:
        """Run a member until the block is left."""
        member = host or self.host
        task = asyncio.create_task(member.run())
        try:
            yield task
        finally:
            member.stop()
            with suppress(Exception):
                await task


class _Broker(MemoryBroker):
    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self._bench = bench

    def consumer(self, group: str) -> MemoryConsumer:
        return _Consumer(self, group, self._bench)


class _Consumer(MemoryConsumer):
    def __init__(self, broker: MemoryBroker, group: str, bench: Bench) -> None:
        super().__init__(broker, group)
        self._bench = bench

    def pause(self, partition: TopicPartition) -> None:
        self._bench.log.append(f"pause {partition.partition}")
        super().pause(partition)

    def resume(self, partition: TopicPartition) -> None:
        self._bench.log.append(f"resume {partition.partition}")
        super().resume(partition)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._bench.log.append(f"seek {partition.partition} to {offset}")
        super().seek(partition, offset)

    async def committed(self, partition: TopicPartition) -> Position | None:
        self._bench.log.append(f"read committed {partition.partition}")
        return await super().committed(partition)

    async def bounds(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, tuple[int, int]]:
        found = await super().bounds(partitions)
        return {one: (self._bench.retention or first, end) for one, (first, end) in found.items()}

    async def describe(self, topics: Collection[str]) -> Mapping[str, TopicState]:
        if self._bench.away:
            raise BrokerError("no answer")
        return await super().describe(topics)

    async def fetch(self, timeout_seconds: float) -> Mapping[TopicPartition, Sequence[Record]]:
        if self._bench.deaf:
            await asyncio.sleep(timeout_seconds)
            return {}
        found = await super().fetch(timeout_seconds)
        await self._bench.free.wait()
        return found


class _Worker:
    def __init__(self, bench: Bench, partition: TopicPartition) -> None:
        self._bench = bench
        self._number = partition.partition
        self._mine: list[int] = []
        self._done = -1
        bench.taken[self._number].append(self._mine)

    async def open(self, read_committed: ReadCommitted, bounds: tuple[int, int]) -> int:
        self._bench.log.append(f"fence {self._number}")
        offset = start_offset(await read_committed(), bounds)
        self._bench.log.append(f"restore {self._number}")
        self._done = offset
        return offset

    def standing(self) -> Standing:
        return Standing(self._done, self._bench.waits_for)

    async def run(self, inbox: Inbox) -> None:
        while True:
            try:
                records = await inbox.take(1_000_000, None)
            except InboxClosedError:
                self._bench.log.append(f"finish {self._number}")
                await asyncio.sleep(self._bench.slow_close)
                self._bench.log.append(f"finished {self._number}")
                return
            self._mine += [one.offset for one in records]
            self._bench.log.append(f"take {self._number}")
            if self._bench.failures[self._number]:
                raise self._bench.failures[self._number].popleft()
            if not self._bench.lazy:
                self._done = records[-1].offset + 1

    async def close(self) -> None:
        self._bench.log.append(f"close {self._number}")
        await asyncio.sleep(self._bench.slow_release)
        self._bench.log.append(f"released {self._number}")


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds; gives up after two minutes of the loop's own time."""
    async with asyncio.timeout(120):
        while not holds():  # noqa: ASYNC110 (what it waits for is not of our making)
            await asyncio.sleep(0.05)


@jumping
async def test_fence_then_read_committed_then_seek_then_resume() -> None:
    """A partition is fenced before its position is read, restored before it is placed, and placed before it is fetched."""
    bench = Bench()
    bench.write(5)
    bench.commit(3)
    async with bench.running():
        await until(lambda: "take 0" in bench.log)
    assert ["fence 0", "read committed 0", "restore 0", "seek 0 to 3", "resume 0", "take 0"] == bench.log[:6]
    assert [[3, 4]] == bench.taken[0]


@jumping
async def test_a_new_group_starts_at_the_beginning() -> None:
    """Without a position everything is read, once."""
    bench = Bench()
    bench.write(3)
    async with bench.running():
        await until(lambda: bench.taken[0] == [[0, 1, 2]])
        bench.write(2)
        await until(lambda: bench.taken[0] == [[0, 1, 2, 3, 4]])


@jumping
async def test_a_member_goes_on_where_retention_has_come_to() -> None:
    """Where the first record that is left lies beyond the position, reading begins there."""
    bench = Bench()
    bench.write(9)
    bench.commit(2)
    bench.retention = 5
    async with bench.running():
        await until(lambda: bench.taken[0] == [[5, 6, 7, 8]])


@jumping
async def test_a_doubtful_outcome_rewinds_to_the_committed_offset() -> None:
    """After Uncertain the worker is closed and a new one fences and reads again from the position, nothing between left out."""
    bench = Bench()
    bench.write(5)
    bench.commit(2)
    bench.failures[0].append(Uncertain("no answer"))
    async with bench.running():
        await until(lambda: len(bench.taken[0]) == 2 and bool(bench.taken[0][1]))
    assert [[2, 3, 4], [2, 3, 4]] == bench.taken[0]
    assert [
        "take 0",
        "pause 0",
        "close 0",
        "released 0",
        "fence 0",
        "read committed 0",
        "restore 0",
        "seek 0 to 2",
        "resume 0",
        "take 0",
    ] == bench.log[5:15]


@jumping
async def test_a_rewind_waits_a_moment() -> None:
    """A broker that is away is not asked in a tight loop."""
    bench = Bench()
    bench.write(1)
    bench.failures[0].extend([Uncertain("away")] * 3)
    started = asyncio.get_running_loop().time()
    async with bench.running():
        await until(lambda: len(bench.taken[0]) == 4 and bool(bench.taken[0][3]))
    assert asyncio.get_running_loop().time() - started >= 3 * REOPEN_SECONDS


@jumping
async def test_what_was_fetched_before_a_rewind_is_not_delivered_after_it() -> None:
    """A fetch that was under way when the partition was rewound has no part in what the new worker gets."""
    bench = Bench()
    bench.write(3)
    bench.failures[0].append(Uncertain("no answer"))
    async with bench.running():
        await until(lambda: bench.host.ready)
        bench.free.clear()
        bench.write(2)
        await until(lambda: bench.log.count("restore 0") == 2)
        bench.free.set()
        await until(lambda: len(bench.taken[0]) == 2 and len(bench.taken[0][1]) == 5)
    assert [0, 1, 2, 3, 4] == bench.taken[0][1]


@jumping
async def test_whoever_is_fenced_gives_the_partition_up() -> None:
    """A fenced partition is left alone while the other one goes on."""
    bench = Bench(partitions=2)
    bench.write(1, 0)
    bench.write(1, 1)
    bench.failures[0].append(Fenced("another instance has taken over"))
    async with bench.running():
        await until(lambda: "close 0" in bench.log and bench.taken[1] == [[0]])
        bench.write(1, 0)
        bench.write(1, 1)
        await until(lambda: bench.taken[1] == [[0, 1]])
        await asyncio.sleep(FENCED_SECONDS / 2)
        assert [[0]] == bench.taken[0]
        assert [SECOND] == bench.host.assigned
        assert not bench.host.ready


@jumping
async def test_a_partition_that_nobody_took_is_taken_up_again() -> None:
    """Who was fenced by a member that is gone, and still has the partition much later, takes it up again."""
    bench = Bench()
    bench.write(1)
    bench.failures[0].append(Fenced("another instance has taken over"))
    async with bench.running():
        await until(lambda: bench.taken[0] == [[0], [0]])


@jumping
async def test_a_bug_ends_the_member() -> None:
    """What is no broker's doubt is raised from run, after the worker was closed."""
    bench = Bench()
    bench.write(1)
    bench.failures[0].append(ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        await bench.host.run()
    assert "close 0" in bench.log


@jumping
async def test_a_second_member_takes_over_where_the_first_committed() -> None:
    """On a rebalance the first member finishes and closes before the second one fences; each partition has one owner."""
    bench = Bench(partitions=2)
    bench.write(2, 0)
    bench.write(2, 1)
    second = bench.a_host()
    async with bench.running():
        await until(lambda: bench.host.assigned == [FIRST, SECOND] and bool(bench.taken[1][0]))
        bench.commit(2, 0)
        bench.commit(1, 1)
        before = len(bench.log)
        async with bench.running(second):
            await until(lambda: len(bench.host.assigned) == 1 == len(second.assigned) and bench.taken[1][-1] == [1])
            after = bench.log[before:]
            assert after.index("finished 1") < after.index("released 1") < after.index("fence 1")
            assert {FIRST, SECOND} == {*bench.host.assigned, *second.assigned}
        await until(lambda: bench.host.assigned == [FIRST, SECOND])


@jumping
async def test_a_worker_that_does_not_end_is_cancelled() -> None:
    """Handing a partition on waits only so long; then the worker is cancelled and closed all the same."""
    bench = Bench()
    bench.slow_close = 10 * REVOKE_SECONDS
    bench.write(1)
    loop = asyncio.get_running_loop()
    async with bench.running() as task:
        await until(lambda: bench.taken[0] == [[0]])
        asked = loop.time()
        bench.host.stop()
        await task
    assert loop.time() - asked < 2 * REVOKE_SECONDS
    assert "finished 0" not in bench.log
    assert ["close 0", "released 0"] == bench.log[-2:]


@jumping
async def test_a_worker_that_is_being_closed_is_let_finish() -> None:
    """A partition taken away while its doubtful worker is closed: closing is not cut short, and no further worker is made."""
    bench = Bench()
    bench.slow_release = REVOKE_SECONDS / 2
    bench.write(1)
    bench.failures[0].append(Uncertain("no answer"))
    async with bench.running() as task:
        await until(lambda: "close 0" in bench.log)
        bench.host.stop()
        await task
    assert "released 0" == bench.log[-1]
    assert 1 == bench.log.count("fence 0")


@jumping
async def test_a_full_inbox_pauses_its_partition() -> None:
    """Above the bound the partition is paused, and fetched again once the worker has taken half."""
    bench = Bench()
    bench.write(10)
    host = bench.a_host(inbox_bytes=100)
    async with bench.running(host):
        await until(lambda: bench.taken[0] == [list(range(10))])
        bench.write(1)
        await until(lambda: bench.taken[0] == [list(range(11))])
    assert ["seek 0 to 0", "resume 0", "pause 0", "resume 0", "take 0"] == bench.log[3:8]


def test_the_start_is_the_committed_offset() -> None:
    """Without one it is the first; where retention ran ahead, the first that is left; beyond the end it is an error that says so."""
    assert 5 == start_offset(None, (5, 9))
    assert 7 == start_offset(Position(7), (5, 9))
    assert 9 == start_offset(Position(9), (5, 9))
    assert 5 == start_offset(Position(2), (5, 9))
    with pytest.raises(BrokerError, match="made anew"):
        start_offset(Position(10), (5, 9))


@jumping
async def test_a_worker_that_fails_while_it_closes_ends_the_member() -> None:
    """Whatever ends the task of a partition by surprise ends the member: a partition without a worker would stand still for ever."""
    bench = Bench()
    bench.failures[0].append(Uncertain("lost"))
    bench.write(1)
    error = RuntimeError("cannot close")

    class Worker(_Worker):
        async def close(self) -> None:
            raise error

    host = PartitionHost(bench.broker, group="test.group", topics=[TOPIC], make_worker=lambda one, _membership: Worker(bench, one))
    task = asyncio.create_task(host.run())
    await asyncio.wait([task], timeout=60)
    host.stop()
    assert task.done()
    assert error is task.exception()


async def looks(host: PartitionHost, seconds: float) -> list[str]:
    """Look every five seconds for so long; gives what the last look found."""
    found: list[str] = []
    for _ in range(int(seconds / 5) + 1):
        found = await host.look(asyncio.get_running_loop().time())
        await asyncio.sleep(5)
    return found


@jumping
async def test_what_never_gets_done_is_no_life() -> None:
    """A partition whose worker has taken records and stands still is named, after a minute and not before."""
    bench = Bench()
    bench.lazy = True
    bench.write(3)
    async with bench.running():
        await until(lambda: bench.taken[0] == [[0, 1, 2]])
        assert [] == await looks(bench.host, PATIENCE_SECONDS - 5)
        assert ["test.in-0 of test.group has stood still at offset 0 for 60 s"] == await bench.host.look(asyncio.get_running_loop().time())


@jumping
async def test_a_client_that_fetches_nothing_any_more_is_found() -> None:
    """The end is asked of the broker, so that a client that believes to have read everything is found out (aio-libs/aiokafka#718, #1154)."""
    bench = Bench()
    async with bench.running():
        await until(lambda: bench.host.ready)
        bench.deaf = True
        await asyncio.sleep(1)
        bench.write(1)
        assert ["test.in-0 of test.group has stood still at offset 0 for 60 s"] == await looks(bench.host, PATIENCE_SECONDS)


@jumping
async def test_an_outcome_that_stays_doubtful_is_no_life() -> None:
    """Opening again and again without getting anywhere is no progress."""
    bench = Bench()
    bench.write(3)
    bench.failures[0].extend([Uncertain("no answer")] * 1_000)
    async with bench.running():
        await until(lambda: len(bench.taken[0]) > 3)
        assert 1 == len(await looks(bench.host, PATIENCE_SECONDS + 5))


@pytest.mark.parametrize("why", ["waits", "blocked", "broker", "idle", "moves"])
def test_what_waits_on_purpose_lives(why: str) -> None:
    """A tool, a delay, a right or a broker that is waited for, nothing to do, and slow work are no reason to start again."""

    @jumping
    async def run() -> None:
        bench = Bench()
        bench.lazy = why not in ("idle", "moves")
        bench.waits_for = "a tool" if why == "waits" else ""
        bench.write(3)
        if why == "blocked":
            bench.failures[0].extend([Blocked("a right is missing")] * 1_000)
        async with bench.running():
            await until(lambda: any(bench.taken[0]))
            bench.away = why == "broker"
            for _ in range(40):
                if why == "moves":
                    bench.write(1)
                assert [] == await looks(bench.host, 0)
            assert (why not in {"broker", "blocked"}) == bench.host.ready
            assert ("a right is missing" if why == "blocked" else "") == bench.host.trouble

    run()


@jumping
async def test_a_rebalance_that_never_ends_is_no_life() -> None:
    """A member whose partitions were taken away and that gets no answer to its joining again is named."""
    bench = Bench()
    async with bench.running():
        await until(lambda: bench.host.ready)
        await bench.host._revoked([FIRST])  # as aiokafka does before it joins again
        assert ["group test.group has had no assignment for 60 s"] == await looks(bench.host, PATIENCE_SECONDS)


@jumping
async def test_what_is_blocked_goes_on_once_it_is_mended() -> None:
    """What must be mended is waited for and said, with the lag kept."""
    bench = Bench()
    bench.write(2)
    bench.failures[0].extend([Blocked("the disk is full")] * 2)
    async with bench.running():
        await until(lambda: bench.host.blocked == 1)
        assert ("the disk is full", False) == (bench.host.trouble, bench.host.ready)
        await until(lambda: bench.taken[0] == [[0, 1]] * 3 and bench.host.ready)
        assert ("", 0) == (bench.host.trouble, bench.host.blocked)


@jumping
async def test_a_topic_that_is_missing_is_waited_for() -> None:
    """A member whose topic does not exist says so and joins once it is made."""
    bench = Bench()
    bench.broker.delete(TOPIC)
    async with bench.running():
        await asyncio.sleep(120)
        assert "there is no topic test.in; `headrace apply` makes it" == bench.host.trouble
        assert not bench.host.ready
        bench.broker.create(TOPIC, 1)
        await until(lambda: bench.host.ready)
        assert "" == bench.host.trouble


@jumping
async def test_a_broker_that_is_away_is_waited_for() -> None:
    """A member that starts before its broker does joins when that has come."""
    bench = Bench()
    bench.away = True
    bench.write(1)
    async with bench.running():
        await asyncio.sleep(120)
        assert [] == await looks(bench.host, 120)
        assert not bench.host.ready
        bench.away = False
        await until(lambda: bench.taken[0] == [[0]])


@jumping
async def test_another_number_of_partitions_is_refused() -> None:
    """Where the topology says another number, nothing is judged, and the procedure that changes it is named."""
    bench = Bench(partitions=2)
    bench.write(1)
    host = bench.a_host(**{"in": 1})
    async with bench.running(host):
        await asyncio.sleep(60)
        assert host.trouble.startswith("the topic test.in has 2 partitions, not 1:")
        assert "headrace topics grow" in host.trouble
        assert [] == bench.taken[0]


@jumping
async def test_a_topic_that_grows_under_way_is_refused() -> None:
    """A number of partitions that changes while a group works stops it, and its lag is kept."""
    bench = Bench()
    host = bench.a_host(**{"in": 1})
    async with bench.running(host):
        await until(lambda: host.ready)
        bench.broker.grow(TOPIC, 2)
        await host.look(0)
        await until(lambda: "has 2 partitions" in host.trouble)
        await asyncio.sleep(60)
        bench.write(1)
        await asyncio.sleep(60)
        assert ([], False) == (host.assigned, host.ready)


@jumping
async def test_a_topic_made_anew_is_refused() -> None:
    """An offset of the topic before is no offset of this one, however far that has come; a position set by hand is believed."""
    bench = Bench()
    bench.write(3)
    async with bench.running():
        await until(lambda: any(bench.taken[0]))
        bench.broker.commit("test.group", {FIRST: Position(3)})
    bench.broker.delete(TOPIC)
    bench.broker.create(TOPIC, 1)
    bench.write(9)
    host = bench.a_host()
    async with bench.running(host):
        await until(lambda: "belongs to an earlier topic test.in" in host.trouble)
        assert "headrace offsets reset" in host.trouble
        assert [0, 1, 2] == [offset for worker in bench.taken[0] for offset in worker]
        bench.commit(0)
        await until(lambda: bench.taken[0][-1] == list(range(9)))


@jumping
async def test_a_topic_made_anew_under_way_is_refused() -> None:
    """The look finds it out."""
    bench = Bench()
    async with bench.running():
        await until(lambda: bench.host.ready)
        bench.broker.commit("test.group", {FIRST: Position(0)})
        bench.broker.delete(TOPIC)
        bench.broker.create(TOPIC, 1)
        await bench.host.look(0)
        await until(lambda: "belongs to an earlier topic" in bench.host.trouble)


@jumping
async def test_a_topic_made_anew_whose_offsets_are_forgotten_is_read_from_its_first_record() -> None:
    """The broker deletes them with the topic; a member that runs finds the other id at a look, says so, and joins again."""
    bench = Bench()
    bench.write(3)
    async with bench.running():
        await until(lambda: any(bench.taken[0]))
        bench.broker.delete(TOPIC)
        bench.broker.positions("test.group").clear()
        bench.broker.create(TOPIC, 1)
        bench.write(2)
        await bench.host.look(0)
        await until(lambda: "was made anew while it was worked on" in bench.host.trouble)
        await until(lambda: bench.taken[0][-1] == [0, 1])


@jumping
async def test_a_member_that_has_ended_is_not_watched() -> None:
    """One that a bug or the breaker has ended, in a process that goes on, is no reason to end the process."""
    bench = Bench()
    bench.write(1)
    bench.failures[0].append(ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        await bench.host.run()
    assert [] == await looks(bench.host, 2 * PATIENCE_SECONDS)
    assert not bench.host.ready
