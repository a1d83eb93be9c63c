"""A worker takes, judges and commits, transaction by transaction; what it cannot know to be done is not done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from pipeline.model.outcomes import Outcome
from pipeline.model.record import Message, Output, Record, TopicPartition
from pipeline.ports.broker import BrokerError, Committed, Fenced, Position, RecordRefused, Uncertain
from pipeline.runtime import step_worker
from pipeline.runtime.breaker import CRASHES_MOST, BreakerError
from pipeline.runtime.inbox import Inbox
from pipeline.runtime.judgement import Plan
from pipeline.runtime.step_worker import PATIENCE_SECONDS, StepWorker
from pipeline.runtime.suspicion import Suspicion
from pipeline.testing import HandClock, MemoryMetrics, event, record
from tests.unit.runtime.jumping import jumping

PARTITION = TopicPartition("test.in", 2)


class Bench:
    """A worker between a transaction log and steps of the test's choice.

    Attributes:
        log: What the worker did to the outside, in order.
        takes_ms: How long a commit takes.
        commits: Outputs and offset of each commit.
        failure: What the next commit raises.
    """

    def __init__(self, suspicion: Suspicion | None = None) -> None:
        self.log: list[str] = []
        self.refuses = b""
        self.takes_ms = 0
        self.commits: list[tuple[list[Output], Position]] = []
        self.failure: BrokerError | None = None
        self.plan = a_plan(1)
        self.newer: dict[int, asyncio.Future[Plan]] = {}
        self.clock = HandClock(1_000)
        self.metrics = MemoryMetrics()
        self.worker = StepWorker(
            PARTITION,
            processor="filter",
            group="test.filter",
            prefix="test",
            transactions=self,
            plans=self,
            state=_State(self.log),
            clock=self.clock,
            metrics=self.metrics,
            suspicion=suspicion,
        )

    async def start(self) -> None:
        """Fence."""
        self.log.append("fence")

    async def commit(self, outputs: Sequence[Output], positions: Mapping[TopicPartition, Position], group: str) -> Committed:
        """Note a commit, or fail."""
        assert "test.filter" == group
        if self.failure is not None:
            raise self.failure
        if self.refuses and any(self.refuses in (output.value or b"") and output.topic == "test.out" for output in outputs):
            raise RecordRefused("test.out takes no such record")
        self.clock.move(self.clock.now_ms() + self.takes_ms)
        self.log.append("commit")
        self.commits.append((list(outputs), positions[PARTITION]))
        return Committed({TopicPartition("test.changelog", 2): 10 * len(self.commits)})

    async def stop(self) -> None:
        """Stop."""
        self.log.append("stop")

    def current(self) -> Plan:
        """Give the plan."""
        return self.plan

    async def at_least(self, version: int) -> Plan:
        """Wait for a version; there is one."""
        if not version:
            return self.plan
        self.log.append(f"wait for {version}")
        return await self.newer[version]

    @asynccontextmanager
    async def running(self, *records: Record) -> AsyncIterator[tuple[asyncio.Task[None], Inbox]]:
        """Run the worker over records until the block is left."""

        async def committed() -> Position | None:
            self.log.append("read committed")
            return None

        await self.worker.open(committed, (0, 0))
        inbox = Inbox(8_000_000, lambda: None)
        inbox.put(records)
        task = asyncio.create_task(self.worker.run(inbox))
        try:
            yield task, inbox
        finally:
            inbox.close()
            await asyncio.wait([task])
            await self.worker.close()

    def written(self) -> list[str]:
        """Give the topics of what was committed, a text for each transaction."""
        return [" ".join(output.topic.removeprefix("test.") for output in outputs) for outputs, _ in self.commits]


class _State:
    restored = 0

    def __init__(self, log: list[str]) -> None:
        self._log = log

    async def restore(self, *, resumed: bool) -> None:
        self._log.append("restore")

    def changes(self) -> list[Output]:
        return [Output("test.changelog", None, b"c", (), 2)]

    def committed(self, ends: Mapping[TopicPartition, int]) -> None:
        self._log.append(f"state reflects {ends[TopicPartition('test.changelog', 2)]}")

    def close(self) -> None:
        self._log.append("close state")


def a_plan(version: int, step: Any = None, *, trusted: bool = True) -> Plan:  # noqa: ANN401 (a step)
    """Make a plan of one step."""
    return Plan("test", version, (("filter", step or (lambda _message: None)),), {"main": "out", "dead": "dead.{stage}"}, trusted)


def some(count: int, start: int = 0, **headers: bytes) -> list[Record]:
    """Make records."""
    return [record(event(messageId=f"m-{number}"), partition=2, offset=number, headers=headers) for number in range(start, start + count)]


def crash(_message: Message) -> Outcome | None:
    """Fail on everything."""
    raise ZeroDivisionError


async def settled() -> None:
    """Let everything run that can."""
    await asyncio.sleep(1)


@jumping
async def test_fenced_and_restored_before_work_and_state_follows_the_commit() -> None:
    """The order of effects: fence, read the position, restore, commit, and only then the state."""
    bench = Bench()
    async with bench.running(*some(3)):
        await settled()
    assert ["fence", "read committed", "restore", "commit", "state reflects 10", "close state", "stop"] == bench.log


@jumping
async def test_a_transaction_holds_outputs_changelog_ledger_and_offset() -> None:
    """When the input runs dry everything is committed at once, with the offset after the last input."""
    bench = Bench()
    async with bench.running(*some(3, start=5)) as (_, inbox):
        await settled()
        inbox.put(some(1, start=8))
        await settled()
    assert ["out out out changelog ledger", "out changelog ledger"] == bench.written()
    assert [Position(8), Position(9)] == [position for _, position in bench.commits]
    ledger = bench.commits[0][0][-1]
    assert b"filter/in/2" == ledger.key
    entry = orjson.loads(ledger.value or b"")
    assert (5, 8, 3, 3, {"main": 3}, 1_000) == tuple(entry[name] for name in ("from", "to", "in", "passed", "lanes", "at"))


@jumping
async def test_under_load_a_transaction_ends_with_its_interval() -> None:
    """While input keeps coming the transaction stays open for its interval, no longer."""
    bench = Bench()

    def slow(_message: Message) -> None:
        bench.clock.move(bench.clock.now_ms() + 60)

    bench.plan = a_plan(1, slow)
    large = [one._replace(value=(one.value or b"") + b" " * 130_000) for one in some(6)]  # each fills a slice of its own
    async with bench.running(*large):
        await settled()
    assert [Position(2), Position(4), Position(6)] == [position for _, position in bench.commits]


@pytest.mark.parametrize("failure", [Uncertain("no answer"), Fenced("taken over"), RecordRefused("too large")])
def test_what_is_not_committed_is_not_done(failure: BrokerError) -> None:
    """After a failed commit the worker ends with the broker's error, counts it, and state reflects nothing."""

    @jumping
    async def run() -> None:
        bench = Bench()
        bench.failure = failure
        async with bench.running(*some(1)) as (task, _):
            await asyncio.wait([task])
            assert failure is task.exception()
        assert ["fence", "read committed", "restore", "close state", "stop"] == bench.log
        assert {("headrace_transactions_total", ("filter", type(failure).__name__.lower().removeprefix("record"))): 1} == bench.metrics.sums

    run()


@jumping
async def test_a_newer_version_is_waited_for() -> None:
    """Records stamped with a version that is not known yet are judged by it once it is, never by an older one."""
    bench = Bench()
    bench.newer[2] = asyncio.get_running_loop().create_future()
    async with bench.running(*some(1, config=b"1"), *some(1, start=1, config=b"2")):
        await settled()
        assert [] == bench.commits
        bench.newer[2].set_result(a_plan(2))
        await settled()
        assert {b"2"} == {dict(output.headers)["config"] for output in bench.commits[0][0] if output.topic == "test.out"}


@jumping
async def test_anyones_version_is_waited_for_once() -> None:
    """In a topic that anyone may write to, a version from the future holds records up for five seconds, once; null or absurd ones do not."""
    bench = Bench()
    bench.plan = a_plan(1, trusted=False)
    bench.newer[99] = asyncio.get_running_loop().create_future()
    strange = [record(offset=number)._replace(headers=(("config", value),)) for number, value in enumerate((b"99", None, b"9" * 5_000))]  # type: ignore[arg-type]  # Kafka lets a header be null
    async with bench.running(*strange) as (_, inbox):
        await settled()
        assert [] == bench.commits
        await asyncio.sleep(PATIENCE_SECONDS + 1)
        assert [Position(3)] == [position for _, position in bench.commits]
        bench.newer[99] = asyncio.get_running_loop().create_future()
        inbox.put([record(offset=3)._replace(headers=(("config", b"99"),))])
        await settled()
        assert [Position(3), Position(4)] == [position for _, position in bench.commits]


@jumping
async def test_the_collectors_version_is_waited_for() -> None:
    """A record that the collector took with a newer version is judged by that version, so that a new source is known."""
    bench = Bench()
    bench.plan = a_plan(1, trusted=False)
    bench.newer[2] = asyncio.get_running_loop().create_future()
    async with bench.running(*some(1, config=b"2")):
        await settled()
        assert [] == bench.commits
        bench.newer[2].set_result(a_plan(2, trusted=False))
        await settled()
        assert 1 == len(bench.commits)


@jumping
async def test_steps_that_crash_on_everything_stop_the_processor() -> None:
    """When nothing has succeeded and so many have crashed, the processor stops with its lag kept instead of killing all of it."""
    bench = Bench()
    bench.plan = a_plan(1, crash)
    async with bench.running(*some(CRASHES_MOST)) as (task, _):
        await asyncio.wait([task])
        assert isinstance(task.exception(), BreakerError)
    assert [] == bench.commits


@jumping
async def test_crashes_add_up_over_transactions() -> None:
    """Fewer crashes than that die one by one, until they are as many."""
    bench = Bench()
    bench.plan = a_plan(1, crash)
    async with bench.running(*some(CRASHES_MOST - 1)) as (task, inbox):
        await settled()
        assert [CRASHES_MOST - 1] == [position.offset for _, position in bench.commits]
        inbox.put(some(1, start=CRASHES_MOST - 1))
        await asyncio.wait([task])
        assert isinstance(task.exception(), BreakerError)
    assert 1 == len(bench.commits)


@jumping
async def test_one_success_keeps_the_processor_going() -> None:
    """Where something has succeeded under this version, crashes are poison of their own and stop nothing."""
    bench = Bench()

    def mostly_crash(message: Message) -> None:
        if message.body["messageId"] != "m-0":
            raise ZeroDivisionError

    bench.plan = a_plan(1, mostly_crash)
    async with bench.running(*some(1)) as (task, inbox):
        await settled()
        for start in (1, CRASHES_MOST + 1):
            inbox.put(some(CRASHES_MOST, start=start))
            await settled()
        assert not task.done()
    assert 2 * CRASHES_MOST + 1 == bench.commits[-1][1].offset


@jumping
async def test_a_new_version_has_to_succeed_anew() -> None:
    """What succeeded under the last version says nothing about this one."""
    bench = Bench()
    async with bench.running(*some(1)) as (task, inbox):
        await settled()
        bench.plan = a_plan(2, crash)
        inbox.put(some(CRASHES_MOST, start=1))
        await asyncio.wait([task])
        assert isinstance(task.exception(), BreakerError)
    assert [Position(1)] == [position for _, position in bench.commits]


@jumping
async def test_a_refused_record_is_found_and_ends_as_a_dead_letter() -> None:
    """Workers one after the other, as the host makes them, narrow a refusal down to its input; all others pass."""
    suspicion = Suspicion()
    ended: list[str] = []
    place = 0
    for _ in range(40):
        bench = Bench(suspicion)
        bench.refuses = b'"m-5"'
        async with bench.running(*some(8 - place, start=place)) as (task, _inbox):
            await settled()
            failed = task.done()
        ended += [
            f"{output.topic} {orjson.loads(output.value or b'')['messageId']}"
            for outputs, _ in bench.commits
            for output in outputs
            if b"m-" in (output.value or b"")
        ]
        place = bench.commits[-1][1].offset if bench.commits else place
        if not failed:
            break
    assert [f"test.{'dead.filter' if number == 5 else 'out'} m-{number}" for number in range(8)] == ended


async def until(holds: Callable[[], bool]) -> None:
    """Let the worker work until something holds."""
    while not holds():  # noqa: ASYNC110 (the worker tells nobody)
        await asyncio.sleep(0)


async def test_what_comes_while_it_rests_goes_into_one_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a commit of ten seconds it rests as long: what comes meanwhile is judged at once and committed together, here by the hand-over."""
    monkeypatch.setattr(step_worker, "STEPS_REST_SECONDS", 3600.0)
    bench = Bench()
    judged: list[str] = []
    bench.plan = a_plan(1, lambda message: judged.append(message.body["messageId"]))
    bench.takes_ms = 10_000
    async with bench.running(*some(1)) as (_, inbox):
        await until(lambda: bool(bench.commits))
        for number in (1, 2):
            inbox.put(some(1, number))
            await until(lambda: f"m-{number}" in judged)  # noqa: B023 (waited for here)
        assert [1] == [position.offset for _, position in bench.commits]
    assert [1, 3] == [position.offset for _, position in bench.commits]


async def test_a_single_event_is_committed_at_once_after_a_silence() -> None:
    """The rest counts from the last commit: when it is over, nothing waits for anything."""
    bench = Bench()
    bench.takes_ms = 10_000
    async with bench.running(*some(1)) as (_, inbox):
        await until(lambda: bool(bench.commits))
        bench.clock.move(bench.clock.now_ms() + 10_000)
        inbox.put(some(1, 1))
        for _ in range(20):
            await asyncio.sleep(0)
        assert [1, 2] == [position.offset for _, position in bench.commits]
