"""CPU time that a hop pays for an event beside its judgement, in memory: a batch is read and taken from the inbox, and written; no Kafka.

Run: `python -m benchmarks.wire [--json]`. Batches are those that a transaction writes: zstd, about 1 MiB, of the demo shop's events.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import TopicPartition as KafkaTopicPartition

from benchmarks.hot_path import shop_records
from pipeline.model.record import Output, Record
from pipeline.runtime.brokers.kafka_batches import BATCH_BYTES, Placement, batches_of
from pipeline.runtime.brokers.kafka_records import DirectRecords, TolerantRecords, in_chunks
from pipeline.runtime.inbox import Inbox
from pipeline.runtime.step_worker import SLICE_BYTES

PARTITION: Final = KafkaTopicPartition("demo.raw", 0)
PARTITIONS: Final = 4
_ZSTD: Final = 4
_READ_COMMITTED: Final = 1


class _Producer:
    async def partitions_for(self, _topic: str) -> set[int]:
        return set(range(PARTITIONS))


def _builders(outputs: Sequence[Output]) -> list[Any]:
    return list(batches_of(lambda: BatchBuilder(BATCH_BYTES, _ZSTD, is_transactional=1), outputs))


def _fetched(outputs: Sequence[Output]) -> bytes:
    """Give the batches of one partition as a broker would, with offsets."""
    batches = [bytearray(builder._build()) for builder in _builders(outputs)]
    base = 0
    for batch in batches:
        struct.pack_into(">q", batch, 0, base)
        (count,) = struct.unpack_from(">i", batch, 57)
        base += count
    return b"".join(batches)


def _read(data: bytes) -> list[list[Record]]:
    records = DirectRecords(PARTITION, TolerantRecords(data), [], 0, in_chunks, None, True, _READ_COMMITTED)  # noqa: FBT003 (not our signature)
    return [chunk.records for chunk in records]


async def _taken(chunks: Sequence[Sequence[Record]]) -> None:
    inbox = Inbox(1 << 30, lambda: None)
    for chunk in chunks:
        inbox.put(chunk)
    while len(inbox):
        await inbox.take(SLICE_BYTES, 0)


def measure(events: int, rounds: int) -> dict[str, float]:
    """Measure each part.

    Args:
        events: How many events a round carries.
        rounds: How many rounds; the least of each part counts.

    Returns:
        CPU µs an event.
    """
    records = shop_records(events, PARTITIONS)
    more = (("source", b"web"), ("received_at", b"1700000000000"), ("config", b"1"))
    outputs = [Output("demo.validated", record.key, record.value, more) for record in records]
    data = _fetched(outputs)
    chunks = _read(data)
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)  # as the processes do
    built: list[Any] = []

    def place() -> None:
        asyncio.run(Placement().placed(_Producer(), outputs))

    def write() -> None:
        built[:] = _builders(outputs)

    def pack() -> None:
        for builder in built:
            builder._build()

    parts: dict[str, Callable[[], object]] = {
        "unpack and read": lambda: _read(data),
        "inbox": lambda: asyncio.run(_taken(chunks)),
        "place": place,
        "write": write,
        "pack": pack,
    }
    least = dict.fromkeys(parts, float("inf"))
    for _ in range(rounds):
        for name, part in parts.items():
            start = time.process_time()
            part()
            least[name] = min(least[name], time.process_time() - start)
    costs = {name: seconds / len(records) * 1e6 for name, seconds in least.items()}
    return {**costs, "together": sum(costs.values())}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=8_000, help="events of a round")
    parser.add_argument("--rounds", type=int, default=15, help="rounds, of which the least counts")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    costs = measure(arguments.events, arguments.rounds)
    if arguments.json:
        print(orjson.dumps({"benchmark": "wire", "cpu_us": {name: round(cost, 2) for name, cost in costs.items()}}).decode())
        return
    for name, cost in costs.items():
        print(f"{name:15} {cost:6.2f} CPU µs an event")


if __name__ == "__main__":
    main()
