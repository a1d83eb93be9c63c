"""Three real brokers: restarted, killed, stopped and cut off from their partitions, while members work and a load is sent.

Beside each trial runs one whose load or members are a broken build, under the same faults.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults.cluster import Cluster
from tests.faults.laws import hold
from tests.faults.report import Row
from tests.faults.trial import ROUNDS, Trial, is_caught, note, trying

pytestmark = [pytest.mark.faults, pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

RATE = 250
"""Events in a second."""
LOAD_SECONDS = 120.0
"""Longest time that the rest of the load may take after the last fault."""
CONTROL_SECONDS = 30.0
"""The same for a broken build, which has had the product's time before."""
BACK_SECONDS = 90.0
"""Longest time until events flow again. The reference asks for 30 s after the brokers have new leaders, of a machine that has nothing else to do:
the report says how long it took."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Three brokers for all tests of this file; each leaves them as it found them."""
    one = Cluster(tmp_path_factory.mktemp("brokers"))
    try:
        await one.start()
        yield one
    finally:
        await one.stop()


async def _flows_again(trial: Trial) -> None:
    """Wait until what is sent from now on comes through, and note how long it took."""
    began = time.monotonic()
    await trial.progress(300, seconds=BACK_SECONDS + 1)
    took = time.monotonic() - began
    trial.recovery_seconds = max(trial.recovery_seconds, took)
    assert took <= BACK_SECONDS, f"nothing comes through {took:.0f} s after the fault"


async def _prove(row: Row, cluster: Cluster, prefix: str, folder: Path, build: str, hurt: Callable[[Trial, Trial], Awaitable[None]]) -> None:
    """Hurt the cluster under a load of the product's, which must hold the laws, and one of a broken build, which must not."""
    async with (
        trying(cluster.bootstrap, prefix, folder / "product") as trial,
        trying(cluster.bootstrap, f"{prefix}-{build}", folder / build, build) as control,
    ):
        loads = []
        for one in (trial, control):
            await one.join()
            loads.append(asyncio.create_task(one.load.flow(RATE)))
        await trial.join()
        for one in (trial, control):
            await one.progress(300, seconds=60)
        await hurt(trial, control)
        for one in (trial, control):
            one.load.end_flow()
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                await loads[0]
            await trial.settle()
            verdicts = await trial.verdicts()
            note(row, trial, verdicts)
            row.figures = f"{trial.load.refused} sends were not acknowledged at first"
            hold(verdicts)
            row.caught[build] = await is_caught(control, lambda one: _finish(one, loads[1]))
        finally:
            for load in loads:
                load.cancel()
                with suppress(asyncio.CancelledError):
                    await load
    assert row.caught[build]


async def _finish(control: Trial, load: asyncio.Task[None]) -> None:
    async with asyncio.timeout(CONTROL_SECONDS):
        await asyncio.shield(load)
    await control.settle(CONTROL_SECONDS)


@pytest.mark.fault("T7")
async def test_a_rolling_restart_loses_and_doubles_nothing(cluster: Cluster, prefix: str, tmp_path: Path, row: Row) -> None:
    """Each of three brokers is restarted in order, one after the other."""

    async def hurt(trial: Trial, _control: Trial) -> None:
        for _ in range(ROUNDS):
            for number in cluster.brokers:
                await cluster.restart(number, signal.SIGTERM, 0)
                trial.faults += 1
                await _flows_again(trial)

    await _prove(row, cluster, prefix, tmp_path, "unacknowledged", hurt)


@pytest.mark.fault("T8")
async def test_a_broker_that_is_killed_loses_and_doubles_nothing(cluster: Cluster, prefix: str, tmp_path: Path, row: Row) -> None:
    """Each of three brokers is killed in turn, while its followers lag: among them the leader of each partition, and both coordinators."""

    async def hurt(trial: Trial, _control: Trial) -> None:
        for _ in range(ROUNDS):
            for number, broker in cluster.brokers.items():
                followers = [other for name, other in cluster.brokers.items() if name != number]
                for follower in followers:
                    follower.send_signal(signal.SIGSTOP)
                await asyncio.sleep(1)  # what the leader takes in this second is on its disk only
                await broker.stop(signal.SIGKILL)
                for follower in followers:
                    follower.send_signal(signal.SIGCONT)
                trial.faults += 1
                await _flows_again(trial)
                await broker.start()
                await broker.ready()
                await asyncio.sleep(3)  # its partitions are in sync again: no two of three are ever away

    await _prove(row, cluster, prefix, tmp_path, "leader_only", hurt)


@pytest.mark.fault("T9")
async def test_a_broker_that_stands_still_loses_and_doubles_nothing(cluster: Cluster, prefix: str, tmp_path: Path, row: Row) -> None:
    """SIGSTOP of one broker for 30 s: the others take over, and when it wakes it is no leader any more."""

    async def hurt(trial: Trial, _control: Trial) -> None:
        stopped_one = next(broker for number, broker in cluster.brokers.items() if number != cluster.controller())
        stopped_one.send_signal(signal.SIGSTOP)
        trial.faults += 1
        stopped = time.monotonic()
        await _flows_again(trial)
        await asyncio.sleep(max(0.0, 30 - (time.monotonic() - stopped)))
        stopped_one.send_signal(signal.SIGCONT)
        await _flows_again(trial)

    await _prove(row, cluster, prefix, tmp_path, "unacknowledged", hurt)


@pytest.mark.fault("T10")
async def test_partitions_without_a_leader_come_back_by_themselves(
    cluster: Cluster, prefix: str, tmp_path: Path, row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Partitions whose only copy is away for 45 s, beyond the request timeout: producers are made anew, and no sequence is out of order.

    No transaction is open when the copy goes away. Kafka's coordinator skips the marker of a partition that has no leader, as of one that was deleted
    (kafka.coordinator.transaction.TransactionMarkerChannelManager), and the next transaction's marker then decides about the records of both:
    no producer can prevent that, three copies can.
    """
    monkeypatch.setattr("pipeline.runtime.brokers.kafka_admin.REPLICAS", 1)

    async def hurt(trial: Trial, control: Trial) -> None:
        for one in (trial, control):
            one.load.open.clear()
        for one in (trial, control):
            await one.settle()
        await cluster.brokers[3].stop(signal.SIGKILL)
        trial.faults += 1
        for one in (trial, control):
            one.load.open.set()
        await asyncio.sleep(45)
        await cluster.brokers[3].start()
        await cluster.brokers[3].ready()
        await _flows_again(trial)

    await _prove(row, cluster, prefix, tmp_path, "reused", hurt)
