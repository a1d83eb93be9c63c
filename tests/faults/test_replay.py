"""A replay job beside live traffic, whose process is killed again and again: each request and each row once, and live events come as before."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest

from pipeline.model import headers
from tests.faults.laws import hold, in_order, no_duplicate, no_loss
from tests.faults.observer import read_all
from tests.faults.past import Past, fails, past
from tests.faults.report import Row
from tests.faults.sent import read_sent

pytestmark = [pytest.mark.integration, pytest.mark.faults]

JOB_RATE = 150
"""Events in a second, as many as live ones."""
REPLAYED = "requests.crm.replay"
SECONDS = 90


class Hurt(NamedTuple):
    """How much a run stands.

    Attributes:
        seconds: Live traffic before the job.
        kills: How often the job's process is killed.
        between: Requests that the job writes between two kills.
    """

    seconds: float
    kills: int
    between: int


class Beside(NamedTuple):
    """What was measured.

    Attributes:
        kills: Kills of the job's process.
        alone: 99th percentile of the seconds from the collector to the tool's answer before the job.
        beside: The same while the job was there.
        job_seconds: How long the job took.
    """

    kills: int
    alone: float
    beside: float
    job_seconds: float


async def _replay(one: Past, hurt: Hurt) -> Beside:
    """Send, replay all of it beside more live traffic with kills, and hold what is found to the laws."""
    await one.send(hurt.seconds)
    before = await one.rest()
    live = await one.requested("requests.crm")
    await asyncio.sleep(1.0)
    until = time.time()
    what = ("--from", "2020-01-01", "--to", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(until)), "--destination", "crm", "--storage", "lake")
    load = one.live(21)
    load.start()
    began = time.monotonic()
    try:
        job = (await one.ask("replay", *what, "--rate", str(JOB_RATE)))["job"]["id"]
        kills = await _kill(one, hurt)
        await _done(one, sum(live.values()))
        took = time.monotonic() - began
    finally:
        await one.end(load)
    after = await one.rest()
    assert live == await one.requested(REPLAYED)
    assert not (await one.ask("replay", *what))["new"], job
    assert live == await one.requested(REPLAYED)
    assert before.rows.items() <= after.rows.items()
    requests = await one.requested("requests.crm")
    assert {1} == set(requests.values())
    assert requests.keys() == after.accepted["crm"]
    sent = read_sent([one.path])
    routed = await read_all(one.broker, ["faults.routed"])
    hold((no_loss(sent, after.rows, (), where=" in the lake"), no_duplicate(after.rows, where=" in the lake"), in_order(routed)))
    assert 0 == (await one.ask("audit"))["residue"]
    return Beside(kills, *await _delays(one, until * 1000), took)


async def _kill(one: Past, hurt: Hurt) -> int:
    """Kill the job's process, each time after it has written some more requests."""
    for _ in range(hurt.kills):
        goal = (await one.requested(REPLAYED)).total() + hurt.between
        await _done(one, goal)
        with suppress(ProcessLookupError):
            os.kill(one.run.processes["replay"]["pid"], signal.SIGKILL)
    return hurt.kills


async def _done(one: Past, requests: int) -> None:
    """Wait until the job has written so many requests."""
    async with asyncio.timeout(SECONDS):
        while (await one.requested(REPLAYED)).total() < requests:  # noqa: ASYNC110 (a topic has no event)
            await asyncio.sleep(0.2)


async def _delays(one: Past, until_ms: float) -> tuple[float, float]:
    """Give the 99th percentile of the seconds from collector to tool of live events, of those before a time and of those after."""
    received: dict[str, int] = {}
    async for records in one.broker.reader().read("faults.validated"):
        for record in records:
            received[orjson.loads(record.value or b"{}")["messageId"]] = headers.number_in(dict(record.headers), headers.RECEIVED_AT, 0)
    delays: tuple[list[float], list[float]] = [], []
    async for records in one.broker.reader().read("faults.deliveries"):
        for record in records:
            tried = orjson.loads(record.value or b"{}")
            if tried["destination"] == "crm" and tried["outcome"] == "delivered" and "routed/" in tried["event_origin"]:
                began = received[tried["message_id"]]
                delays[began >= until_ms].append((tried["at"] - began) / 1000)
    alone, beside = (sorted(some)[len(some) * 99 // 100] for some in delays)
    return alone, beside


@pytest.mark.fault("T21")
async def test_a_job_that_is_killed_beside_live_traffic_doubles_nothing(tmp_path: Path, row: Row) -> None:
    """A job whose process is killed on its way writes each request and row once, adds nothing when asked again, and live events keep their order."""
    with past(tmp_path / "product") as one:
        found = await _replay(one, Hurt(6, 3, 100))
        row.kills, row.events, row.lost, row.doubled, row.disordered = found.kills, one.sent, 0, 0, 0
        row.figures = (
            f"99 of 100 live events were at the tool within {found.alone:.2f} s before the job, within {found.beside:.2f} s beside it; "
            f"{JOB_RATE} events/s of each kind; the job with its kills took {found.job_seconds:.0f} s"
        )
        print(row.figures)
    for build, hurt in (("progress_forgotten", Hurt(3, 1, 100)), ("ids_anew", Hurt(2, 0, 0))):
        with past(tmp_path / build, build) as one:
            row.caught[build] = await fails(_replay(one, hurt))
        assert row.caught[build]
