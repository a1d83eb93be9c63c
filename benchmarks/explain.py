"""How long `headrace explain` takes over millions of events.

Run: `python benchmarks/explain.py [events]` (1,000,000 unless given). It starts a Kafka of its own, fills the topics of the default topology with
small events straight from a generator (no processor runs; the ledger says what transactions of 1,000 events would have said), and explains a few of
them, each twice: the first, the last, some in between, one that does not exist. Dedup state answers as the running processes do. Target: 2 s each. It
prints wall and CPU time of this process, and how many records were read.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Final

import orjson

from pipeline.app.cli.config import publish
from pipeline.app.declared import read_topology
from pipeline.app.explain import Explainer, read_versions
from pipeline.app.explain.looking import Looking
from pipeline.app.explain.service import Seen
from pipeline.app.processes.options import call_schemas
from pipeline.assembly import Judges
from pipeline.assembly.recompute import Rerun
from pipeline.dedup import digest
from pipeline.model.ids import partition_of
from pipeline.model.ledger import Row, Tally, ledger_key, ledger_value
from pipeline.model.record import Output, Record
from pipeline.model.workspace import Destination, Source, Workspace
from pipeline.runtime.brokers.kafka import KafkaBroker
from pipeline.runtime.clock import SystemClock
from pipeline.translate import idempotency_id

PARTITIONS: Final = 4
BATCH: Final = 1_000
ID: Final = "m-%010d"
WORKSPACE: Final = Workspace(
    "bench",
    sources={"web": Source("web")},
    destinations={"crm": Destination("crm", "webhook", ("web",), settings={"url": "http://127.0.0.1:1/hook"})},
)
KEYS: Final = [next(b"k%d" % n for n in range(1000) if partition_of(b"k%d" % n, PARTITIONS) == number) for number in range(PARTITIONS)]


class Generator:
    """Writes batches of events into every topic, as the processors would have."""

    def __init__(self, broker: KafkaBroker, again: Rerun, received_ms: int) -> None:
        self._producer = broker.producer()
        self._again = again
        self._received_ms = received_ms
        self._templates = [self._template(number) for number in range(PARTITIONS)]
        self._deliveries: Counter[int] = Counter()

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

    async def write(self, partition: int, first: int) -> None:
        """Write the events of one transaction of each processor: offsets `first` to `first + BATCH` of a partition."""
        template = self._templates[partition]
        zero = (ID % 0).encode()
        ids = [(ID % (offset * PARTITIONS + partition)).encode() for offset in range(first, first + BATCH)]
        for topic in ("raw", "validated", "enriched", "routed"):
            one = template[topic]
            value = one.value or b""
            await self._producer.send([one._replace(value=value.replace(zero, each)) for each in ids])
            if topic != "raw":
                await self._ledger({"validated": "validate", "enriched": "enrich", "routed": "filter"}[topic], topic, partition, first)
        await self._requests(template["requests.crm"], ids, partition, first)
        await self._attempts(ids, partition, first)

    async def _requests(self, one: Output, ids: list[bytes], partition: int, first: int) -> None:
        own = idempotency_id("web", ID % 0, "send").encode()
        outputs = []
        for number, each in enumerate(ids):
            value = (one.value or b"").replace((ID % 0).encode(), each).replace(own, idempotency_id("web", each.decode(), "send").encode())
            changed = {"message_id": each, "event_origin": b"bench.routed/%d/%d" % (partition, first + number)}
            outputs.append(one._replace(value=value, headers=tuple((name, changed.get(name, text)) for name, text in one.headers)))
        await self._producer.send(outputs)
        await self._ledger("translate.crm", "routed", partition, first)

    async def _attempts(self, ids: list[bytes], partition: int, first: int) -> None:
        about = {"destination": "crm", "mapping": "send", "source": "web", "event": "Order Completed", "type": "track", "attempt": 1, "status": 200}
        about |= {"error": "", "outcome": "delivered", "reason": "", "latency_ms": 3.0, "at": self._received_ms, "answer": "", "event_origin": ""}
        rest = orjson.dumps(about)[1:]
        await self._producer.send([Output("bench.deliveries", each, b'{"message_id":"%s",%s' % (each, rest)) for each in ids])
        await self._ledger("deliver.crm", "requests.crm", partition, first)

    async def _ledger(self, group: str, written: str, partition: int, first: int) -> None:
        topic = {"validate": "raw", "enrich": "validated", "filter": "enriched"}.get(group, written)
        tally = Tally()
        tally.rows[Row("web", "track", "Order Completed", "passed")] = BATCH
        value = ledger_value(tally, processor=group, topic=topic, partition=partition, start=first, end=first + BATCH, at_ms=self._received_ms)
        await self._producer.send([Output("bench.ledger", ledger_key(group, topic, partition), value, (), 0)])

    async def close(self) -> None:
        """Disconnect."""
        await self._producer.stop()


async def measure(bootstrap: str, events: int) -> None:
    """Fill the topics and explain."""
    broker, clock = KafkaBroker(bootstrap), SystemClock()
    topology = read_topology("default")
    await publish(broker, replace(WORKSPACE), topology, clock)
    versions = await read_versions(broker, "bench")
    judges = Judges(topology, call_schemas(), str)
    generator = Generator(broker, Rerun(judges, versions), clock.now_ms())
    began = time.monotonic()
    each = events // PARTITIONS // BATCH * BATCH
    for first in range(0, each, BATCH):
        for partition in range(PARTITIONS):
            await generator.write(partition, first)
        if first % 50_000 == 0:
            print(f"{first * PARTITIONS} events, {time.monotonic() - began:.0f} s", flush=True)
    await generator.close()
    total = each * PARTITIONS
    print(f"{total} events, {total * 6} records in {time.monotonic() - began:.0f} s")
    places = {digest("web", ID % number): number for number in (0, total // 3, total // 2, total - 1)}

    async def ask(name: bytes) -> tuple[list[Seen], int]:
        number = places.get(name)
        return ([] if number is None else [Seen(number % PARTITIONS, number // PARTITIONS, clock.now_ms())]), 1

    read = 0

    class Counting(Looking):
        async def stop(self) -> None:
            nonlocal read
            read = self.records_read
            await super().stop()

    from pipeline.app.explain import service  # noqa: PLC0415 (to count what is read)

    service.Looking = Counting  # type: ignore[misc]  # the same
    explainer = Explainer(broker, "bench", judges, clock=clock, ask_dedup=ask, lake_root=Path)
    for wanted in [*(ID % number for number in places.values()), "nobody"] * 2:
        start, cpu = time.monotonic(), time.process_time()
        found = await explainer.explain(wanted)
        took = time.monotonic() - start, time.process_time() - cpu
        print(f"{wanted}: {took[0]:.2f} s, {took[1]:.2f} s of CPU, {read} records read, same={found.same}, {found.sentence}")


def main() -> None:
    """Start a broker, measure, stop it."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(prefix="headrace-explain-") as home:
        command = [sys.executable, "-m", "pipeline.app.local.kafka", "--home", home, "--port", "0"]
        launcher = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            assert launcher.stdout is not None
            bootstrap = launcher.stdout.readline().decode().split()[1]
            asyncio.run(measure(bootstrap, events))
        finally:
            launcher.terminate()
            launcher.wait(timeout=30)


if __name__ == "__main__":
    main()
