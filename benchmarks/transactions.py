"""What a commit costs: wall time, CPU of our process and of the broker, for the partitions of one member at once, and how many share a transaction.

Run as `python -m benchmarks.transactions [--json]`; it starts a broker of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json  # a report for a person, indented
import statistics
import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import psutil
import uvloop

from pipeline.app.local.kafka import LocalKafka, free_port
from pipeline.model.record import Output, TopicPartition
from pipeline.model.topics import Declared
from pipeline.ports.broker import Consumer, Membership, Position
from pipeline.runtime.brokers.kafka import KafkaBroker

PARTITIONS = 4
RECORDS = 100
TOPICS = ("main", "left", "right")


async def measure(commits: int) -> dict[str, Any]:
    """Commit on all partitions at once, each with records for three topics, a ledger record and a position."""
    with tempfile.TemporaryDirectory() as home:
        kafka = LocalKafka(Path(home), free_port())
        await kafka.start(lambda _text: None)
        try:
            broker = KafkaBroker(kafka.bootstrap)
            log = {"message.timestamp.type": "LogAppendTime"}
            await broker.admin().create([Declared(name, PARTITIONS, log) for name in (*TOPICS, "ledger", "input")])
            consumer = broker.consumer("benchmark")
            membership = await _joined(consumer)
            await asyncio.gather(*(_partition(broker, membership, number, 20) for number in range(PARTITIONS)))  # warm
            java, ours = psutil.Process(kafka.pid), psutil.Process()
            before_java, before_ours, began = _cpu(java), _cpu(ours), time.perf_counter()
            done = await asyncio.gather(*(_partition(broker, membership, number, commits) for number in range(PARTITIONS)))
            elapsed = time.perf_counter() - began
            count = commits * PARTITIONS
            milliseconds = sorted(wall * 1000 for one in done for wall, _ in one)
            our_cpu, broker_cpu = _cpu(ours) - before_ours, _cpu(java) - before_java
            await consumer.stop()
            return {
                "commits": count,
                "transactions": sum(not joined for one in done for _, joined in one),
                "partitions": PARTITIONS,
                "records_each": RECORDS,
                "topics_each": len(TOPICS) + 1,
                "commits_per_second": round(count / elapsed, 1),
                "wall_ms_p50": round(statistics.median(milliseconds), 2),
                "wall_ms_p99": round(milliseconds[int(len(milliseconds) * 0.99)], 2),
                "cpu_ms_ours": round(our_cpu * 1000 / count, 3),
                "cpu_ms_broker": round(broker_cpu * 1000 / count, 3),
            }
        finally:
            await kafka.stop()


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def _joined(consumer: Consumer) -> Membership:
    """Join a group, and give the membership that its partitions commit under."""
    joined: asyncio.Future[Membership] = asyncio.get_running_loop().create_future()

    async def assigned(_partitions: Collection[TopicPartition]) -> None:
        joined.set_result(consumer.membership())

    async def revoked(_partitions: Collection[TopicPartition]) -> None:
        pass

    await consumer.start(["input"], assigned, revoked)
    return await joined


async def _partition(broker: KafkaBroker, membership: Membership, number: int, commits: int) -> list[tuple[float, bool]]:
    """Commit again and again; gives how long each took, and whether it went in the transaction of another."""
    writer = broker.transactions(f"benchmark-{number}", membership)
    await writer.start()
    value = b'{"type":"track"}' * 60
    outputs = [Output(TOPICS[index % 3], b"key", value, (), number) for index in range(RECORDS)]
    outputs.append(Output("ledger", b"benchmark", b"{}", (), number))
    done = []
    for index in range(commits):
        began = time.perf_counter()
        committed = await writer.commit(outputs, {TopicPartition("input", number): Position(index + 1)}, "benchmark")
        done.append((time.perf_counter() - began, committed.joined))
    await writer.stop()
    return done


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transactions", type=int, default=150, help="commits of each partition")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the processes do
        result = runner.run(measure(arguments.transactions))
    print(json.dumps(result) if arguments.json else json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
