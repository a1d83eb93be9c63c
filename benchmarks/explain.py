"""How long `headrace explain` takes over 10 million events.

Run: `python -m benchmarks.explain [--events 10000000] [--json]`. It starts a Kafka of its own and fills the topics of the default topology as if the
events had come at 5,000 a second (no processor runs; the ledger says what transactions of 1,000 events would have said). Then it explains the first
event, the last, some in between and one that does not exist, each twice. Dedup state answers as the running processes do. Budget: 2 s each.

What is not asked for is written again and again as the same packed batches, with times of their own: that costs a minute and about 600 MB of disk,
which are given back, and makes no difference to whoever reads some of them.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Final
from unittest.mock import patch

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.util import calc_crc32c

from benchmarks.cluster import cluster, replace_retention, rounded
from pipeline.app.cli.config import publish
from pipeline.app.declared import read_topology
from pipeline.app.explain import Explainer, read_versions, service
from pipeline.app.explain.looking import Looking
from pipeline.app.explain.service import Seen
from pipeline.app.processes.options import call_schemas
from pipeline.assembly import Judges
from pipeline.assembly.recompute import Rerun
from pipeline.dedup import digest
from pipeline.model.ids import partition_of
from pipeline.model.ledger import Row, Tally, ledger_key, ledger_value
from pipeline.model.record import Output, Record
from pipeline.model.topics import declared_topics
from pipeline.model.workspace import Destination, Source, Workspace
from pipeline.ports.broker import Broker
from pipeline.runtime.clock import SystemClock
from pipeline.translate import idempotency_id

PARTITIONS: Final = 4
BATCH: Final = 1_000
RATE: Final = 5_000
"""Events a second that the times of the records say."""
ROUNDS: Final = 8
"""Batches of each partition that are under way at once."""
ROOM_BYTES: Final = 150
"""Disk that an event may take, in all topics."""
ID: Final = "m-%010d"
FILLER: Final = 9_000_000_000
"""Ids from here on are nobody's."""
WORKSPACE: Final = Workspace(
    "bench",
    sources={"web": Source("web")},
    destinations={"crm": Destination("crm", "webhook", ("web",), settings={"url": "http://127.0.0.1:1/hook"})},
)
KEYS: Final = [next(b"k%d" % n for n in range(1000) if partition_of(b"k%d" % n, PARTITIONS) == number) for number in range(PARTITIONS)]
GROUPS: Final = {"validate": "raw", "enrich": "validated", "filter": "enriched", "translate.crm": "routed", "deliver.crm": "requests.crm"}
"""Topic that each group of the ledger reads."""
_ZSTD: Final = 4


class Packed:
    """A batch that was packed before, under another time; to aiokafka it is a builder that is closed."""

    def __init__(self, outputs: Sequence[Output]) -> None:
        builder = BatchBuilder(1 << 30, _ZSTD)
        for output in outputs:
            builder.append(timestamp=0, key=output.key, value=output.value, headers=list(output.headers))
        self._count = len(outputs)
        self._bytes = bytearray(builder._build())

    def at(self, at_ms: int) -> Packed:
        """Give the same batch under a time: layout of a batch, KIP-98."""
        other = object.__new__(Packed)
        other._count, other._bytes = self._count, bytearray(self._bytes)
        struct.pack_into(">qq", other._bytes, 27, at_ms, at_ms)
        struct.pack_into(">I", other._bytes, 17, calc_crc32c(other._bytes[21:]))
        return other

    def _build(self) -> bytearray:
        return self._bytes

    def close(self) -> None:
        """It is."""

    def closed(self) -> bool:
        """It is."""
        return True

    def size(self) -> int:
        """Bytes."""
        return len(self._bytes)

    def record_count(self) -> int:
        """Records."""
        return self._count


class Generator:
    """Makes batches of events for every topic, as the processors would have.

    Args:
        again: Runs the steps.
        received_ms: When the collector took them.
    """

    def __init__(self, again: Rerun, received_ms: int) -> None:
        self._again = again
        self._received_ms = received_ms
        self._templates = [self._template(number) for number in range(PARTITIONS)]
        self._fillers = [self.events(number, [FILLER + one for one in range(BATCH)], 0) for number in range(PARTITIONS)]

    def _template(self, partition: int) -> dict[str, Output]:
        """Let one event through all steps; the others differ in their id."""
        body = {"type": "track", "event": "Order Completed", "messageId": ID % 0, "anonymousId": KEYS[partition].decode(), "properties": {"total": 5}}
        headers = (("source", b"web"), ("received_at", b"%d" % self._received_ms))
        made = {"raw": Output("bench.raw", KEYS[partition], orjson.dumps(body), headers, partition)}
        record = Record("bench.raw", partition, 0, self._received_ms, KEYS[partition], made["raw"].value, headers)
        for step, topic in (("validate", "validated"), ("enrich", "enriched"), ("filter", "routed"), ("translate", "requests.crm")):
            output = self._again.judge(step, record, 1, instance="crm" if step == "translate" else "").outputs[-1]
            made[topic] = output._replace(partition=partition)
            record = Record(output.topic, partition, 0, self._received_ms, output.key, output.value, output.headers)
        return made

    def events(self, partition: int, numbers: Sequence[int], first: int) -> dict[str, Packed]:
        """Make the batch of each topic.

        Args:
            partition: Their partition.
            numbers: Numbers of the events.
            first: Offset of the first of them.

        Returns:
            The batches by topic.
        """
        template, zero = self._templates[partition], (ID % 0).encode()
        ids = [(ID % number).encode() for number in numbers]
        made = {
            topic: Packed([template[topic]._replace(value=(template[topic].value or b"").replace(zero, each)) for each in ids])
            for topic in ("raw", "validated", "enriched", "routed")
        }
        return {**made, "requests.crm": Packed(self._requests(partition, ids, first)), "deliveries": Packed(self._attempts(ids))}

    def _requests(self, partition: int, ids: Sequence[bytes], first: int) -> list[Output]:
        one = self._templates[partition]["requests.crm"]
        own = idempotency_id("web", ID % 0, "send").encode()
        outputs = []
        for number, each in enumerate(ids):
            value = (one.value or b"").replace((ID % 0).encode(), each).replace(own, idempotency_id("web", each.decode(), "send").encode())
            changed = {"message_id": each, "event_origin": b"bench.routed/%d/%d" % (partition, first + number)}
            outputs.append(one._replace(value=value, headers=tuple((name, changed.get(name, text)) for name, text in one.headers)))
        return outputs

    def _attempts(self, ids: Sequence[bytes]) -> list[Output]:
        about = {"destination": "crm", "mapping": "send", "source": "web", "event": "Order Completed", "type": "track", "attempt": 1, "status": 200}
        about |= {"error": "", "outcome": "delivered", "reason": "", "latency_ms": 3.0, "at": self._received_ms, "answer": "", "event_origin": ""}
        rest = orjson.dumps(about)[1:]
        return [Output("bench.deliveries", each, b'{"message_id":"%s",%s' % (each, rest)) for each in ids]

    def filler(self, partition: int) -> dict[str, Packed]:
        """Give batches of events that nobody asks for."""
        return self._fillers[partition]

    def ledger(self, first: int, at_ms: int) -> Packed:
        """Make what the ledger says of the batches of all partitions that begin at an offset."""
        tally = Tally()
        tally.rows[Row("web", "track", "Order Completed", "passed")] = BATCH
        return Packed(
            [
                Output(
                    "bench.ledger",
                    ledger_key(group, topic, partition),
                    ledger_value(tally, processor=group, topic=topic, partition=partition, start=first, end=first + BATCH, at_ms=at_ms),
                )
                for partition in range(PARTITIONS)
                for group, topic in GROUPS.items()
            ]
        )


async def fill(bootstrap: str, generator: Generator, each: int, wanted: frozenset[int], until_ms: int) -> None:
    """Write events into every topic.

    Args:
        bootstrap: The broker.
        generator: Makes them.
        each: Events of a partition, whole batches.
        wanted: Numbers of the events that are asked for: offset times partitions, and the partition.
        until_ms: When the last of them came.
    """
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", max_request_size=1 << 30, max_batch_size=1 << 30)
    await producer.start()
    batches_of_wanted = {(number % PARTITIONS, number // PARTITIONS // BATCH * BATCH) for number in wanted}
    sent: list[asyncio.Future[Any]] = []
    for first in range(0, each, BATCH):
        at_ms = until_ms - (each - first) * PARTITIONS * 1000 // RATE
        for partition in range(PARTITIONS):
            made: Mapping[str, Packed] = generator.filler(partition)
            if (partition, first) in batches_of_wanted:
                made = generator.events(partition, range(first * PARTITIONS + partition, (first + BATCH) * PARTITIONS + partition, PARTITIONS), first)
            for topic, packed in made.items():
                sent.append(await producer.send_batch(packed.at(at_ms), f"bench.{topic}", partition=partition))
        sent.append(await producer.send_batch(generator.ledger(first, at_ms).at(at_ms), "bench.ledger", partition=0))
        if len(sent) > ROUNDS * PARTITIONS * 6:
            await asyncio.gather(*sent)
            sent.clear()
        if first % 250_000 == 0:
            print(f"  {first * PARTITIONS:,} events …", file=sys.stderr, flush=True)
    await asyncio.gather(*sent)
    await producer.stop()


async def _explained(broker: Broker, judges: Judges, numbers: Sequence[int]) -> list[dict[str, Any]]:
    clock, reads = SystemClock(), [0]
    places = {digest("web", ID % number): number for number in numbers}

    class Counting(Looking):
        async def stop(self) -> None:
            reads[0] = self.records_read
            await super().stop()

    async def ask(name: bytes) -> tuple[list[Seen], int]:
        number = places.get(name)
        return ([] if number is None else [Seen(number % PARTITIONS, number // PARTITIONS, clock.now_ms())]), 1

    found = []
    with patch.object(service, "Looking", Counting):
        explainer = Explainer(broker, "bench", judges, clock=clock, ask_dedup=ask, lake_root=Path)
        for wanted in [*(ID % number for number in numbers), "nobody"] * 2:
            start, cpu = time.monotonic(), time.process_time()
            one = await explainer.explain(wanted)
            took, used = time.monotonic() - start, time.process_time() - cpu
            said = {"event": wanted, "seconds": took, "cpu_seconds": used, "records_read": reads[0], "same": one.same, "said": str(one.sentence)}
            found.append(rounded(said))
    return found


async def measure(events: int) -> dict[str, Any]:
    """Fill the topics and explain.

    Args:
        events: How many events, in whole batches of all partitions.

    Returns:
        How long it took to fill, and each explanation's time, CPU time and what was read for it.

    Raises:
        RuntimeError: The disk has no room, or an explanation does not say what became of an event.
    """
    if shutil.disk_usage(gettempdir()).free < events * ROOM_BYTES:
        raise RuntimeError(f"{events * ROOM_BYTES / 1e9:.0f} GB of disk are needed in {gettempdir()}")
    each = events // PARTITIONS // BATCH * BATCH
    total = each * PARTITIONS
    clock, topology = SystemClock(), read_topology("default")
    async with cluster() as bare:
        topics = declared_topics("bench", destinations=["crm"], dedup_processors=["validate"], partitions=PARTITIONS)
        created = [topic._replace(settings={**topic.settings, "message.timestamp.type": "CreateTime"}) for topic in replace_retention(topics)]
        await bare.broker.admin().create(created)
        await publish(bare.broker, WORKSPACE, topology, clock)
        versions = await read_versions(bare.broker, "bench")
        judges = Judges(topology, call_schemas(), str)
        numbers = (0, total // 3, total // 2, total - 1)
        began = time.monotonic()
        until_ms = clock.now_ms()
        await fill(bare.broker.bootstrap, Generator(Rerun(judges, versions), until_ms), each, frozenset(numbers), until_ms)
        filled = time.monotonic() - began
        disk = sum(one.stat().st_size for one in bare.home.rglob("*.log"))
        found = await _explained(bare.broker, judges, numbers)
    wrong = [one for one in found if not one["same"] or one["said"] != ("nothing is known of it" if one["event"] == "nobody" else "crm delivered")]
    if wrong:
        raise RuntimeError(f"an explanation does not say what is there: {wrong}")
    return rounded({"events": total, "fill_seconds": filled, "disk_mb": disk / 1e6, "explained": found})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = asyncio.run(measure(arguments.events))
    if arguments.json:
        print(orjson.dumps(found).decode())
        return
    print(f"{found['events']:,} events, filled in {found['fill_seconds']} s, {found['disk_mb']} MB")
    for one in found["explained"]:
        print(", ".join(f"{name} {value}" for name, value in one.items()))


if __name__ == "__main__":
    main()
