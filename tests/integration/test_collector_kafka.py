"""The collector in front of a real Kafka."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from pipeline.app.local.kafka import LocalKafka, free_port
from pipeline.model.ids import partition_of
from pipeline.model.topics import EVENT_PARTITIONS, Declared, declared_topics
from pipeline.runtime.brokers.kafka import KafkaBroker
from tests.conftest import Kafka
from tests.integration.collector_over_http import AUTHORIZATION, WORKSPACE, ask, collector, connection

pytestmark = pytest.mark.integration


def topics(prefix: str) -> list[Declared]:
    """Declare the topics that the collector writes to."""
    written = (f"{prefix}.raw", f"{prefix}.dead.ingest")
    return [topic for topic in declared_topics(prefix, destinations=(), dedup_processors=()) if topic.name in written]


async def test_every_answered_event_lies_in_its_partition(kafka: Kafka, prefix: str) -> None:
    """Good events lie under their key in raw, the bad one in dead letters, each once."""
    broker = KafkaBroker(kafka.bootstrap)
    await broker.admin().create(topics(prefix))
    producer = broker.producer()
    await producer.start()
    try:
        async with collector(producer, workspace=replace(WORKSPACE, name=prefix)) as running, connection(running.port) as kept:
            for number in range(20):
                items = [{"type": "page", "userId": f"user-{number}", "messageId": f"{number}-{index}"} for index in range(10)]
                body = orjson.dumps({"batch": [*items, {"type": "boo", "messageId": f"{number}-bad"}]})
                assert (await kept.ask("POST /v1/batch", AUTHORIZATION, body=body)).status == 200
    finally:
        await producer.stop()
    records = [record async for some in broker.reader().read(f"{prefix}.raw") for record in some]
    assert len(records) == len({orjson.loads(record.value or b"")["messageId"] for record in records}) == 200
    assert all(record.partition == partition_of(record.key or b"", EVENT_PARTITIONS) for record in records)
    dead = [record async for some in broker.reader().read(f"{prefix}.dead.ingest") for record in some]
    assert {b"unknown_type"} == {dict(record.headers)["dead_reason"] for record in dead}
    assert len(dead) == 20


async def test_a_broker_that_stops_and_comes_back(tmp_path: Path) -> None:
    """Without a broker no request gets a 2xx; with it again they do, without a restart."""
    port = free_port()
    local = LocalKafka(tmp_path, port)
    await local.start(lambda _line: None)
    broker = KafkaBroker(local.bootstrap)
    await broker.admin().create(topics(WORKSPACE.name))
    producer = broker.producer()
    await producer.start()
    body = orjson.dumps({"userId": "u", "messageId": "m"})
    try:
        async with collector(producer) as running:
            assert (await ask(running.port, "POST /v1/page", AUTHORIZATION, body=body)).status == 200
            await local.stop()
            answers = await asyncio.gather(*(ask(running.port, "POST /v1/page", AUTHORIZATION, body=body) for _ in range(5)))
            assert {503} == {answer.status for answer in answers}
            local = LocalKafka(tmp_path, port)
            await local.start(lambda _line: None)
            async with asyncio.timeout(60):
                while (await ask(running.port, "POST /v1/page", AUTHORIZATION, body=body)).status != 200:  # noqa: ASYNC110 (only its answers tell)
                    await asyncio.sleep(0.1)
    finally:
        await producer.stop()
        await local.stop()
