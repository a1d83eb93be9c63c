"""A whole run with some traffic behind it, and what is there of everything that was sent."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from pipeline.app.query import count_rows
from pipeline.runtime.brokers.kafka import KafkaBroker
from tests.faults.load import HttpLoad
from tests.faults.receiver import TOOLS
from tests.faults.whole_run import WholeRun

RATE = 150.0
"""Events in a second."""
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

    async def send(self, seconds: float) -> None:
        """Send live traffic for a time, until its last event has its answer."""
        load = self.live(20)
        load.start()
        await asyncio.sleep(seconds)
        await self.end(load)

    async def end(self, load: HttpLoad) -> None:
        """End a load, so that the next one goes on from there."""
        await asyncio.to_thread(load.stop)
        self.sent = load.sent

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


async def fails(work: Coroutine[Any, Any, object]) -> bool:
    """Whether a test fails on a broken build: a law does not hold, or it does not come to rest."""
    try:
        await work
    except (AssertionError, TimeoutError) as error:
        print(f"caught: {type(error).__name__}: {str(error)[:200]}")
        return True
    return False
