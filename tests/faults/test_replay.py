"""The past once more, on a whole run with a lake and two tools: groups set to their beginning, and a job that is killed beside live traffic."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from pipeline.app.query import count_rows
from pipeline.runtime.brokers.kafka import KafkaBroker
from tests.faults.load import HttpLoad
from tests.faults.receiver import TOOLS
from tests.faults.report import Row
from tests.faults.sent import read_sent
from tests.faults.whole_run import WholeRun

pytestmark = [pytest.mark.integration, pytest.mark.faults]

KILLS = 5
GROUPS = ("lake.lake", "translate.crm", "translate.orders", "validate")
RATE = 150.0
"""Live events in a second; half of what the run carries beside a job on a machine of two cores."""
JOB_RATE = 100
LIVE_SECONDS = 15.0
SECONDS = 120


class Effects(NamedTuple):
    """What is there of everything that was sent.

    Attributes:
        validated: How often each message came out of dedup.
        rows: Rows of the lake by message id.
        lake: Rows and checksum of the lake, as `headrace offsets show` has them.
        accepted: Ids of the requests that each tool accepted.
    """

    validated: Counter[str]
    rows: Counter[str]
    lake: dict[str, Any]
    accepted: dict[str, set[str]]


class Past:
    """A run with some traffic behind it.

    Args:
        run: The run.
        folder: Where the load keeps its ledger.

    Attributes:
        sent: Distinct events that earlier loads sent.
    """

    def __init__(self, run: WholeRun, folder: Path) -> None:
        self.run = run
        self.broker = KafkaBroker(run.one.run["bootstrap"])
        self.path = folder / "sent"
        self.sent = 0

    async def ask(self, *arguments: str) -> Any:  # noqa: ANN401 (JSON)
        """Run a `headrace` command for the run's workspace."""
        where = () if arguments[0] == "status" else ("--workspace", str(self.run.workspace))
        return await asyncio.to_thread(self.run.one.headrace, *arguments, *where)

    async def effects(self) -> Effects:
        """Read what is there."""
        validated: Counter[str] = Counter()
        async for records in self.broker.reader().read("faults.validated"):
            validated.update(orjson.loads(record.value or b"{}")["messageId"] for record in records)
        (group,) = (await self.ask("offsets", "show", "lake.lake"))["groups"]
        rows = await asyncio.to_thread(count_rows, self.run.lake)
        return Effects(validated, rows, group["store"], {tool: set(self.run.receiver.accepted(tool)) for tool in TOOLS})

    async def rest(self) -> Effects:
        """Wait until no group is behind, no request waits for a retry, no job runs, and nothing changes any more."""
        before: Any = None
        async with asyncio.timeout(SECONDS):
            while True:
                status = await self.ask("status")
                behind = sum(group["lag"] for process in status["processes"] for group in process.get("groups", ()))
                jobs = [job for job in await self.ask("replay", "list") if job["state"] == "running"]
                now = {tool: self.run.receiver.accepted(tool) for tool in TOOLS}, await self.requested("requests.crm"), behind, jobs
                if now == before and not behind and not jobs and set(now[0]["crm"]) >= set(now[1]):
                    return await self.effects()
                before = now
                await asyncio.sleep(1)

    async def requested(self, topic: str, job: str = "") -> Counter[str]:
        """Count the ids of the requests in a topic, without retries that came back."""
        found: Counter[str] = Counter()
        async for records in self.broker.reader().read(f"faults.{topic}"):
            for record in records:
                headers = dict(record.headers)
                if headers.get("replay", b"").decode() == job and "attempt" not in headers:
                    found[orjson.loads(record.value or b"{}")["id"]] += 1
        return found

    async def latencies(self, since_ms: int, until_ms: int) -> list[int]:
        """Give the milliseconds from `raw` to the requests of a tool, of live events that came within a time."""
        came: dict[str, int] = {}
        async for records in self.broker.reader().read("faults.raw"):
            for record in records:
                if since_ms <= record.timestamp < until_ms:
                    came.setdefault(orjson.loads(record.value or b"{}")["messageId"], record.timestamp)
        took: list[int] = []
        async for records in self.broker.reader().read("faults.requests.crm"):
            ids = [(dict(record.headers).get("message_id", b"").decode(), record.timestamp) for record in records]
            took += [at - came[message_id] for message_id, at in ids if message_id in came]
        return sorted(took)

    def live(self, seed: int) -> HttpLoad:
        """Make a load, not started, that goes on where the one before ended."""
        load = HttpLoad(self.run.one.port, rate=RATE, path=self.path, seed=seed)
        load.sent = self.sent
        return load


@contextmanager
def past(folder: Path, build: str = "") -> Iterator[Past]:
    """Give a run that has got some traffic."""
    folder.mkdir(exist_ok=True)
    run = WholeRun(folder, build)
    try:
        run.start()
        yield Past(run, folder)
    finally:
        run.end()


async def _send(one: Past, seconds: float) -> None:
    load = one.live(20)
    load.start()
    await asyncio.sleep(seconds)
    await asyncio.to_thread(load.stop)
    one.sent = load.sent


async def _reset_all(one: Past) -> None:
    """Set the first group and those of tools and lake to the beginning of their topics: nothing is new to anybody."""
    before = await one.rest()
    sent = read_sent([one.path])
    assert sent.acknowledged <= before.rows.keys()
    for group in GROUPS:
        await one.ask("offsets", "reset", group, "--to", "earliest", "--yes")
        after = await one.rest()
        assert before.lake == after.lake, group
        assert before.rows == after.rows, group
        assert before.accepted == after.accepted, group
        assert before.validated == after.validated, group


@pytest.mark.fault("T20")
async def test_groups_that_begin_anew_change_nothing(tmp_path: Path, row: Row) -> None:
    """Each group is set to the beginning: the lake is the same row for row, tools know each id, and nothing comes out of dedup again."""
    with past(tmp_path / "product") as one:
        await _send(one, LIVE_SECONDS)
        await _reset_all(one)
        effects = await one.effects()
        row.kills, row.events, row.lost = len(GROUPS), len(effects.rows), 0
        row.doubled = sum(count > 1 for count in effects.rows.values())
        repeats = {tool: one.run.receiver.accepted(tool).total() - len(ids) for tool, ids in effects.accepted.items()}
        row.figures = f"{len(GROUPS)} groups set to the beginning; rows {effects.rows.total()}; repeats with known ids at the tools {repeats}"
    with past(tmp_path / "ids_anew", "ids_anew") as one:
        await _send(one, 3)
        row.caught["ids_anew"] = await _fails(_reset_all(one))
    assert row.caught["ids_anew"]


async def _fails(work: Any) -> bool:  # noqa: ANN401 (a coroutine)
    try:
        await work
    except (AssertionError, TimeoutError) as error:
        print(f"caught: {type(error).__name__}: {str(error)[:200]}")
        return True
    return False


async def _replay(one: Past) -> tuple[int, str]:
    """Replay all that is there, killed again and again beside live traffic: each request once; a second run of it adds nothing."""
    await one.rest()
    to = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
    await asyncio.sleep(1.5)
    before = await one.requested("requests.crm")
    began_ms = time.time_ns() // 1_000_000
    load = one.live(21)
    load.start()
    await asyncio.sleep(LIVE_SECONDS)
    replay_ms = time.time_ns() // 1_000_000
    ordered = ("replay", "--from", "2020-01-01", "--to", to, "--destination", "crm", "--storage", "lake", "--rate", str(JOB_RATE))
    job = (await one.ask(*ordered))["job"]["id"]
    kills = 0
    while kills < KILLS and any(each["id"] == job and each["state"] == "running" for each in await one.ask("replay", "list")):
        await asyncio.sleep(1)
        with suppress(ProcessLookupError):  # it has not been started again yet
            os.kill(one.run.one.pid_of("replay"), signal.SIGKILL)
            kills += 1
    await asyncio.to_thread(load.stop)
    end_ms = time.time_ns() // 1_000_000
    effects = await one.rest()
    assert kills > 1
    again = await one.requested("requests.crm.replay", job)
    assert before == again, f"{len(before)} requests, by the job {again.total()}, {len(again)} of them different"
    live = await one.requested("requests.crm")
    assert {1} == {*live.values()}
    assert {1} == {*effects.rows.values()}
    assert read_sent([one.path]).acknowledged <= effects.rows.keys()
    assert not (await one.ask(*ordered))["new"]
    second = await one.rest()
    assert again == await one.requested("requests.crm.replay", job)
    assert (effects.rows, effects.accepted) == (second.rows, second.accepted)
    assert 0 == (await one.ask("audit"))["residue"]
    alone, beside = await one.latencies(began_ms, replay_ms), await one.latencies(replay_ms, end_ms)
    p99 = [took[len(took) * 99 // 100] for took in (alone, beside)]
    return (
        kills,
        f"{len(before)} old events at {JOB_RATE}/s beside {RATE:.0f}/s live; live p99 from raw to requests {p99[0]} ms alone, {p99[1]} ms beside",
    )


@pytest.mark.fault("T21")
async def test_a_job_that_is_killed_beside_live_traffic_writes_each_request_once(tmp_path: Path, row: Row) -> None:
    """Killed on its way while live events come, a job is at its end what it would have been; a second run of it adds nothing."""
    with past(tmp_path / "product") as one:
        await _send(one, LIVE_SECONDS)
        row.kills, row.figures = await _replay(one)
        row.events, row.lost, row.doubled = len(read_sent([one.path]).events), 0, 0
    with past(tmp_path / "outputs_first", "outputs_first") as one:
        await _send(one, LIVE_SECONDS)
        row.caught["outputs_first"] = await _fails(_replay(one))
    assert row.caught["outputs_first"]
