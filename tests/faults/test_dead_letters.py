"""A bad deploy keeps its lag instead of filling the dead letters, and what died is redriven once, whatever crashes (tests T39 and T40)."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from operator import eq

import orjson
import pytest

from pipeline.app.cli.audit import Range, examine
from pipeline.assembly import map_anew, translate_anew
from pipeline.dead_letters import Choice
from pipeline.declaration import config_records
from pipeline.model.outcomes import Dead, Outcome
from pipeline.model.record import Message, Output, Record, TopicPartition
from pipeline.model.topics import declared_topics
from pipeline.model.topology import Processor, Topology
from pipeline.model.workspace import Workspace
from pipeline.ports.broker import Committed, Membership, Position, Transactions, Uncertain
from pipeline.runtime.breaker import CRASHES_MOST, Breaker, BreakerError
from pipeline.runtime.brokers.kafka import KafkaBroker
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.judgement import Judged, Plan
from pipeline.runtime.metrics.memory import MemoryMetrics
from pipeline.runtime.partitions import PartitionHost
from pipeline.runtime.redrive import InForce, Redriver, Summary
from pipeline.runtime.step_worker import StepWorker
from tests.conftest import Kafka
from tests.faults.laws import Seen, Verdict, bounded, in_order, no_duplicate
from tests.faults.member import FixedPlan
from tests.faults.proof import prove
from tests.faults.report import Row
from tests.faults.tool_laws import alike, arrived

pytestmark = [pytest.mark.faults, pytest.mark.integration]

LETTERS = int(os.environ.get("HEADRACE_FAULT_LETTERS", "5000"))
"""How many events die; `make faults` sets it higher."""
RESTARTS = 4
PARTITIONS = 2
FILTER = Processor("filter", "enriched", steps=("filter",), lanes={"main": "routed", "dead": "dead.{stage}"})
TOPOLOGY = Topology("faults", {"filter": FILTER}, PARTITIONS)


async def prepared(kafka: Kafka, prefix: str) -> KafkaBroker:
    """Give a broker with the topics of a workspace, whose configuration is in force, and events that wait for filter."""
    broker = KafkaBroker(kafka.bootstrap, "test")
    await broker.admin().create(list(declared_topics(prefix, destinations=[], dedup_processors=[], partitions=PARTITIONS)))
    producer = broker.producer()
    await producer.start()
    await producer.send([Output(f"{prefix}.config", *record, partition=0) for record in config_records(Workspace(prefix), 1, at_ms=0)])
    for start in range(0, LETTERS, 5_000):
        await producer.send([event(prefix, number) for number in range(start, min(start + 5_000, LETTERS))])
    await producer.stop()
    return broker


def event(prefix: str, number: int) -> Output:
    """Make an event of one of 200 keys."""
    body = {"type": "track", "event": "Load", "messageId": f"m-{number}", "n": number}
    return Output(f"{prefix}.enriched", b"k-%d" % (number % 200), orjson.dumps(body), (("source", b"web"), ("received_at", b"1")))


@asynccontextmanager
async def member(broker: KafkaBroker, prefix: str, step: Callable[[Message], Outcome | None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run a member of the group `filter` with a step."""
    plan = FixedPlan(Plan(prefix, 1, (("filter", step),), FILTER.lanes, trusted=True))

    def make_worker(partition: TopicPartition, membership: Membership) -> StepWorker:
        return StepWorker(
            partition,
            processor="filter",
            group=f"{prefix}.filter",
            prefix=prefix,
            transactions=broker.transactions(f"{prefix}-filter-enriched-{partition.partition}", membership),
            plans=plan,
            state=None,
            clock=SystemClock(),
            metrics=MemoryMetrics(),
        )

    host = PartitionHost(broker, group=f"{prefix}.filter", topics=[f"{prefix}.enriched"], make_worker=make_worker)
    task = asyncio.create_task(host.run())
    try:
        yield task
    finally:
        host.stop()
        await asyncio.wait([task])


async def contents(broker: KafkaBroker, topic: str) -> list[Record]:
    """Read a topic to its end."""
    return [record async for records in broker.reader().read(topic) for record in records]


async def until_drained(broker: KafkaBroker, prefix: str) -> None:
    """Wait until the group has no lag but transaction markers, which it has not to take."""
    async with asyncio.timeout(120):
        while True:
            totals = Counter[str]()
            for record in await contents(broker, f"{prefix}.ledger"):
                body = orjson.loads(record.value or b"{}")
                totals[body["processor"]] += body["in"]
            if totals["filter"] == len(await contents(broker, f"{prefix}.enriched")):
                return
            await asyncio.sleep(0.3)


def raises(_message: Message) -> Outcome | None:
    """Be a bad deploy."""
    raise ZeroDivisionError


def dies(_message: Message) -> Outcome | None:
    """Find fault with everything, as a wrong rule does."""
    return Dead("filter_failed", "a wrong rule")


def passes(_message: Message) -> Outcome | None:
    """Be mended."""
    return None


@contextmanager
def small_transactions() -> Iterator[pytest.MonkeyPatch]:
    """Have each transaction take about 10 records, as where events come one by one: what crashes is committed before so many have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.runtime.step_worker.SLICE_BYTES", 4_000)
        patch.setattr("pipeline.runtime.cadence.TRANSACTION_BYTES", -1)
        yield patch


def _no_breaker(patch: pytest.MonkeyPatch) -> None:
    """Let everything that crashes go to the dead letters."""

    def note(_breaker: Breaker, _version: int, _judged: Judged) -> None:
        """Let it go on."""

    patch.setattr(Breaker, "note", note)


def _no_memory(patch: pytest.MonkeyPatch) -> None:
    """Forget with each start what crashed before it."""
    patch.setattr(Breaker, "remembered", lambda _breaker: "")


BROKEN = {"no_breaker": _no_breaker, "no_memory": _no_memory}


async def trickled_deploys(broker: KafkaBroker, prefix: str, seconds: float) -> int:
    """Start a bad deploy again and again, each time as long as it lives; gives how many letters it made."""
    for _ in range(RESTARTS):
        async with member(broker, prefix, raises) as task:
            done, _ = await asyncio.wait([task], timeout=seconds)
            assert done, f"a bad deploy goes on after {seconds:.0f} s"
            assert isinstance(task.exception(), BreakerError)
    return len(await contents(broker, f"{prefix}.dead.filter"))


@pytest.mark.fault("T39")
async def test_a_bad_deploy_keeps_its_lag(kafka: Kafka, prefix: str, row: Row) -> None:
    """However often it is started again, fewer than 100 events of a partition die; the mended one takes all the others, in order, once."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        name = f"{prefix}-{broken}" if broken else prefix
        cluster = await prepared(kafka, name)
        with small_transactions() as patch:
            if broken:
                BROKEN[broken](patch)
            died = await trickled_deploys(cluster, name, 8.0 if broken else 60.0)
        lags = await cluster.admin().lags(f"{name}.filter", [f"{name}.enriched"])
        async with member(cluster, name, passes):
            await until_drained(cluster, name)
        passed = [(record.key, orjson.loads(record.value or b"{}")["n"]) for record in await contents(cluster, f"{name}.routed")]
        letters = [orjson.loads(record.value or b"{}")["n"] for record in await contents(cluster, f"{name}.dead.filter")]
        if not broken:
            row.kills = RESTARTS
            row.figures = f"{died} of {LETTERS} events died in {RESTARTS} starts"
        return [
            arrived([str(number) for number in range(LETTERS)], [str(number) for _, number in passed], [str(number) for number in letters]),
            no_duplicate(Counter([str(number) for _, number in passed] + [str(number) for number in letters])),
            in_order(Seen((key or b"").decode(), number, str(number), "") for key, number in passed),
            bounded({"letters": died}, {"letters": CRASHES_MOST * PARTITIONS - 1}),
            Verdict("the lag is kept", 1, () if sum(lags.values()) >= LETTERS - died else (f"{lags}",)),
        ]

    await prove(row, scenario, tuple(BROKEN))


class Faulty(KafkaBroker):
    """A broker whose transactions of the redriver are cut off or torn apart."""

    def __init__(self, bootstrap: str, *, cut_off_after: int = 1_000_000, torn: bool = False) -> None:
        super().__init__(bootstrap, "test")
        self.cut_off_after = cut_off_after
        self.torn = torn

    def transactions(self, transactional_id: str, membership: Membership | None = None) -> Transactions:  # type: ignore[override]  # a narrower one is not needed here
        """Make a faulty producer."""
        return _FaultyTransactions(super().transactions(transactional_id, membership), self)


class _FaultyTransactions:
    def __init__(self, real: Transactions, broker: Faulty) -> None:
        self._real = real
        self._broker = broker

    async def start(self) -> None:
        """Fence."""
        await self._real.start()

    async def commit(self, outputs: Sequence[Output], positions: Mapping[TopicPartition, Position], group: str) -> Committed:
        """Commit, unless this one is cut off: then its outcome is unknown, and every second one was stored."""
        self._broker.cut_off_after -= 1
        if self._broker.torn:
            outputs = [output for output in outputs if not output.topic.endswith(".handled")]
        if self._broker.cut_off_after == 0:
            raise Uncertain("cut off before the commit")
        ends = await self._real.commit(outputs, positions, group)
        if self._broker.cut_off_after == 1:
            raise Uncertain("cut off after the commit")
        return ends

    async def stop(self) -> None:
        """Disconnect."""
        await self._real.stop()


async def redrive(broker: KafkaBroker, prefix: str) -> Summary:
    """Redrive everything that is open."""
    workspace = replace(Workspace(prefix), version=1)
    return await Redriver(broker, InForce(TOPOLOGY, workspace, {}, translate_anew(workspace), map_anew(workspace)), SystemClock()).redrive(Choice())


async def all_dead(cluster: KafkaBroker, prefix: str) -> list[Record]:
    """Have every event die."""
    async with member(cluster, prefix, dies):
        await until_drained(cluster, prefix)
    letters = await contents(cluster, f"{prefix}.dead.filter")
    assert LETTERS == len(letters)
    return letters


@pytest.mark.fault("T40")
async def test_what_died_is_redriven_once(kafka: Kafka, prefix: str, row: Row) -> None:
    """Cut off twice and then run twice: each event passes once, the second run adds none, the letters are untouched, and the accounts add up."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        name = f"{prefix}-{broken}" if broken else prefix
        cluster = await prepared(kafka, name)
        letters = await all_dead(cluster, name)
        torn = broken == "note_apart"
        for cut_off in (2, 3):  # the one after is lost, the other was stored and nobody learned it
            with pytest.raises(Uncertain):
                await redrive(Faulty(kafka.bootstrap, cut_off_after=cut_off, torn=torn), name)
        completed = await redrive(Faulty(kafka.bootstrap, torn=torn), name)
        again = await redrive(Faulty(kafka.bootstrap, torn=torn), name)
        async with member(cluster, name, passes):
            await until_drained(cluster, name)
        passed = await contents(cluster, f"{name}.routed")
        origins = {tuple(dict(record.headers)[key] for key in ("source", "received_at", "redriven")) for record in passed}
        report = await examine(cluster, name, TOPOLOGY, Range(None, None))
        if not broken:
            row.kills = 2
            row.figures = (
                f"{LETTERS} letters: {completed.earlier} by runs that were cut off, {completed.done} by the third, {again.done} by the fourth"
            )
        ids = Counter(str(orjson.loads(record.value or b"{}")["n"]) for record in passed)
        return [
            arrived([str(number) for number in range(LETTERS)], ids),
            no_duplicate(ids),
            alike("redriven by the third run or before, and by the fourth", (LETTERS, 0), (completed.done + completed.earlier, again.done)),
            alike("headers of what was redriven", {(b"web", b"1", b"1")}, origins),
            alike("letters that were touched", 0, len(letters) - sum(map(eq, letters, await contents(cluster, f"{name}.dead.filter")))),
            alike("L6 residue", (True, 0), (report.whole, report.residue)),
        ]

    await prove(row, scenario, ("note_apart",))
