"""One process that delivers to webhooks and runs their retries, to be killed and starved by the fault tests.

Run as `python -m tests.faults.deliver_member BOOTSTRAP PREFIX '{"destinations": {"crm": {"ordered": true}}}'`; `Told` says what more may be told.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from typing import Any, ClassVar, NotRequired, TypedDict

import orjson
import uvloop

from pipeline.destinations.webhook import DESTINATION as WEBHOOK
from pipeline.model.record import TopicPartition
from pipeline.model.topics import RETRY_DELAYS
from pipeline.ports.broker import Membership
from pipeline.runtime.brokers.kafka import KafkaBroker
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.delivery.lane import DeliveryLane, DeliverySettings, Patience
from pipeline.runtime.delivery.order import HeldTopic
from pipeline.runtime.delivery.worker import DeliverWorker
from pipeline.runtime.http.pooled_client import PooledClient
from pipeline.runtime.metrics.memory import MemoryMetrics
from pipeline.runtime.partitions import PartitionHost
from pipeline.runtime.retry import RetryWorker
from tests.faults.broken_delivery import BROKEN


class Told(TypedDict):
    """What a member is told.

    Attributes:
        destinations: For each one `deadline` in seconds, `secrets`, `missing`, and further settings as `DeliverySettings` has them.
        scale: What retry delays, and the pauses between probes, are multiplied by.
        circuit_after: Failures in a row that open the circuit.
        broken: A broken build.
        public: Addresses that may be reached, and no others; any may where it is not given.
        names: For each host name the addresses that the resolver gives for it, one after the other; the last one stays.
    """

    destinations: dict[str, dict[str, Any]]
    scale: float
    circuit_after: NotRequired[int]
    broken: NotRequired[str]
    public: NotRequired[list[str]]
    names: NotRequired[dict[str, list[str]]]


class ToldLoop(uvloop.Loop):
    """A loop whose resolver knows names that it was told."""

    names: ClassVar[dict[str, list[str]]] = {}

    async def getaddrinfo(self, host: Any, port: Any, **rest: Any) -> Any:  # noqa: ANN401 (the loop's own)
        """Resolve."""
        told = self.names.get(host, [host])
        return await super().getaddrinfo(told.pop(0) if len(told) > 1 else told[0], port, **rest)


def main(bootstrap: str, prefix: str, told: Told) -> None:
    """Join the groups and work until killed."""
    if told.get("broken"):
        BROKEN[told["broken"]]()
    ToldLoop.names = told.get("names", {})
    with asyncio.Runner(loop_factory=ToldLoop) as runner:
        runner.run(_work(KafkaBroker(bootstrap), prefix, told))


async def _work(broker: KafkaBroker, prefix: str, told: Told) -> None:
    clock, metrics, scale = SystemClock(), MemoryMetrics(), told["scale"]
    client = PooledClient(may_reach=told["public"].__contains__) if "public" in told else PooledClient(private_addresses=True)
    patience = Patience(
        probe_seconds=30 * scale, circuit_after=told.get("circuit_after", 20), circuit_seconds=5 * scale, circuit_most_seconds=300 * scale
    )
    hosts: list[PartitionHost] = []
    for name, declared in told["destinations"].items():
        kind = dataclasses.replace(WEBHOOK, timeout_seconds=declared.pop("deadline", 10.0))
        secrets, missing = declared.pop("secrets", {"shared_secret": "s3cret"}), frozenset(declared.pop("missing", ()))
        settings = DeliverySettings(name, kind, secrets, missing=missing, **declared)
        lane = DeliveryLane(settings, clock=clock, metrics=metrics, patience=patience)
        hosts.append(_deliver(broker, prefix, name, lane, client, scale))
    hosts.append(_retry(broker, prefix, set(told["destinations"]), scale))
    await asyncio.gather(*(host.run() for host in hosts))


def _deliver(broker: KafkaBroker, prefix: str, name: str, lane: DeliveryLane, client: PooledClient, scale: float) -> PartitionHost:
    live, group = f"{prefix}.requests.{name}", f"{prefix}.deliver.{name}"
    held = HeldTopic(broker, live)

    def make_worker(partition: TopicPartition, membership: Membership) -> DeliverWorker:
        return DeliverWorker(
            partition,
            lane=lane,
            transactions=broker.transactions(f"{group}-{partition.topic}-{partition.partition}", membership),
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

    def make_worker(partition: TopicPartition, membership: Membership) -> RetryWorker:
        return RetryWorker(
            partition,
            tier=partition.topic.rpartition(".")[2],
            transactions=broker.transactions(f"{group}-{partition.topic}-{partition.partition}", membership),
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
