"""One group member that runs the real step worker with dedup state and three output topics, to be killed by the fault tests.

Run as `python -m tests.faults.member BOOTSTRAP PREFIX STATE_DIR`.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import zlib
from pathlib import Path

from pipeline.dedup import create_dedup
from pipeline.model.outcomes import Emit, Emits, Outcome
from pipeline.model.record import Message, TopicPartition
from pipeline.runtime.brokers.kafka import KafkaBroker
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.dedup_state import DedupState
from pipeline.runtime.judgement import Plan
from pipeline.runtime.metrics.memory import MemoryMetrics
from pipeline.runtime.partitions import PartitionHost
from pipeline.runtime.step_worker import StepWorker
from pipeline.runtime.stores.rocksdb import open_rocksdb_store


def split(message: Message) -> Outcome | None:
    """Send two thirds of the messages to the lanes `left` and `right`, the rest to main."""
    lane = ("", "left", "right")[zlib.crc32(message.body["messageId"].encode()) % 3]
    if not lane:
        return None
    return Emits((Emit(lane, message.key, message.record.value or b""),))


class FixedPlan:
    """A plan that never changes."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def current(self) -> Plan:
        """Give the plan."""
        return self._plan

    async def at_least(self, version: int) -> Plan:
        """Give the plan, whatever the version."""
        del version
        return self._plan


def main(bootstrap: str, prefix: str, state: Path) -> None:
    """Join the group and work until killed."""
    broker = KafkaBroker(bootstrap)
    clock = SystemClock()
    metrics = MemoryMetrics()

    def make_worker(partition: TopicPartition) -> StepWorker:
        number = partition.partition
        changelog = TopicPartition(f"{prefix}.split.dedup.changelog", number)
        dedup = DedupState(changelog, open_store=lambda: open_rocksdb_store(state / str(number)), reader=broker.reader())
        plan = Plan(
            prefix,
            1,
            (("dedup", create_dedup(dedup.seen)), ("split", split)),
            {"main": "main", "left": "left", "right": "right", "dead": "dead.{stage}"},
            trusted=True,
        )
        return StepWorker(
            partition,
            processor="split",
            group=f"{prefix}.split",
            prefix=prefix,
            transactions=broker.transactions(f"{prefix}.split-{partition.topic}-{number}"),
            plans=FixedPlan(plan),
            state=dedup,
            clock=clock,
            metrics=metrics,
        )

    async def run() -> None:
        host = PartitionHost(broker, group=f"{prefix}.split", topics=[f"{prefix}.input"], make_worker=make_worker)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, host.stop)
        await host.run()

    asyncio.run(run())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
