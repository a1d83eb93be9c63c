"""Retention runs ahead of a group on a real broker: the loss is named, and every other event is accounted for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest
from aiokafka import TopicPartition as KafkaTopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from pipeline.app.cli.audit import Range, as_data, examine
from pipeline.model.record import Output, Record, TopicPartition
from pipeline.model.topics import Declared
from pipeline.model.topology import Processor, Topology
from pipeline.ports.broker import Membership
from pipeline.runtime.brokers.kafka import KafkaBroker
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.judgement import Plan
from pipeline.runtime.partitions import PartitionHost
from pipeline.runtime.step_worker import StepWorker
from pipeline.testing import MemoryMetrics, event
from tests.conftest import Kafka

pytestmark = pytest.mark.integration

TOPOLOGY = Topology(
    "two",
    {
        "validate": Processor("validate", "raw", lanes={"main": "validated", "dead": "dead.{stage}"}),
        "filter": Processor("filter", "validated", lanes={"main": "routed", "dead": "dead.{stage}"}),
    },
    partitions=1,
)


class _PassAll:
    def __init__(self, prefix: str, processor: Processor) -> None:
        self._plan = Plan(prefix, 1, ((processor.name, lambda _message: None),), processor.lanes, trusted=True)

    def current(self) -> Plan:
        return self._plan

    async def at_least(self, version: int) -> Plan:
        del version
        return self._plan


async def _records(broker: KafkaBroker, topic: str) -> list[Record]:
    return [record async for records in broker.reader().read(topic) for record in records]


@asynccontextmanager
async def _running(broker: KafkaBroker, prefix: str, name: str, metrics: MemoryMetrics) -> AsyncIterator[None]:
    processor = TOPOLOGY.processors[name]

    def make_worker(partition: TopicPartition, membership: Membership) -> StepWorker:
        return StepWorker(
            partition,
            processor=name,
            group=f"{prefix}.{name}",
            prefix=prefix,
            transactions=broker.transactions(f"{prefix}-{name}", membership),
            plans=_PassAll(prefix, processor),
            state=None,
            clock=SystemClock(),
            metrics=metrics,
        )

    host = PartitionHost(broker, group=f"{prefix}.{name}", topics=[f"{prefix}.{processor.input}"], make_worker=make_worker)
    running = asyncio.create_task(host.run())
    try:
        yield
    finally:
        host.stop()
        await running


async def _until(broker: KafkaBroker, topic: str, count: int) -> list[Record]:
    async with asyncio.timeout(30):
        while True:
            found = await _records(broker, topic)
            if len(found) >= count:
                return found
            await asyncio.sleep(0.1)


async def test_what_was_deleted_ahead_of_a_group_is_named_and_nothing_else_is_missing(kafka: Kafka, prefix: str) -> None:
    """Filter has read 10 of 20 events, 6 of the others are deleted under it: it takes the last 4, and the audit names 6, with a residue of 0."""
    broker, metrics = KafkaBroker(kafka.bootstrap), MemoryMetrics()
    await broker.admin().create([Declared(f"{prefix}.{name}", 1, {}) for name in ("raw", "validated", "routed", "ledger", "config", "jobs")])
    producer = broker.producer()
    await producer.start()
    values = [orjson.dumps(event(messageId=f"m-{number}")) for number in range(20)]
    async with _running(broker, prefix, "validate", metrics):
        async with _running(broker, prefix, "filter", metrics):
            await producer.send([Output(f"{prefix}.raw", b"k", value) for value in values[:10]])
            await _until(broker, f"{prefix}.routed", 10)
        await producer.send([Output(f"{prefix}.raw", b"k", value) for value in values[10:]])
        validated = await _until(broker, f"{prefix}.validated", 20)
    await producer.stop()
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.delete_records({KafkaTopicPartition(f"{prefix}.validated", 0): RecordsToDelete(before_offset=validated[16].offset)})
    await admin.close()
    async with _running(broker, prefix, "filter", metrics):
        routed = await _until(broker, f"{prefix}.routed", 14)
    found = as_data(await examine(broker, prefix, TOPOLOGY, Range(None, None)))
    assert [f"m-{number}" for number in (*range(10), *range(16, 20))] == [orjson.loads(one.value or b"")["messageId"] for one in routed]
    arrow = {one["arrow"]: (one["written"], one["taken"], one["under_way"], one["expired"], one["residue"]) for one in found["arrows"]}
    assert (20, 14, 0, 6, 0) == arrow["validate main → filter"]
    [finding] = found["findings"]
    lost = finding["end"] - finding["start"]  # a marker lies among the six
    assert ("filter", "expired", validated[16].offset, lost) == (finding["processor"], finding["kind"], finding["end"], finding["records"])
    assert lost == metrics.sums["headrace_records_expired_total", ("filter",)]
    assert [(20, 20, 0), (14 + lost, 14, lost)] == [(one["in"], one["passed"], one["expired"]) for one in found["processors"]]
    assert 0 == found["residue"]
