"""One trial of the step worker: topics of its own, a load, an observer, members to be hurt, and the laws in the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path

import orjson
import psutil

from pipeline.model.topics import Declared
from pipeline.runtime.brokers.kafka import KafkaBroker
from tests.faults.broken import BROKEN
from tests.faults.broken_loads import LOADS
from tests.faults.laws import Verdict, concurrent_reader, conserved, hold, in_order, intact, no_duplicate, no_invention, no_loss
from tests.faults.load import TopicLoad
from tests.faults.member import PARTITIONS
from tests.faults.observer import Observer, read_all, undecided
from tests.faults.report import Row
from tests.faults.sent import read_sent

OUTPUTS = ("main", "left", "right")
DEAD = ("dead.validate", "dead.split", "dead.dedup")
ROUNDS = int(os.environ.get("HEADRACE_FAULT_ROUNDS", "1"))
"""Factor of what the tests do; `make faults` sets it."""
QUIET_SECONDS = 2.0
"""Once the group has no lag, whatever would come too much has this long to come."""


class Trial:
    """What a test hurts.

    Args:
        bootstrap: Kafka's address.
        prefix: Prefix of its topics, group and transactional ids.
        folder: Folder of its state and of the ledger of what was sent.
        broken: A broken build that all members run, or that the load sends with, or empty.
        members: Kafka's address for the members, where it is another one: a proxy between.

    Attributes:
        broken: The broken build, or empty.
        alive: Members by number.
        members: Address at which members that join from now on reach Kafka.
        load: The load.
        observer: The reader beside.
        faults: How often something was hurt; counted by the test.
    """

    def __init__(self, bootstrap: str, prefix: str, folder: Path, broken: str = "", members: str = "") -> None:
        self.broker = KafkaBroker(bootstrap)
        self.prefix = prefix
        self._folder = folder
        self.members = members or bootstrap
        self.broken = broken
        self._number = 0
        folder.mkdir(parents=True, exist_ok=True)
        self.alive: dict[int, asyncio.subprocess.Process] = {}
        self.load = TopicLoad(LOADS.get(broken, KafkaBroker)(bootstrap), f"{prefix}.input", folder / "sent")
        self.outputs = [f"{prefix}.{name}" for name in OUTPUTS]
        self.observer = Observer(self.broker, self.outputs)
        self.faults = 0
        self.recovery_seconds = 0.0

    async def create_topics(self, *without: str) -> None:
        """Make the topics.

        Args:
            without: Names of topics that are left out.
        """
        log = {"message.timestamp.type": "LogAppendTime"}
        names = [f"{self.prefix}.input", *self.outputs, f"{self.prefix}.split.dedup.changelog"]
        dead = [f"{self.prefix}.{name}" for name in ("ledger", *DEAD)]
        declared = [*(Declared(name, PARTITIONS, log) for name in names), *(Declared(name, 1, log) for name in dead)]
        await self.broker.admin().create([topic for topic in declared if topic.name.removeprefix(f"{self.prefix}.") not in without])

    async def join(self, *options: str, state: str = "", wrap: Sequence[str] = ()) -> int:
        """Start one more member.

        Args:
            options: Further options of the member.
            state: Name of its state folder, or empty for a new one.
            wrap: A command that becomes the member.

        Returns:
            Its number.
        """
        self._number += 1
        number = self._number
        folder = self._folder / (state or str(number))
        with (self._folder / f"{number}.log").open("wb") as log:
            build = self.broken if self.broken in BROKEN else ""
            command = [*wrap, sys.executable, "-m", "tests.faults.member", self.members, self.prefix, str(folder), "--broken", build, *options]
            self.alive[number] = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        return number

    def send_signal(self, number: int, what: signal.Signals) -> None:
        """Send a member a signal."""
        with contextlib.suppress(ProcessLookupError):
            self.alive[number].send_signal(what)

    async def kill(self, number: int) -> None:
        """End a member with SIGKILL."""
        process = self.alive.pop(number)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    async def end(self) -> None:
        """End everything."""
        with contextlib.suppress(Exception):
            await self.observer.stop()
        for number in list(self.alive):
            await self.kill(number)

    async def until_assigned(self, number: int) -> None:
        """Wait until a member has got partitions."""
        await self.until_said(number, "newly assigned partitions {T")

    async def until_said(self, number: int, text: str, seconds: float = 60.0) -> None:
        """Wait until a member has said something."""
        async with asyncio.timeout(seconds):
            while text not in self.log_of(number):  # noqa: ASYNC110 (its log has no event)
                await asyncio.sleep(0.1)

    async def progress(self, events: int, seconds: float = 30.0) -> None:
        """Wait until the observer has seen so many more events, so that a fault hits work and not a start.

        Args:
            events: How many.
            seconds: Longest wait; a trial at its end has nothing to wait for.
        """
        wanted = len(self.observer.ids) + events
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while len(self.observer.ids) < wanted:  # noqa: ASYNC110 (the reader has no event)
                    await asyncio.sleep(0.05)

    def log_of(self, number: int) -> str:
        """Give what a member said."""
        return (self._folder / f"{number}.log").read_text(encoding="utf-8", errors="replace")

    def cpu_seconds(self) -> float:
        """Give the CPU time of the members that live."""
        total = 0.0
        for process in self.alive.values():
            with contextlib.suppress(psutil.Error):
                times = psutil.Process(process.pid).cpu_times()
                total += times.user + times.system
        return total

    def rss_bytes(self) -> int:
        """Give the largest resident memory of a member at this moment."""
        sizes = [0]
        for process in self.alive.values():
            with contextlib.suppress(psutil.Error):
                sizes.append(psutil.Process(process.pid).memory_info().rss)
        return max(sizes)

    async def settle(self, limit: float = 90.0) -> float:
        """Wait until the group has read everything, each transaction has its end everywhere, and the observer has seen what came of it.

        Args:
            limit: Longest wait, in seconds.

        Returns:
            Seconds until the lag was 0; the limit where it never was.
        """
        began = time.monotonic()
        took = limit
        while time.monotonic() - began < limit:
            lags = await self.broker.admin().lags(f"{self.prefix}.split", [f"{self.prefix}.input"])
            if not any(lags.values()) and not await undecided(self.broker.bootstrap, self.outputs):
                took = time.monotonic() - began
                break
            await asyncio.sleep(0.5)
        while time.monotonic() - self.observer.moved < QUIET_SECONDS:  # noqa: ASYNC110 (the reader has no event)
            await asyncio.sleep(0.2)
        self.recovery_seconds = max(self.recovery_seconds, took)
        return took

    async def verdicts(self) -> list[Verdict]:
        """Hold what was sent and what was found to the laws L1 to L7."""
        sent = read_sent(self.load.paths)
        during = await self.observer.stop()
        after = await read_all(self.broker, self.outputs)
        ids = Counter(one.message_id for one in after)
        taken, dead = await self._taken(), await self.dead()
        return [
            no_loss(sent, ids, dead),
            no_duplicate(ids),
            no_invention(sent, ids),
            in_order(after),
            intact(sent, after),
            conserved([("records of input = in of the ledger", await self._inputs(), taken["in"]), ("in = ends", taken["in"], taken["ends"])]),
            *concurrent_reader(sent, during, dead),
        ]

    async def verdicts_of_now(self) -> list[Verdict]:
        """Hold what was sent until now to L1 to L3; the observer reads on."""
        sent = read_sent(self.load.paths)
        ids = Counter(one.message_id for one in await read_all(self.broker, self.outputs))
        return [no_loss(sent, ids), no_duplicate(ids), no_invention(sent, ids)]

    async def dead(self) -> dict[str, str]:
        """Read the dead letters.

        Returns:
            The reason of each by message id; of those that are no message, by their place.
        """
        found: dict[str, str] = {}
        for topic in DEAD:
            async for records in self.broker.reader().read(f"{self.prefix}.{topic}"):
                for record in records:
                    reason = dict(record.headers).get("dead_reason") or b""
                    found[_message_id(record.value) or f"{topic}/{record.offset}"] = reason.decode()
        return found

    async def _taken(self) -> Counter[str]:
        totals: Counter[str] = Counter()
        async for records in self.broker.reader().read(f"{self.prefix}.ledger"):
            for record in records:
                body = orjson.loads(record.value or b"{}")
                totals["in"] += body["in"]
                totals["ends"] += body["passed"] + body["dropped"] + body["dead"] + body["blocked"]
        return totals

    async def _inputs(self) -> int:
        return sum([len(records) async for records in self.broker.reader().read(f"{self.prefix}.input")])


def _message_id(value: bytes | None) -> str:
    try:
        body = orjson.loads(value or b"")
    except ValueError:
        return ""
    return str(body.get("messageId", "")) if isinstance(body, dict) else ""


Scenario = Callable[[Trial], Awaitable[None]]


@contextlib.asynccontextmanager
async def trying(bootstrap: str, prefix: str, folder: Path, broken: str = "", members: str = "") -> AsyncIterator[Trial]:
    """Give a trial with its topics and its observer, and end all of it."""
    trial = Trial(bootstrap, prefix, folder, broken, members)
    await trial.create_topics()
    trial.observer.start()
    try:
        yield trial
    finally:
        await trial.end()


async def prove(
    row: Row, bootstrap: str, prefix: str, folder: Path, scenario: Scenario, broken: Sequence[str] = (), *, members: str = "", at_once: int = 2
) -> None:
    """Run a scenario on the product, which must hold the laws, and on broken builds, which must not.

    Args:
        row: Gets what happened.
        bootstrap: Kafka's address.
        prefix: Prefix of the trials.
        folder: Folder of the trials.
        scenario: What is done to a trial, and how it waits.
        broken: Names of broken builds.
        members: Kafka's address for the members, where it is another one.
        at_once: How many trials run side by side; most of them wait most of the time.
    """
    turns = asyncio.Semaphore(at_once)

    async def product() -> None:
        async with turns, trying(bootstrap, prefix, folder / "product", "", members) as trial:
            await scenario(trial)
            verdicts = await trial.verdicts()
            note(row, trial, verdicts)
            hold(verdicts)

    async def control(name: str) -> None:
        async with turns, trying(bootstrap, f"{prefix}-{name}", folder / name, name, members) as trial:
            row.caught[name] = await is_caught(trial, scenario)

    async with asyncio.TaskGroup() as trials:
        trials.create_task(product())
        for name in broken:
            trials.create_task(control(name))
    assert all(row.caught.values()), f"a broken build passes: {row.caught}"


async def is_caught(trial: Trial, scenario: Scenario) -> bool:
    """Run a scenario on a broken build, and tell whether its test would fail."""
    try:
        await scenario(trial)
        broken = [str(verdict) for verdict in await trial.verdicts() if verdict.violations]
    except (AssertionError, TimeoutError) as error:
        broken = [str(error).split("\n")[0][:200] or "not in time"]
    print(f"broken build {trial.broken}: {'caught: ' + broken[0] if broken else 'NOT CAUGHT'}")
    return bool(broken)


def note(row: Row, trial: Trial, verdicts: Sequence[Verdict]) -> None:
    """Fill in the row from a trial."""
    broken = {verdict.law: len(verdict.violations) for verdict in verdicts}
    sent = read_sent(trial.load.paths)
    row.kills = (row.kills or 0) + trial.faults
    row.events = (row.events or 0) + len(sent.events)
    row.lost = (row.lost or 0) + broken["L1 no loss"]
    row.doubled = (row.doubled or 0) + broken["L2 no duplicate"]
    row.disordered = (row.disordered or 0) + broken["L4 order"]
    row.recovery_seconds = max(row.recovery_seconds or 0.0, trial.recovery_seconds)


def add_up(row: Row, parts: Iterable[Row]) -> None:
    """Fill in a row from those of its parts."""
    for part in parts:
        for name in ("kills", "events", "lost", "doubled", "disordered"):
            setattr(row, name, (getattr(row, name) or 0) + (getattr(part, name) or 0))
        row.recovery_seconds = max(row.recovery_seconds or 0.0, part.recovery_seconds or 0.0)
        row.caught |= part.caught
