"""Makes the workers of a lake, one for each partition that its group is given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.model.record import TopicPartition
from pipeline.ports.broker import Broker, Membership
from pipeline.ports.clock import Clock
from pipeline.ports.metrics import Metrics
from pipeline.runtime.lake.held import Held
from pipeline.runtime.lake.worker import LakeLimits, LakeWorker


def lake_workers(
    broker: Broker, *, storage: str, prefix: str, root: Path, clock: Clock, metrics: Metrics, limits: LakeLimits | None = None
) -> Callable[[TopicPartition, Membership | None], LakeWorker]:
    """Give the factory of a lake's workers, for a `PartitionHost` of the group `<prefix>.lake.<storage>` over `<prefix>.routed`.

    Args:
        broker: The cluster.
        storage: Id of the storage.
        prefix: The workspace's name.
        root: The lake's folder; it is made when the first rows come.
        clock: Time.
        metrics: Counts.
        limits: When rows are written.

    Returns:
        A function that makes the worker of a partition.
    """
    doubts: dict[TopicPartition, int] = {}
    held = Held()

    def make(partition: TopicPartition, membership: Membership | None) -> LakeWorker:
        topic = partition.topic.removeprefix(f"{prefix}.")
        transactions = broker.transactions(f"{prefix}-lake.{storage}-{topic}-{partition.partition}", membership)
        return LakeWorker(
            partition,
            storage=storage,
            prefix=prefix,
            root=root,
            transactions=transactions,
            clock=clock,
            metrics=metrics,
            limits=limits,
            topic_id=broker.pinned(f"{prefix}.lake.{storage}", partition.topic),
            doubts=doubts,
            held=held,
        )

    return make
