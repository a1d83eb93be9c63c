"""A topic that takes less than is written to it, on a real broker: one record ends, the others pass, nothing twice."""

from __future__ import annotations

import asyncio
from random import Random

import orjson
import pytest

from pipeline.model.headers import DEAD_REASON
from pipeline.model.outcomes import Outcome
from pipeline.model.record import Message, Output, TopicPartition
from pipeline.model.topics import Declared
from pipeline.ports.broker import Membership
from pipeline.runtime.brokers.kafka import KafkaBroker
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.judgement import Plan
from pipeline.runtime.partitions import PartitionHost
from pipeline.runtime.step_worker import StepWorker
from pipeline.runtime.suspicion import Suspicion
from pipeline.testing import MemoryMetrics, event
from tests.conftest import Kafka

pytestmark = pytest.mark.integration


class _OnePlan:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def current(self) -> Plan:
        return self._plan

    async def at_least(self, version: int) -> Plan:
        return self._plan


def _grow(message: Message) -> Outcome | None:
    if message.body["messageId"] == "m-5":
        message.body["grown"] = Random(1).randbytes(40_000).hex()  # noqa: S311 (what no codec makes small)
    return None


async def test_an_output_that_is_too_large_ends_its_own_event_only(kafka: Kafka, prefix: str) -> None:
    """Where a topic takes 20 kB and one of twenty events grows to 80, that one is a dead letter and nineteen are written once, in order."""
    broker = KafkaBroker(kafka.bootstrap)
    small = {"max.message.bytes": "20000"}
    await broker.admin().create([Declared(f"{prefix}.{name}", 1, small if name == "out" else {}) for name in ("in", "out", "dead.filter", "ledger")])
    producer = broker.producer()
    await producer.start()
    await producer.send([Output(f"{prefix}.in", b"k", orjson.dumps(event(messageId=f"m-{number}"))) for number in range(20)])
    await producer.stop()
    suspicion = Suspicion()
    plan = Plan(prefix, 1, (("filter", _grow),), {"main": "out", "dead": "dead.{stage}"}, trusted=True)

    def make_worker(partition: TopicPartition, membership: Membership) -> StepWorker:
        return StepWorker(
            partition,
            processor="filter",
            group=f"{prefix}.filter",
            prefix=prefix,
            transactions=broker.transactions(f"{prefix}-filter", membership),
            plans=_OnePlan(plan),
            state=None,
            clock=SystemClock(),
            metrics=MemoryMetrics(),
            suspicion=suspicion,
        )

    host = PartitionHost(broker, group=f"{prefix}.filter", topics=[f"{prefix}.in"], make_worker=make_worker)
    running = asyncio.create_task(host.run())
    out: list[str] = []
    async with asyncio.timeout(60):
        while len(out) < 19:
            await asyncio.sleep(0.2)
            out = [orjson.loads(record.value or b"")["messageId"] async for records in broker.reader().read(f"{prefix}.out") for record in records]
    host.stop()
    await running
    dead = [record async for records in broker.reader().read(f"{prefix}.dead.filter") for record in records]
    assert [f"m-{number}" for number in range(20) if number != 5] == out
    assert [("m-5", b"output_too_large")] == [(orjson.loads(one.value or b"")["messageId"], dict(one.headers)[DEAD_REASON]) for one in dead]
