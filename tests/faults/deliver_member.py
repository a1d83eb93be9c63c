"""One process that delivers to webhooks and runs their retries, to be killed and starved by the fault tests.

Run as `python -m tests.faults.deliver_member BOOTSTRAP PREFIX '{"scale": 0.01, "destinations": {"crm": {"ordered": true}}, "broken": ""}'`.
`broken` names a broken build: `unordered`, `one_lane`, `no_deadline`, `no_limit`, `new_ids`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import uuid
from typing import Any

import orjson
import uvloop

import pipeline.runtime.delivery as delivery_module
import pipeline.runtime.http.connection as connection_module
from pipeline.deliver.sending import Item, read_item
from pipeline.destinations.webhook import DESTINATION as WEBHOOK
from pipeline.model.record import TopicPartition
from pipeline.model.topics import RETRY_DELAYS
from pipeline.runtime.brokers.kafka import KafkaBroker
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.delivery import DeliverWorker
from pipeline.runtime.delivery_lane import DeliveryLane, DeliverySettings, Patience
from pipeline.runtime.delivery_order import HeldTopic
from pipeline.runtime.http.pooled_client import PooledClient
from pipeline.runtime.metrics.memory import MemoryMetrics
from pipeline.runtime.partitions import PartitionHost
from pipeline.runtime.retry import RetryWorker


def main(bootstrap: str, prefix: str, told: dict[str, Any]) -> None:
    """Join the groups and work until killed."""
    broken = told.get("broken", "")
    if broken == "no_limit":
        connection_module.BODY_BYTES = 1 << 40  # type: ignore[misc]  # a broken build on purpose
        connection_module.HEAD_BYTES = 1 << 40  # type: ignore[misc]  # the same
    if broken == "new_ids":
        vars(delivery_module)["read_item"] = _with_a_new_id
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_work(KafkaBroker(bootstrap), prefix, told, broken))


def _with_a_new_id(value: bytes) -> Item:
    return read_item(value)._replace(id=uuid.uuid4().hex)


async def _work(broker: KafkaBroker, prefix: str, told: dict[str, Any], broken: str) -> None:
    clock, metrics, client = SystemClock(), MemoryMetrics(), PooledClient(private_addresses=True)
    scale, destinations = told["scale"], told["destinations"]
    patience = Patience(probe_seconds=0.5, circuit_after=told.get("circuit_after", 20), circuit_seconds=0.25, circuit_most_seconds=0.5)
    hosts: list[PartitionHost] = []
    shared: DeliveryLane | None = None

    for name, declared in destinations.items():
        deadline = declared.pop("deadline", 10.0)
        seconds = 3600.0 if broken == "no_deadline" else deadline
        kind = dataclasses.replace(WEBHOOK, timeout_seconds=seconds)
        secrets = {"shared_secret": "s3cret"}
        settings = DeliverySettings(name, kind, secrets, **{**declared, **({"ordered": False} if broken == "unordered" else {})})
        lane = DeliveryLane(settings, clock=clock, metrics=metrics, patience=patience)
        if broken == "one_lane":
            lane = shared = shared or DeliveryLane(dataclasses.replace(settings, concurrency=16), clock=clock, metrics=metrics, patience=patience)
        hosts.append(_deliver(broker, prefix, name, lane, client, scale))
    hosts.append(_retry(broker, prefix, set(destinations), scale))
    await asyncio.gather(*(host.run() for host in hosts))


def _deliver(broker: KafkaBroker, prefix: str, name: str, lane: DeliveryLane, client: PooledClient, scale: float) -> PartitionHost:
    live, group = f"{prefix}.requests.{name}", f"{prefix}.deliver.{name}"
    held = HeldTopic(broker, live)

    def make_worker(partition: TopicPartition) -> DeliverWorker:
        return DeliverWorker(
            partition,
            lane=lane,
            transactions=broker.transactions(f"{group}-{partition.topic}-{partition.partition}"),
            client=client,
            clock=SystemClock(),
            metrics=MemoryMetrics(),
            processor=f"deliver.{name}",
            group=group,
            prefix=prefix,
            held=held if partition.topic == live else None,
            time_scale=scale,
        )

    return PartitionHost(broker, group=group, topics=[live, f"{live}.retry"], make_worker=make_worker, inbox_bytes=512 * 1024)


def _retry(broker: KafkaBroker, prefix: str, destinations: set[str], scale: float) -> PartitionHost:
    group = f"{prefix}.retry"

    async def in_force(_version: int) -> None:
        pass

    def make_worker(partition: TopicPartition) -> RetryWorker:
        return RetryWorker(
            partition,
            tier=partition.topic.rpartition(".")[2],
            transactions=broker.transactions(f"{group}-{partition.topic}-{partition.partition}"),
            clock=SystemClock(),
            metrics=MemoryMetrics(),
            processor="retry",
            group=group,
            prefix=prefix,
            is_destination=destinations.__contains__,
            at_least=in_force,
            time_scale=scale,
        )

    return PartitionHost(broker, group=group, topics=[f"{prefix}.retry.{tier}" for tier in RETRY_DELAYS], make_worker=make_worker)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], orjson.loads(sys.argv[3]))
