"""One group member that runs the real step worker with dedup state and three output topics, to be killed by the fault tests.

Run as `python -m tests.faults.member BOOTSTRAP PREFIX STATE_DIR [--broken NAME] [--fail-at POINT NUMBER] [--slow-offsets SECONDS]
[--block SECONDS] [--clock KIND] [--watch]`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import signal
import sys
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.dedup import create_dedup
from pipeline.model.outcomes import Emit, Emits, Outcome
from pipeline.model.record import Message, TopicPartition
from pipeline.ports.broker import Membership
from pipeline.runtime.brokers.kafka import KafkaBroker
from pipeline.runtime.brokers.kafka_transactional_producer import TransactionalProducer
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.dedup_state import DedupState
from pipeline.runtime.judgement import Plan
from pipeline.runtime.metrics.memory import MemoryMetrics
from pipeline.runtime.partitions import PartitionHost
from pipeline.runtime.step_worker import StepWorker
from pipeline.runtime.stores.sorted_runs import SortedRunsStore
from pipeline.runtime.suspicion import Suspicion
from tests.faults.broken import BROKEN
from tests.faults.failpoints import FAILPOINTS

_log = logging.getLogger(__name__)

PARTITIONS = 4
WINDOW_MS = 30 * 60_000
"""Shorter than the jumps of the clock, so that a window that goes by it would be wrong."""
STORE_IDS = 200_000
"""More than any trial has, and so few that the store writes every 520 ids."""
WATCH_SECONDS = 0.5
HOUR_NS = 3_600 * 1_000_000_000


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


def _jump(kind: str) -> None:
    """Let the wall clock of this process lie: an hour off, or another hour at each look."""
    true, chance = time.time_ns, random.Random(1)  # noqa: S311 (a clock that lies need not be secret)
    lies: dict[str, Callable[[], int]] = {
        "ahead": lambda: true() + HOUR_NS,
        "behind": lambda: true() - HOUR_NS,
        "strobing": lambda: true() + chance.choice((-1, 1)) * HOUR_NS,
    }
    lie = lies[kind]
    time.time_ns = lie
    time.time = lambda: lie() / 1e9


def _slow_offsets(seconds: float) -> None:
    """Let time pass between the records of a transaction and its offsets."""
    send_offsets = TransactionalProducer.send_offsets

    async def slow(self: TransactionalProducer, positions: Mapping[TopicPartition, tuple[int, str]], member: Membership) -> None:
        await asyncio.sleep(seconds)
        await send_offsets(self, positions, member)

    TransactionalProducer.send_offsets = slow  # type: ignore[method-assign]  # as a slow network would


def _blocking_once(seconds: float) -> Callable[[Message], Outcome | None]:
    """Make a step that blocks the event loop once, at the first message after SIGUSR1."""
    asked = False

    def ask(_number: int, _frame: object) -> None:
        nonlocal asked
        asked = True

    def step(message: Message) -> Outcome | None:
        nonlocal asked
        if asked:
            asked = False
            time.sleep(seconds)
        return split(message)

    signal.signal(signal.SIGUSR1, ask)
    return step


async def _watch(host: PartitionHost) -> None:
    """Say whether it is ready, and why not, whenever that changes."""
    said = ""
    while True:
        await host.look(time.monotonic())
        standing = "READY" if host.ready else f"NOT READY: {host.trouble}"
        if standing != said:
            said = standing
            _log.info("%s", standing)
        await asyncio.sleep(WATCH_SECONDS)


def main(arguments: argparse.Namespace) -> None:
    """Join the group and work until killed."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    bootstrap, prefix, state = arguments.bootstrap, arguments.prefix, arguments.state
    if arguments.broken:
        BROKEN[arguments.broken]()
    if arguments.fail_at:
        FAILPOINTS[arguments.fail_at[0]](int(arguments.fail_at[1]))
    if arguments.slow_offsets:
        _slow_offsets(arguments.slow_offsets)
    if arguments.clock:
        _jump(arguments.clock)
    broker = KafkaBroker(bootstrap)
    step = _blocking_once(arguments.block) if arguments.block else split
    suspicions: defaultdict[TopicPartition, Suspicion] = defaultdict(Suspicion)

    def make_worker(partition: TopicPartition, membership: Membership) -> StepWorker:
        number = partition.partition
        changelog = TopicPartition(f"{prefix}.split.dedup.changelog", number)
        dedup = DedupState(
            changelog,
            processor="split",
            open_store=lambda: SortedRunsStore(state / str(number), STORE_IDS),
            broker=broker,
            clock=SystemClock(),
            metrics=MemoryMetrics(),
            window_ms=WINDOW_MS,
        )
        plan = Plan(
            prefix,
            1,
            (("dedup", create_dedup(dedup.seen)), ("split", step)),
            {"main": "main", "left": "left", "right": "right", "dead": "dead.{stage}"},
            trusted=True,
        )
        return StepWorker(
            partition,
            processor="split",
            group=f"{prefix}.split",
            prefix=prefix,
            transactions=broker.transactions(f"{prefix}.split-{partition.topic}-{number}", membership),
            plans=FixedPlan(plan),
            state=dedup,
            clock=SystemClock(),
            metrics=MemoryMetrics(),
            suspicion=suspicions[partition],
        )

    async def run() -> None:
        topic = f"{prefix}.input"
        host = PartitionHost(broker, group=f"{prefix}.split", topics=[topic], make_worker=make_worker, counts={topic: PARTITIONS})
        watching = asyncio.create_task(_watch(host)) if arguments.watch else None
        if arguments.broken != "deaf":
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, host.stop)
        await host.run()
        if watching is not None:
            watching.cancel()

    asyncio.run(run())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bootstrap")
    parser.add_argument("prefix")
    parser.add_argument("state", type=Path)
    parser.add_argument("--broken", choices=[*BROKEN, ""], default="")
    parser.add_argument("--fail-at", nargs=2, metavar=("POINT", "NUMBER"))
    parser.add_argument("--slow-offsets", type=float, default=0.0)
    parser.add_argument("--block", type=float, default=0.0)
    parser.add_argument("--watch", action="store_true")
    parser.add_argument("--clock", choices=("ahead", "behind", "strobing", ""), default="")
    if os.environ.get("HEADRACE_BROKEN"):  # so that a person can try a broken build on every test
        parser.set_defaults(broken=os.environ["HEADRACE_BROKEN"])
    main(parser.parse_args(sys.argv[1:]))
