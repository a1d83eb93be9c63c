"""A member that starts without a broker, without a topic, and whose topic is not what it was: it waits and says why, and resets nothing."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from pipeline.app.local.kafka import free_port
from pipeline.model.record import Output, TopicPartition
from pipeline.model.topics import Declared
from pipeline.ports.broker import Position
from tests.faults.cluster import BrokerProcess
from tests.faults.laws import hold
from tests.faults.load import load_body
from tests.faults.member import PARTITIONS
from tests.faults.report import Row
from tests.faults.sent import read_sent
from tests.faults.trial import Trial

pytestmark = [pytest.mark.faults, pytest.mark.integration]

ABSENT_SECONDS = 20.0
STILL_SECONDS = 6.0
"""How long it is watched that nothing moves."""


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[BrokerProcess]:
    """One broker, which the test starts."""
    one = BrokerProcess(tmp_path / "broker", {}, free_port(), free_port())
    await one.format()
    try:
        yield one
    finally:
        await one.stop(signal.SIGKILL)


@pytest.mark.fault("T19")
async def test_a_member_waits_for_what_is_missing_and_refuses_what_has_changed(broker: BrokerProcess, prefix: str, tmp_path: Path, row: Row) -> None:
    """Broker away, topic missing, partitions raised, topic made anew: not ready, with the reason; no offset moves; a reset on purpose goes on."""
    bootstrap = f"127.0.0.1:{broker.port}"
    trial, control = (Trial(bootstrap, prefix + build, tmp_path / f"trial{build}", build) for build in ("", "silently_reset"))
    try:
        first = await trial.join("--watch")
        await asyncio.sleep(ABSENT_SECONDS)
        assert trial.alive[first].returncode is None
        assert "READY" not in trial.log_of(first).replace("NOT READY", "")
        await broker.start()
        await broker.ready()
        await trial.create_topics("input")
        await trial.until_said(first, f"there is no topic {prefix}.input")
        await _make_input(trial)
        trial.observer.start()
        await trial.load.send(2_000, 4)
        await trial.until_said(first, "READY")
        await trial.settle()
        hold(await trial.verdicts_of_now())
        await _refuses(trial, first, _raise_partitions, f"has {PARTITIONS + 2} partitions, not {PARTITIONS}")
        await _refuses(trial, first, _make_anew, "made anew")
        trial.faults = 4
        await _go_on(trial)
        sent = read_sent(trial.load.paths)
        verdicts = await trial.verdicts_of_now()
        row.kills, row.events, row.lost, row.doubled = trial.faults, len(sent.events), *(len(verdict.violations) for verdict in verdicts[:2])
        row.recovery_seconds = trial.recovery_seconds
        row.figures = (
            f"broker away for {ABSENT_SECONDS:.0f} s; nothing moved for {STILL_SECONDS:.0f} s with {PARTITIONS + 2} partitions, nor with a new topic"
        )
        hold(verdicts)
        await control.create_topics()
        control.observer.start()
        number = await control.join("--watch")
        await control.load.send(1_000, 2)
        await control.settle()
        try:
            await _refuses(control, number, _raise_partitions, f"has {PARTITIONS + 2} partitions, not {PARTITIONS}")
        except (AssertionError, TimeoutError):
            row.caught[control.broken] = True
        assert row.caught[control.broken]
    finally:
        await trial.end()
        await control.end()


async def _make_input(trial: Trial) -> None:
    await trial.broker.admin().create([Declared(f"{trial.prefix}.input", PARTITIONS, {"message.timestamp.type": "LogAppendTime"})])


async def _raise_partitions(trial: Trial, admin: AIOKafkaAdminClient) -> None:
    await admin.create_partitions({f"{trial.prefix}.input": NewPartitions(PARTITIONS + 2)})


async def _make_anew(trial: Trial, admin: AIOKafkaAdminClient) -> None:
    await admin.delete_topics([f"{trial.prefix}.input"])
    async with asyncio.timeout(30):
        while f"{trial.prefix}.input" in await trial.broker.admin().topics():  # noqa: ASYNC110 (the broker has no event)
            await asyncio.sleep(0.2)
    await _make_input(trial)


async def _refuses(trial: Trial, number: int, change: Callable[[Trial, AIOKafkaAdminClient], Awaitable[None]], reason: str) -> None:
    """Change the topic and write to it: the member says why it does not go on, and neither reads nor commits."""
    admin = AIOKafkaAdminClient(bootstrap_servers=trial.broker.bootstrap)
    await admin.start()
    try:
        await change(trial, admin)
    finally:
        await admin.close()
    await trial.until_said(number, f"NOT READY: the topic {trial.prefix}.input {reason}" if "has" in reason else reason, 30)
    positions, seen = await trial.broker.admin().positions(f"{trial.prefix}.split"), len(trial.observer.ids)
    producer = trial.broker.producer()
    await producer.send(
        [Output(f"{trial.prefix}.input", b"stray", orjson.dumps(load_body(0, 1) | {"messageId": f"stray-{one}"})) for one in range(100)]
    )
    await producer.stop()
    await asyncio.sleep(STILL_SECONDS)
    assert positions == await trial.broker.admin().positions(f"{trial.prefix}.split")
    assert seen == len(trial.observer.ids)
    assert trial.alive[number].returncode is None


async def _go_on(trial: Trial) -> None:
    """Set the group on purpose, past what was written to a topic that it did not read, and let a member go on."""
    await trial.kill(min(trial.alive))
    async with asyncio.timeout(30):
        while await trial.broker.admin().members(f"{trial.prefix}.split"):  # noqa: ASYNC110 (the broker has no event)
            await asyncio.sleep(0.5)
    bounds = await trial.broker.admin().lags(f"{trial.prefix}.nobody", [f"{trial.prefix}.input"])
    ends = {TopicPartition(*partition): Position(count) for partition, count in bounds.items()}
    await trial.broker.admin().set_positions(f"{trial.prefix}.split", ends)
    await trial.join(state="new")
    await trial.load.send(1_000, 2)
    await trial.settle()
