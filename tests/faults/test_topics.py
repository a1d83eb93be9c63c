"""A member that starts without a broker, without a topic, and whose topic is not what it was: it waits and says why, and resets nothing."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from pipeline.app.local.kafka import free_port
from pipeline.model.record import Output
from pipeline.model.topics import Declared
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
    """Broker away, topic missing, topic made anew, partitions raised: not ready, with the reason; a new topic is read from its first record."""
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
        await _make_anew(trial)
        await _says_so(trial, first)
        await trial.load.send(1_000, 2)
        await trial.settle()
        sent = read_sent(trial.load.paths)
        verdicts = await trial.verdicts_of_now()
        trial.faults = 4
        row.kills, row.events, row.lost, row.doubled = trial.faults, len(sent.events), *(len(verdict.violations) for verdict in verdicts[:2])
        row.recovery_seconds = trial.recovery_seconds
        row.figures = f"broker away for {ABSENT_SECONDS:.0f} s; nothing moved for {STILL_SECONDS:.0f} s with {PARTITIONS + 2} partitions"
        hold(verdicts)
        await _refuses_more_partitions(trial, first)
        await control.create_topics()
        control.observer.start()
        number = await control.join("--watch")
        await control.load.send(1_000, 2)
        await control.settle()
        try:
            await _refuses_more_partitions(control, number)
        except (AssertionError, TimeoutError):
            row.caught[control.broken] = True
        assert row.caught[control.broken]
    finally:
        await trial.end()
        await control.end()


async def _make_input(trial: Trial) -> None:
    await trial.broker.admin().create([Declared(f"{trial.prefix}.input", PARTITIONS, {"message.timestamp.type": "LogAppendTime"})])


async def _make_anew(trial: Trial) -> None:
    """Delete the topic and make it once more; the broker forgets the group's offsets with it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=trial.broker.bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([f"{trial.prefix}.input"])
    finally:
        await admin.close()
    async with asyncio.timeout(30):
        while f"{trial.prefix}.input" in await trial.broker.admin().topics():  # noqa: ASYNC110 (the broker has no event)
            await asyncio.sleep(0.2)
    await _make_input(trial)


async def _says_so(trial: Trial, number: int) -> None:
    """Wait until a member has noticed: it has found the topic missing, or another one in its place."""
    async with asyncio.timeout(30):
        while "made anew" not in trial.log_of(number) and trial.log_of(number).count("NOT READY: there is no topic") < 2:  # noqa: ASYNC110 (its log has no event)
            await asyncio.sleep(0.1)


async def _refuses_more_partitions(trial: Trial, number: int) -> None:
    """Raise the topic's partitions and write to it: the member says why it does not go on, and neither reads nor commits."""
    admin = AIOKafkaAdminClient(bootstrap_servers=trial.broker.bootstrap)
    await admin.start()
    try:
        await admin.create_partitions({f"{trial.prefix}.input": NewPartitions(PARTITIONS + 2)})
    finally:
        await admin.close()
    said = f"NOT READY: the topic {trial.prefix}.input has {PARTITIONS + 2} partitions, not {PARTITIONS}"
    with suppress(TimeoutError):  # a broken build says nothing
        await trial.until_said(number, said, 20)
    positions, seen = await trial.broker.admin().positions(f"{trial.prefix}.split"), len(trial.observer.ids)
    producer = trial.broker.producer()
    stray = [Output(f"{trial.prefix}.input", b"stray-%d" % one, orjson.dumps(load_body(0, 1) | {"messageId": f"stray-{one}"})) for one in range(100)]
    await producer.send(stray)
    await producer.stop()
    await asyncio.sleep(STILL_SECONDS)
    assert positions == await trial.broker.admin().positions(f"{trial.prefix}.split")
    assert seen == len(trial.observer.ids)
    assert said in trial.log_of(number)
    assert trial.alive[number].returncode is None
