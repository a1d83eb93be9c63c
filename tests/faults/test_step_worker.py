"""The step worker under kill -9, at random and at the worst points, SIGSTOP, a blocked loop, and members that come and go."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import Kafka
from tests.faults.failpoints import FAILPOINTS
from tests.faults.member import PARTITIONS
from tests.faults.report import Row
from tests.faults.trial import ROUNDS, Trial, add_up, prove

pytestmark = [pytest.mark.faults, pytest.mark.integration]

HITS = int(os.environ.get("HEADRACE_FAULT_HITS", "4"))
"""Kills at each failpoint; `make faults` asks for 20."""
BROKEN_HITS = 5
"""What is enough to notice a broken build."""


@pytest.fixture(autouse=True)
def _broken_builds_lie_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the two transactions that a broken build makes of one lie so far apart that a handful of faults hits the gap."""
    monkeypatch.setenv("HEADRACE_BROKEN_GAP", "0.3")


@pytest.mark.fault("T1")
async def test_members_killed_at_random_lose_and_double_nothing(kafka: Kafka, prefix: str, tmp_path: Path, row: Row) -> None:
    """SIGKILL to one of three members every second or so, with a new one in its place, leaves every event once and in order."""
    chance = random.Random(7)  # noqa: S311 (which member is killed need not be secret)

    async def scenario(trial: Trial) -> None:
        for _ in range(3):
            await trial.join()
        load = asyncio.create_task(trial.load.send(20_000 * ROUNDS, 30 * ROUNDS))
        while not load.done():
            await trial.progress(200)
            await asyncio.sleep(chance.uniform(0.0, 1.0))
            await trial.kill(chance.choice(list(trial.alive)))
            await trial.join()
            trial.faults += 1
        await load
        await trial.settle()

    await prove(row, kafka.bootstrap, prefix, tmp_path, scenario, ["offsets_first", "outputs_first", "unrestored", "unrewound"])


@pytest.mark.fault("T2")
async def test_members_that_end_at_the_worst_moment_lose_and_double_nothing(kafka: Kafka, prefix: str, tmp_path: Path, row: Row) -> None:
    """A member ends at one point inside a transaction, a hand-over or a restore, again and again, and starts again on the same state."""
    noticed = {"after_produce": ["state_first"], "after_offsets": ["offsets_first"], "after_end": ["outputs_first"]}
    rows = {point: Row() for point in FAILPOINTS}
    async with (
        asyncio.TaskGroup() as points
    ):  # a member that follows a dead one waits for the end of its session, and so do most of these, most of the time
        for point, one in rows.items():
            scenario = partial(_end_at, point)
            points.create_task(prove(one, kafka.bootstrap, f"{prefix}-{point}", tmp_path / point, scenario, noticed.get(point, [])))
    add_up(row, rows.values())
    row.figures = ", ".join(f"{point} {one.kills}" for point, one in rows.items())


async def _end_at(point: str, trial: Trial) -> None:
    chance = random.Random(point)  # noqa: S311 (when it ends need not be secret)
    hits = min(HITS, BROKEN_HITS) if trial.broken else HITS
    load = asyncio.create_task(trial.load.flow(200))
    while trial.faults < hits:
        number = await trial.join("--fail-at", point, str(chance.randint(1, 20)), state="kept")
        other = 0
        if point == "in_revoke":
            await trial.progress(20)
            other = await trial.join()
        process = trial.alive.pop(number)
        try:
            async with asyncio.timeout(60):
                await process.wait()
        except TimeoutError:
            raise AssertionError(f"a member does not come to {point}:\n{trial.log_of(number)[-3000:]}") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == -signal.SIGKILL, trial.log_of(number)
        trial.faults += 1
        if other:
            await trial.kill(other)
    trial.load.end_flow()
    await load
    await trial.join(state="kept")
    await trial.settle()


async def _stop_beyond_session(trial: Trial) -> None:
    first = await trial.join("--slow-offsets", "0.3")
    load = asyncio.create_task(trial.load.flow(1_000))
    await trial.observer.until(300, 60)
    await trial.until_assigned(await trial.join())
    await trial.progress(500)
    for _ in range(ROUNDS):
        trial.send_signal(first, signal.SIGSTOP)
        trial.faults += 1
        await asyncio.sleep(18)
        trial.send_signal(first, signal.SIGCONT)
        await asyncio.sleep(3)
    trial.load.end_flow()
    await load
    await trial.settle()


@pytest.mark.fault("T3")
async def test_a_member_stopped_beyond_its_session_commits_nothing_when_it_wakes(kafka: Kafka, prefix: str, tmp_path: Path, row: Row) -> None:
    """SIGSTOP of an owner inside its transactions for three sessions (18 s) hands its partitions on; when it wakes, it is fenced."""
    await prove(row, kafka.bootstrap, prefix, tmp_path, _stop_beyond_session, ["outputs_first", "unfenced"], at_once=3)


@pytest.mark.fault("T4")
async def test_a_handler_that_blocks_the_loop_loses_and_doubles_nothing(kafka: Kafka, prefix: str, tmp_path: Path, row: Row) -> None:
    """A step that blocks the event loop for 20 s, beyond the session: its partitions go to another member, and what it held is void."""

    async def scenario(trial: Trial) -> None:
        first = await trial.join("--block", "20")
        load = asyncio.create_task(trial.load.flow(600))
        await trial.observer.until(100, 60)
        await trial.until_assigned(await trial.join())
        await trial.progress(100)
        trial.send_signal(first, signal.SIGUSR1)
        trial.faults += 1
        await asyncio.sleep(24)
        trial.load.end_flow()
        await load
        await trial.settle()

    await prove(row, kafka.bootstrap, prefix, tmp_path, scenario, ["unfenced"])


@pytest.mark.fault("T5")
async def test_a_member_that_joins_inside_a_transaction_doubles_nothing(kafka: Kafka, prefix: str, tmp_path: Path, row: Row) -> None:
    """Members join, and the oldest is killed, while it has produced and not yet committed its offsets (aio-libs/aiokafka#844)."""
    joins = 10 * ROUNDS
    chance = random.Random(5)  # noqa: S311 (when a member is killed need not be secret)

    async def scenario(trial: Trial) -> None:
        await trial.join("--slow-offsets", "0.3")
        load = asyncio.create_task(trial.load.flow(300))
        while trial.faults < joins:
            await trial.join("--slow-offsets", "0.3")
            trial.faults += 1
            await trial.progress(200)
            await asyncio.sleep(chance.uniform(0.0, 0.4))
            if len(trial.alive) > 1:
                await trial.kill(min(trial.alive))
        trial.load.end_flow()
        await load
        await trial.settle()

    await prove(row, kafka.bootstrap, prefix, tmp_path, scenario, ["outputs_first"])


@pytest.mark.fault("T6")
async def test_members_that_come_and_go_lose_and_double_nothing(kafka: Kafka, prefix: str, tmp_path: Path, row: Row) -> None:
    """A rebalance storm: members join, and leave by SIGTERM or SIGKILL, every other second."""
    chance = random.Random(3)  # noqa: S311 (which member leaves need not be secret)

    async def scenario(trial: Trial) -> None:
        await trial.join()
        load = asyncio.create_task(trial.load.send(15_000 * ROUNDS, 40 * ROUNDS))
        while not load.done():
            await trial.join()
            await trial.progress(100, seconds=10)
            await asyncio.sleep(chance.uniform(0.0, 1.0))
            if len(trial.alive) > 2:
                number = min(trial.alive)
                trial.send_signal(number, chance.choice((signal.SIGTERM, signal.SIGKILL)))
                await trial.alive.pop(number).wait()
            trial.faults += 1
        await load
        assert await trial.settle() <= 60

    await prove(row, kafka.bootstrap, prefix, tmp_path, scenario, ["offsets_first"])


@pytest.mark.fault("T13")
async def test_an_open_transaction_of_a_dead_member_blocks_readers_for_seconds_only(kafka: Kafka, prefix: str, tmp_path: Path, row: Row) -> None:
    """A member dies inside a transaction and nobody comes in its place: the broker aborts it, and readers of its topics go on within 25 s."""

    async def scenario(trial: Trial) -> None:
        number = await trial.join("--fail-at", "after_produce", "3")
        load = asyncio.create_task(trial.load.send(2_000, 10))
        await trial.alive.pop(number).wait()
        died = time.monotonic()
        trial.faults += 1
        await trial.load.send_elsewhere(f"{trial.prefix}.main", [f"late-{partition}" for partition in range(PARTITIONS)])
        async with asyncio.timeout(25):
            while sum(message_id.startswith("late-") for message_id in trial.observer.ids) < PARTITIONS:  # noqa: ASYNC110 (the reader has no event)
                await asyncio.sleep(0.1)
        trial.recovery_seconds = time.monotonic() - died
        if not trial.broken:
            row.figures = f"records written after the death were readable {trial.recovery_seconds:.1f} s after it"
        await load
        await trial.join()
        await trial.settle()

    await prove(row, kafka.bootstrap, prefix, tmp_path, scenario, ["long_transaction"])
