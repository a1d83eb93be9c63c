"""A source that sends fifty times what its rate allows: it is refused, and no other source is (test T41)."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import orjson
import pytest

from pipeline.app.collector.limits import SourceRates
from pipeline.ingest.refusals import Refused
from pipeline.model.topics import declared_topics
from pipeline.model.workspace import Source, Workspace
from pipeline.runtime.brokers.kafka import KafkaBroker
from tests.conftest import Kafka
from tests.faults.laws import Verdict, bounded
from tests.faults.proof import prove
from tests.faults.report import Row
from tests.faults.tool_laws import alike, arrived, percentile
from tests.integration.collector_over_http import WORKSPACE, collector, connection

pytestmark = [pytest.mark.faults, pytest.mark.integration]

RATE, BURST = 20.0, 40
TIMES = 50
CONNECTIONS = 10
KEYS = {"web": "demo", "app": "app-key"}
BUSY = "web"


@dataclass
class Sent:
    """What the clients of a source got for what they sent.

    Attributes:
        accepted: Message ids that were answered with 200.
        refused: Message ids and status of all others.
        waits: `Retry-After` of those.
        milliseconds: How long each answer took.
    """

    accepted: list[str] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)
    waits: list[str] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)


async def _send(port: int, source: str, rate: float, seconds: float, sent: Sent) -> None:
    """Send events of a source over one connection, at a steady rate."""
    authorization = f"authorization: Basic {base64.b64encode(f'{KEYS[source]}:'.encode()).decode()}"
    end = time.monotonic() + seconds
    async with connection(port) as kept:
        while (began := time.monotonic()) < end:
            ident = f"{source}-{time.monotonic_ns()}-{id(kept)}"
            answer = await kept.ask("POST /v1/page", authorization, body=orjson.dumps({"userId": ident[-4:], "messageId": ident}))
            sent.milliseconds.append((time.monotonic() - began) * 1000)
            if answer.status == 200:
                sent.accepted.append(ident)
            else:
                sent.refused[ident] = answer.status
                sent.waits.append(answer.headers.get("retry-after", ""))
            await asyncio.sleep(max(0.0, began + 1 / rate - time.monotonic()))


def _no_rates(patch: pytest.MonkeyPatch) -> None:
    """Take whatever comes."""
    patch.setattr(SourceRates, "wait", lambda *_: None)


def _one_bucket(patch: pytest.MonkeyPatch) -> None:
    """Let all sources share the bucket of one."""
    wait = SourceRates.wait

    def broken(self: SourceRates, counts: Mapping[tuple[str, str], int], workspace: Workspace, now: float) -> Refused | None:
        return wait(self, {(BUSY, outcome): count for (_, outcome), count in counts.items()}, workspace, now)

    patch.setattr(SourceRates, "wait", broken)


BROKEN = {"no_rates": _no_rates, "one_bucket": _one_bucket}


@pytest.mark.fault("T41")
async def test_a_source_beyond_its_rate_is_refused_alone(kafka: Kafka, prefix: str, row: Row) -> None:
    """A source at 50 times its rate gets 429 for what is too much, and only for that; another one is refused nothing and waits no longer."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        name = f"{prefix}-{broken}" if broken else prefix
        seconds = 2.0 if broken else 4.0
        broker = KafkaBroker(kafka.bootstrap)
        topics = declared_topics(name, destinations=(), dedup_processors=())
        await broker.admin().create([topic for topic in topics if topic.name.endswith((".raw", ".dead.ingest"))])
        sources = {**WORKSPACE.sources, BUSY: Source(BUSY, (KEYS[BUSY],), rate=RATE, burst=BURST)}
        producer = broker.producer()
        await producer.start()
        busy, alone, beside = Sent(), Sent(), Sent()
        with pytest.MonkeyPatch.context() as patch:
            if broken:
                BROKEN[broken](patch)
            async with collector(producer, workspace=replace(WORKSPACE, name=name, sources=sources)) as running:
                await _send(running.port, "app", RATE, seconds, alone)
                much = (_send(running.port, BUSY, TIMES * RATE / CONNECTIONS, seconds, busy) for _ in range(CONNECTIONS))
                await asyncio.gather(_send(running.port, "app", RATE, seconds, beside), *much)
        await producer.stop()
        stored = {orjson.loads(record.value or b"")["messageId"] async for some in broker.reader().read(f"{name}.raw") for record in some}
        p99 = [percentile(some.milliseconds, 0.99) for some in (alone, beside)]
        if not broken:
            asked = len(busy.accepted) + len(busy.refused)
            row.figures = (
                f"{asked / seconds:.0f} requests a second at a rate of {RATE:.0f}: {len(busy.accepted)} taken, {len(busy.refused)} refused; "
                f"p99 of the other source {p99[0]:.0f} ms before, {p99[1]:.0f} ms meanwhile"
            )
        return [
            arrived([*busy.accepted, *alone.accepted, *beside.accepted], stored),
            Verdict("L3 nothing refused is stored", len(busy.refused), tuple(sorted(busy.refused.keys() & stored))),
            bounded({"taken": len(busy.accepted)}, {"taken": BURST + RATE * (seconds + 2)}),
            alike("answers of what was too much", {429}, set(busy.refused.values())),
            alike("refused of the other source", 0, len(beside.refused) + len(alone.refused)),
            alike("refusals without Retry-After", 0, busy.waits.count("")),
        ]

    await prove(row, scenario, tuple(BROKEN))
