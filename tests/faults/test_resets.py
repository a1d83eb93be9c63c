"""The past once more, on a whole run with a lake and two tools: groups set to their beginning."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
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

GROUPS = ("lake.lake", "translate.crm", "translate.orders", "validate")
RATE = 150.0
"""Events in a second."""
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

    async def requested(self, topic: str) -> Counter[str]:
        """Count the ids of the requests in a topic, without retries that came back."""
        found: Counter[str] = Counter()
        async for records in self.broker.reader().read(f"faults.{topic}"):
            for record in records:
                headers = dict(record.headers)
                if "attempt" not in headers:
                    found[orjson.loads(record.value or b"{}")["id"]] += 1
        return found

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
