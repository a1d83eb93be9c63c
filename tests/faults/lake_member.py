"""One group member that stores `routed` in a lake, to be killed by the fault tests.

Run as `python -m tests.faults.lake_member BOOTSTRAP PREFIX LAKE_DIR [BROKEN]`; the last is the name of a broken build.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from pipeline.runtime.brokers.kafka import KafkaBroker
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.lake.worker import LakeLimits
from pipeline.runtime.lake.workers import lake_workers
from pipeline.runtime.metrics.memory import MemoryMetrics
from pipeline.runtime.partitions import PartitionHost
from tests.faults.broken import BROKEN


def main(bootstrap: str, prefix: str, root: Path) -> None:
    """Join the group and store until killed."""
    logging.basicConfig(level=logging.INFO)
    broker = KafkaBroker(bootstrap)
    make_worker = lake_workers(
        broker,
        storage="lake",
        prefix=prefix,
        root=root,
        clock=SystemClock(),
        metrics=MemoryMetrics(),
        limits=LakeLimits(seconds=0.2),
    )
    host = PartitionHost(broker, group=f"{prefix}.lake.lake", topics=[f"{prefix}.routed"], make_worker=make_worker)
    asyncio.run(host.run())


if __name__ == "__main__":
    for build in sys.argv[4:]:
        BROKEN[build]()
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
