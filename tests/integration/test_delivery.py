"""Requests reach a tool through a real Kafka: retried, with nothing lost, also when members are replaced on the way."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import orjson
import pytest

from pipeline.destinations.webhook import DESTINATION as WEBHOOK
from pipeline.model.record import Output, TopicPartition
from pipeline.model.topics import RETRY_DELAYS, Declared, declared_topics, topic_name
from pipeline.ports.broker import Membership
from pipeline.ports.http import Answer, Request
from pipeline.runtime.brokers.kafka import KafkaBroker
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.delivery.lane import DeliveryLane, DeliverySettings
from pipeline.runtime.delivery.worker import DeliverWorker
from pipeline.runtime.http.memory import MemoryHttpClient, an_answer
from pipeline.runtime.metrics.memory import MemoryMetrics
from pipeline.runtime.partitions import PartitionHost
from pipeline.runtime.retry import RetryWorker

pytestmark = pytest.mark.integration

REQUESTS = 2_000
SCALE = 0.02


def requests_of(prefix: str) -> list[Output]:
    """Make requests with 200 keys."""
    return [
        Output(
            topic_name(prefix, "requests.crm"),
            b"k-%d" % (number % 200),
            orjson.dumps({"id": f"r-{number}", "method": "POST", "url": "https://tool.example/", "headers": {}, "body": {"n": number}}),
            (("destination", b"crm"), ("message_id", b"m-%d" % number), ("source", b"web"), ("type", b"track")),
        )
        for number in range(REQUESTS)
    ]


class Tool:
    """Answers 503 to every tenth request, the first time that it sees it."""

    def __init__(self) -> None:
        self.accepted: Counter[int] = Counter()
        self.refused: set[int] = set()

    async def answer(self, request: Request) -> Answer:
        """Answer a request."""
        await asyncio.sleep(0.001)
        number = orjson.loads(request.body)["n"]
        if number % 10 == 3 and number not in self.refused:
            self.refused.add(number)
            return an_answer(503)
        self.accepted[number] += 1
        return an_answer()


async def _in_force(version: int) -> None:
    """Know every version of the configuration."""


def hosts(broker: KafkaBroker, prefix: str, client: MemoryHttpClient) -> list[PartitionHost]:
    """Make a member of the deliver group and one of the retry group."""
    clock, metrics = SystemClock(), MemoryMetrics()
    lane = DeliveryLane(DeliverySettings("crm", WEBHOOK, concurrency=16), clock=clock, metrics=metrics)
    deliver_group, retry_group = topic_name(prefix, "deliver.crm"), topic_name(prefix, "retry")

    def deliver(partition: TopicPartition, membership: Membership) -> DeliverWorker:
        return DeliverWorker(
            partition,
            lane=lane,
            transactions=broker.transactions(f"{deliver_group}-{partition.topic}-{partition.partition}", membership),
            client=client,
            clock=clock,
            metrics=metrics,
            processor="deliver.crm",
            group=deliver_group,
            prefix=prefix,
            time_scale=SCALE,
        )

    def retry(partition: TopicPartition, membership: Membership) -> RetryWorker:
        return RetryWorker(
            partition,
            tier=partition.topic.rpartition(".")[2],
            transactions=broker.transactions(f"{retry_group}-{partition.topic}-{partition.partition}", membership),
            clock=clock,
            metrics=metrics,
            processor="retry",
            group=retry_group,
            prefix=prefix,
            is_destination=lambda name: name == "crm",
            at_least=_in_force,
            time_scale=SCALE,
        )

    live = topic_name(prefix, "requests.crm")
    tiers = [topic_name(prefix, f"retry.{tier}") for tier in RETRY_DELAYS]
    return [
        PartitionHost(broker, group=deliver_group, topics=[live, f"{live}.retry"], make_worker=deliver),
        PartitionHost(broker, group=retry_group, topics=tiers, make_worker=retry),
    ]


async def until(holds: Callable[[], bool], seconds: float) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 (what it waits for is not of our making)
            await asyncio.sleep(0.02)


async def test_everything_arrives_also_when_members_are_replaced(kafka: object, prefix: str) -> None:
    """Of 2,000 requests each is accepted, the refused ones after a retry; members replaced in the middle repeat only what was in flight."""
    broker = KafkaBroker(kafka.bootstrap, "test")  # type: ignore[attr-defined]  # the fixture's type lives in conftest
    wanted: list[Declared] = list(declared_topics(prefix, destinations=["crm"], dedup_processors=[], partitions=2))
    await broker.admin().create(wanted)
    producer = broker.producer()
    await producer.start()
    await producer.send(requests_of(prefix))
    await producer.stop()

    tool = Tool()
    client = MemoryHttpClient(tool.answer)
    first = [asyncio.create_task(host.run()) for host in hosts(broker, prefix, client)]
    await until(lambda: len(tool.accepted) > REQUESTS // 3, 60)
    for task in first:
        task.cancel()
    for task in first:
        with suppress(asyncio.CancelledError):
            await task
    committed = await delivered_ids(broker, prefix)

    second = hosts(broker, prefix, client)
    tasks = [asyncio.create_task(host.run()) for host in second]
    await until(lambda: len(tool.accepted) == REQUESTS, 90)
    for host in second:
        host.stop()
    await asyncio.gather(*tasks)

    assert set(range(REQUESTS)) == set(tool.accepted)
    assert REQUESTS // 10 == len(tool.refused)
    # Sent again at most: what was under way, and what no transaction had committed, however long one took.
    assert not committed.keys() & {b"m-%d" % number for number, count in tool.accepted.items() if count > 1}
    assert {b"m-%d" % number: 1 for number in range(REQUESTS)} == await delivered_ids(broker, prefix)


async def delivered_ids(broker: KafkaBroker, prefix: str) -> Counter[bytes]:
    """Count the deliveries that are committed, by message id."""
    delivered: Counter[bytes] = Counter()
    async for records in broker.reader().read(topic_name(prefix, "deliveries")):
        delivered.update(record.key for record in records if record.key and orjson.loads(record.value or b"{}")["outcome"] == "delivered")
    return delivered
