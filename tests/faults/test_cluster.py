"""Three real brokers: restarted, killed, stopped and cut off from their partitions, while members work and a load is sent."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pipeline.runtime.brokers.kafka import KafkaProducer
from tests.faults.cluster import Cluster
from tests.faults.report import Row
from tests.faults.trial import ROUNDS, Trial, prove

pytestmark = [pytest.mark.faults, pytest.mark.integration]

LOAD_SECONDS = 240.0
"""Longest time that the rest of the load may take after the last fault."""
BACK_SECONDS = 90.0
"""Longest time until events flow again. The reference asks for 30 s after the brokers have new leaders, of a machine that has nothing else to do:
the report says how long it took."""


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """Three brokers."""
    one = Cluster(tmp_path / "brokers")
    try:
        await one.start()
        yield one
    finally:
        await one.stop()


async def _flows_again(trial: Trial, row: Row) -> None:
    """Wait until what is sent from now on comes through, and note how long it took."""
    began = time.monotonic()
    await trial.progress(300, seconds=BACK_SECONDS + 1)
    took = time.monotonic() - began
    row.recovery_seconds = max(row.recovery_seconds or 0.0, took)
    assert took <= BACK_SECONDS, f"nothing comes through {took:.0f} s after the fault"


async def _with_load(trial: Trial, events: int, seconds: float) -> asyncio.Task[None]:
    for _ in range(2):
        await trial.join()
    load = asyncio.create_task(trial.load.send(events, seconds))
    await trial.progress(300, seconds=60)
    return load


async def _finish(trial: Trial, load: asyncio.Task[None]) -> None:
    async with asyncio.timeout(LOAD_SECONDS):
        await load
    await trial.settle()


@pytest.mark.fault("T7")
async def test_a_rolling_restart_loses_and_doubles_nothing(cluster: Cluster, prefix: str, tmp_path: Path, row: Row) -> None:
    """Each of three brokers is restarted in order, one after the other."""

    async def scenario(trial: Trial) -> None:
        load = await _with_load(trial, 15_000 * ROUNDS, 60 * ROUNDS)
        for _ in range(ROUNDS):
            for number in cluster.brokers:
                await cluster.restart(number, signal.SIGTERM, 0)
                trial.faults += 1
                await _flows_again(trial, row)
        await _finish(trial, load)

    await prove(row, cluster.bootstrap, prefix, tmp_path, scenario)


@pytest.mark.fault("T8")
async def test_a_broker_that_is_killed_loses_and_doubles_nothing(cluster: Cluster, prefix: str, tmp_path: Path, row: Row) -> None:
    """Each of three brokers is killed in turn: among them the leader of each partition, and both coordinators."""

    async def scenario(trial: Trial) -> None:
        load = await _with_load(trial, 20_000 * ROUNDS, 80 * ROUNDS)
        for _ in range(ROUNDS):
            for number in cluster.brokers:
                await cluster.brokers[number].stop(signal.SIGKILL)
                trial.faults += 1
                await _flows_again(trial, row)
                await cluster.brokers[number].start()
                await cluster.brokers[number].ready()
                await asyncio.sleep(3)  # its partitions are in sync again: no two of three are ever away
        await _finish(trial, load)

    await prove(row, cluster.bootstrap, prefix, tmp_path, scenario)


@pytest.mark.fault("T9")
async def test_a_broker_that_stands_still_loses_and_doubles_nothing(cluster: Cluster, prefix: str, tmp_path: Path, row: Row) -> None:
    """SIGSTOP of one broker for 30 s: the others take over, and when it wakes it is no leader any more."""

    async def scenario(trial: Trial) -> None:
        load = await _with_load(trial, 15_000 * ROUNDS, 60 * ROUNDS)
        cluster.brokers[2].send_signal(signal.SIGSTOP)
        trial.faults += 1
        stopped = time.monotonic()
        await _flows_again(trial, row)
        await asyncio.sleep(max(0.0, 30 - (time.monotonic() - stopped)))
        cluster.brokers[2].send_signal(signal.SIGCONT)
        await _flows_again(trial, row)
        await _finish(trial, load)

    await prove(row, cluster.bootstrap, prefix, tmp_path, scenario)


@pytest.mark.fault("T10")
async def test_partitions_without_a_leader_come_back_by_themselves(
    cluster: Cluster, prefix: str, tmp_path: Path, row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Partitions whose only copy is away for 45 s, beyond the request timeout: producers are made anew, and no sequence is out of order."""
    monkeypatch.setattr("pipeline.runtime.brokers.kafka_admin.REPLICAS", 1)

    async def scenario(trial: Trial) -> None:
        load = await _with_load(trial, 10_000, 80)
        await cluster.brokers[3].stop(signal.SIGKILL)
        trial.faults += 1
        await asyncio.sleep(45)
        await cluster.brokers[3].start()
        await cluster.brokers[3].ready()
        await _flows_again(trial, row)
        await _finish(trial, load)

    await prove(row, cluster.bootstrap, prefix, tmp_path, scenario)

    async def kept(_self: KafkaProducer, _producer: object) -> None:
        """Go on with a producer whose batch has expired (aio-libs/aiokafka#1017)."""

    monkeypatch.setattr(KafkaProducer, "_discard", kept)
    try:
        await prove(Row(), cluster.bootstrap, f"{prefix}-kept", tmp_path / "kept", scenario)
    except (AssertionError, TimeoutError):
        row.caught["producer_kept"] = True
    else:
        row.caught["producer_kept"] = False
