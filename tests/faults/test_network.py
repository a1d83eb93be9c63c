"""A member behind a proxy that delays, cuts and slows what it says to the broker."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.cluster import ProxiedKafka
from tests.faults.laws import hold
from tests.faults.report import Row
from tests.faults.trial import ROUNDS, note, trying

pytestmark = [pytest.mark.faults, pytest.mark.integration]

REQUEST_SECONDS = 10
"""Request timeout of the members' producers."""


@pytest.fixture
async def proxied(tmp_path: Path) -> AsyncIterator[ProxiedKafka]:
    """A broker with a proxy before it."""
    one = ProxiedKafka(tmp_path / "broker")
    try:
        await one.start()
        yield one
    finally:
        await one.stop()


@pytest.mark.fault("T12")
async def test_a_late_commit_commits_no_later_transaction(proxied: ProxiedKafka, prefix: str, tmp_path: Path, row: Row) -> None:
    """EndTxn is held back for two request timeouts, and reaches the broker when its sender has long gone on (the Jepsen case)."""
    for build in ("", "reused"):
        async with trying(proxied.bootstrap, f"{prefix}{build}", tmp_path / (build or "product"), build, proxied.proxied) as trial:
            await trial.join()
            load = asyncio.create_task(trial.load.send(8_000 * ROUNDS, 60 * ROUNDS))
            await trial.progress(200)
            for _ in range(ROUNDS):
                proxied.proxy.hold_end(4, 2.0 * REQUEST_SECONDS)
                trial.faults += 4
                await asyncio.sleep(2.0 * REQUEST_SECONDS + 5)
            await load
            await trial.settle(60)
            verdicts = await trial.verdicts()
            if build:
                row.caught[build] = any(verdict.violations for verdict in verdicts)
            else:
                note(row, trial, verdicts)
                hold(verdicts)
    row.figures = f"{proxied.proxy.held} EndTxn requests held back for {2 * REQUEST_SECONDS} s"


@pytest.mark.fault("T14")
@pytest.mark.parametrize("kind", ["both ways", "answers only", "requests only", "slow"])
async def test_a_member_cut_off_from_the_broker_loses_and_doubles_nothing(
    proxied: ProxiedKafka, prefix: str, tmp_path: Path, row: Row, kind: str
) -> None:
    """The owner of all partitions is cut off beyond its session, or every piece is late by 100 to 300 ms; another member takes over."""
    chance = random.Random(kind)  # noqa: S311 (how late a piece is need not be secret)
    seconds = 20 * ROUNDS
    async with trying(proxied.bootstrap, prefix, tmp_path / "trial", "", proxied.proxied) as trial:
        await trial.join()
        load = asyncio.create_task(trial.load.send(400 * (seconds + 15), seconds + 15.0))
        await trial.progress(200)
        trial.members = proxied.bootstrap
        await trial.join()
        began = time.monotonic()
        trial.faults += 1
        proxied.proxy.cut_up = kind in {"both ways", "requests only"}
        proxied.proxy.cut_down = kind in {"both ways", "answers only"}
        if kind == "slow":
            proxied.proxy.delay = lambda: chance.uniform(0.1, 0.3)
        await asyncio.sleep(seconds)
        proxied.proxy.cut_up = proxied.proxy.cut_down = False
        proxied.proxy.delay = lambda: 0.0
        await load
        await trial.settle()
        verdicts = await trial.verdicts()
        note(row, trial, verdicts)
        row.figures = f"for {seconds} s, {time.monotonic() - began:.0f} s in all"
        hold(verdicts)
