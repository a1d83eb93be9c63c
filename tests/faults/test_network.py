"""A member behind a proxy that delays, cuts and slows what it says to the broker."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults.cluster import ProxiedKafka
from tests.faults.report import Row
from tests.faults.trial import ROUNDS, Trial, prove

pytestmark = [pytest.mark.faults, pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

REQUEST_SECONDS = 10
"""Request timeout of the members' producers."""
CUT_SECONDS = 16.0
"""Beyond the session of 6 s, and beyond the 10 s after which the broker aborts what is open."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def proxied(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ProxiedKafka]:
    """A broker with a proxy before it, for all tests of this file."""
    one = ProxiedKafka(tmp_path_factory.mktemp("broker"))
    try:
        await one.start()
        yield one
    finally:
        await one.stop()


@pytest.mark.fault("T12")
async def test_a_late_commit_commits_no_later_transaction(proxied: ProxiedKafka, prefix: str, tmp_path: Path, row: Row) -> None:
    """EndTxn is held back for two request timeouts, and reaches the broker when its sender has long gone on (the Jepsen case)."""

    async def scenario(trial: Trial) -> None:
        await trial.join()
        load = asyncio.create_task(trial.load.flow(130))
        await trial.progress(200)
        for _ in range(ROUNDS):
            proxied.proxy.hold_end(f"{trial.prefix}.", 4, 2.0 * REQUEST_SECONDS)
            trial.faults += 4
            await asyncio.sleep(2.0 * REQUEST_SECONDS + 15)
        trial.load.end_flow()
        await load
        await trial.settle(60)

    await prove(row, proxied.bootstrap, prefix, tmp_path, scenario, ["reused"], members=proxied.proxied)
    row.figures = f"{row.kills} EndTxn requests held back for {2 * REQUEST_SECONDS} s"


@pytest.mark.fault("T14")
@pytest.mark.parametrize("kind", ["both ways", "answers only", "requests only", "slow"])
async def test_a_member_cut_off_from_the_broker_loses_and_doubles_nothing(
    proxied: ProxiedKafka, prefix: str, tmp_path: Path, row: Row, kind: str
) -> None:
    """The owner of all partitions is cut off beyond its session and its transactions, or every piece is late by 100 to 300 ms; another takes over."""
    chance = random.Random(kind)  # noqa: S311 (how late a piece is need not be secret)
    cut = asyncio.Barrier(2)

    async def scenario(trial: Trial) -> None:
        await trial.join()
        load = asyncio.create_task(trial.load.flow(400))
        await trial.progress(200)
        trial.members = proxied.bootstrap
        await trial.join()
        trial.faults += 1
        async with cut:  # both trials go through the one proxy
            proxied.proxy.cut_up = kind in {"both ways", "requests only"}
            proxied.proxy.cut_down = kind in {"both ways", "answers only"}
            if kind == "slow":
                proxied.proxy.delay = lambda: chance.uniform(0.1, 0.3)
        await asyncio.sleep(CUT_SECONDS * ROUNDS)
        async with cut:
            proxied.proxy.cut_up = proxied.proxy.cut_down = False
            proxied.proxy.delay = lambda: 0.0
        await asyncio.sleep(3)
        trial.load.end_flow()
        await load
        await trial.settle()

    try:
        await prove(row, proxied.bootstrap, prefix, tmp_path, scenario, ["unrewound"], members=proxied.proxied)
    finally:
        proxied.proxy.cut_up = proxied.proxy.cut_down = False
        proxied.proxy.delay = lambda: 0.0
    row.figures = (
        f"for {CUT_SECONDS * ROUNDS:.0f} s; 5 % loss of packets not run: it needs tc, which is not there"
        if kind == "slow"
        else f"for {CUT_SECONDS * ROUNDS:.0f} s"
    )
