"""What one transaction costs: wall time, CPU of our process and of the broker, for each of several input partitions at work at once.

Run as `python -m benchmarks.transactions [--json]`; it starts a broker of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json  # a report for a person, indented
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import uvloop

from pipeline.app.local.kafka import LocalKafka, free_port
from pipeline.model.record import Output, TopicPartition
from pipeline.model.topics import Declared
from pipeline.ports.broker import Position
from pipeline.runtime.brokers.kafka import KafkaBroker

PARTITIONS = 4
RECORDS = 100
TOPICS = ("main", "left", "right")


async def measure(transactions: int) -> dict[str, Any]:
    """Commit transactions on all partitions at once, each with records for three topics, a ledger record and a position."""
    with tempfile.TemporaryDirectory() as home:
        kafka = LocalKafka(Path(home), free_port())
        await kafka.start(lambda _text: None)
        try:
            broker = KafkaBroker(kafka.bootstrap)
            log = {"message.timestamp.type": "LogAppendTime"}
            await broker.admin().create([Declared(name, PARTITIONS, log) for name in (*TOPICS, "ledger", "input")])
            await _partition(broker, 0, 20)  # warm
            java, ours = psutil.Process(kafka.pid), psutil.Process()
            before_java, before_ours, began = _cpu(java), _cpu(ours), time.perf_counter()
            walls = await asyncio.gather(*(_partition(broker, number, transactions) for number in range(PARTITIONS)))
            elapsed = time.perf_counter() - began
            count = transactions * PARTITIONS
            milliseconds = sorted(wall * 1000 for one in walls for wall in one)
            return {
                "transactions": count,
                "partitions": PARTITIONS,
                "records_each": RECORDS,
                "topics_each": len(TOPICS) + 1,
                "transactions_per_second": round(count / elapsed, 1),
                "wall_ms_p50": round(statistics.median(milliseconds), 2),
                "wall_ms_p99": round(milliseconds[int(len(milliseconds) * 0.99)], 2),
                "cpu_ms_ours": round((_cpu(ours) - before_ours) * 1000 / count, 3),
                "cpu_ms_broker": round((_cpu(java) - before_java) * 1000 / count, 3),
            }
        finally:
            await kafka.stop()


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def _partition(broker: KafkaBroker, number: int, transactions: int) -> list[float]:
    writer = broker.transactions(f"benchmark-{number}")
    await writer.start()
    value = b'{"type":"track"}' * 60
    outputs = [Output(TOPICS[index % 3], b"key", value, (), number) for index in range(RECORDS)]
    outputs.append(Output("ledger", b"benchmark", b"{}", (), number))
    walls = []
    for index in range(transactions):
        began = time.perf_counter()
        await writer.commit(outputs, {TopicPartition("input", number): Position(index + 1)}, "benchmark")
        walls.append(time.perf_counter() - began)
    await writer.stop()
    return walls


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transactions", type=int, default=150, help="transactions for each partition")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the processes do
        result = runner.run(measure(arguments.transactions))
    print(json.dumps(result) if arguments.json else json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
