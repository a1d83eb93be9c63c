"""The monitor on a real Kafka: it counts what was committed, once, and counts right again after it was killed."""

import asyncio
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any, Protocol

import aiohttp
import pytest
from aiokafka import AIOKafkaProducer

from pipeline.app.local.kafka import free_port
from pipeline.model.ledger import Row, Tally, ledger_key, ledger_value
from pipeline.model.record import Output
from pipeline.model.topics import declared_topics, topic_name
from pipeline.runtime.brokers.kafka import KafkaBroker

pytestmark = pytest.mark.integration
pytest.importorskip("faust", reason="faust-streaming has no wheel for this machine")

WAIT_SECONDS = 40
PASSED = Row("web", "track", "Order Completed", "passed")
DROPPED = Row("web", "page", "", "dropped", "duplicate")
PROGRAM = """
import sys
from pathlib import Path
from pipeline.app.monitor.run import run_monitor

run_monitor(bootstrap=sys.argv[1], prefix=sys.argv[2], home=Path(sys.argv[3]), port=int(sys.argv[4]))
"""


class Kafka(Protocol):
    """What the fixture gives."""

    bootstrap: str


class Running:
    """Monitors of one workspace, one after the other."""

    def __init__(self, bootstrap: str, prefix: str, home: Path) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.home = home
        self.port = free_port()

    @contextmanager
    def started(self) -> Iterator[Popen[bytes]]:
        """Run a monitor, and kill it at the latest at the end."""
        command = [sys.executable, "-c", PROGRAM, self.bootstrap, self.prefix, str(self.home), str(self.port)]
        with (self.home / "monitor.log").open("ab") as log, Popen(command, stdout=log, stderr=log, start_new_session=True) as process:
            try:
                yield process
            finally:
                process.kill()

    async def ask(self, query: str = "minutes=1440") -> tuple[int, Any]:
        """Ask for volumes; status 0 while nobody answers."""
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(f"http://127.0.0.1:{self.port}/volumes.json?{query}") as response:
                    return response.status, await response.json(content_type=None) if response.ok else await response.text()
            except aiohttp.ClientConnectorError:
                return 0, None

    async def until(self, expected: dict[Row, int]) -> None:
        """Wait until these are the counts; they never are more."""
        deadline = time.monotonic() + WAIT_SECONDS
        counts: dict[Row, int] | None = None
        while counts != expected:
            assert time.monotonic() < deadline, f"{counts}; {(self.home / 'monitor.log').read_text(encoding='utf-8')}"
            await asyncio.sleep(0.2)
            status, answer = await self.ask()
            counts = totals(answer) if status == 200 else None
            assert all(count <= expected.get(row, 0) for row, count in (counts or {}).items()), counts


def totals(answer: Any) -> dict[Row, int]:  # noqa: ANN401 (JSON)
    """Add the minutes of an answer up."""
    return {Row(*(series[name] for name in Row._fields)): sum(series["counts"]) for series in answer["series"]}


@pytest.fixture
async def running(kafka: Kafka, prefix: str, tmp_path: Path) -> Running:
    """A workspace with a ledger, and no monitor yet."""
    declared = [topic for topic in declared_topics(prefix, destinations=(), dedup_processors=()) if topic.name == topic_name(prefix, "ledger")]
    await KafkaBroker(kafka.bootstrap).admin().create(declared)
    return Running(kafka.bootstrap, prefix, tmp_path)


def value(number: int, at_ms: int) -> bytes:
    """Write the ledger record of a transaction that took three inputs."""
    tally = Tally()
    tally.rows[PASSED] = 2
    tally.rows[DROPPED] = 1
    return ledger_value(tally, processor="validate", topic="raw", partition=0, start=number * 4, end=number * 4 + 3, at_ms=at_ms)


async def commit(running: Running, values: Sequence[bytes]) -> None:
    """Write ledger records, each in a transaction of its own, as processors do."""
    transactions = KafkaBroker(running.bootstrap).transactions(f"{running.prefix}-test")
    await transactions.start()
    for record in values:
        await transactions.commit(
            [Output(topic_name(running.prefix, "ledger"), ledger_key("validate", "raw", 0), record)], {}, f"{running.prefix}.test"
        )
    await transactions.stop()


async def abort(running: Running, record: bytes) -> None:
    """Write a ledger record in a transaction that is aborted."""
    producer = AIOKafkaProducer(bootstrap_servers=running.bootstrap, transactional_id=f"{running.prefix}-aborted")
    await producer.start()
    try:
        await producer.begin_transaction()
        await producer.send_and_wait(topic_name(running.prefix, "ledger"), record)
        await producer.abort_transaction()
    finally:
        await producer.stop()


async def ended(process: Popen[bytes], seconds: float) -> int:
    """Wait for a process to end."""
    return await asyncio.wait_for(asyncio.to_thread(process.wait), seconds)


async def test_counts_committed_records_once_and_survives_being_killed(running: Running) -> None:
    """Records written twice count once, aborted ones never; killed and started again, the monitor goes on from the same counts."""
    at_ms = time.time_ns() // 1_000_000
    values = [value(number, at_ms + number) for number in range(30)]
    await commit(running, values[:10] + values[:10])
    await abort(running, value(900, at_ms + 5))
    await commit(running, values[10:20])
    with running.started() as process:
        await running.until({PASSED: 40, DROPPED: 20})
        process.send_signal(signal.SIGKILL)
        await ended(process, 5)
    await commit(running, values[15:])
    with running.started() as process:
        await running.until({PASSED: 60, DROPPED: 30})
        process.send_signal(signal.SIGTERM)
        assert await ended(process, 5) == 0


async def test_restores_a_lost_store_and_a_damaged_one(running: Running) -> None:
    """Whatever became of the files, the counts come back from the changelog, though the ledger is not read again."""
    at_ms = time.time_ns() // 1_000_000
    await commit(running, [value(number, at_ms + number) for number in range(5)])
    with running.started() as process:
        await running.until({PASSED: 10, DROPPED: 5})
        process.send_signal(signal.SIGTERM)
        assert await ended(process, 5) == 0
    damaged = sorted(running.home.rglob("CURRENT"))
    assert damaged
    for path in damaged:
        path.write_bytes(b"damaged")
    with running.started():
        await running.until({PASSED: 10, DROPPED: 5})
    assert "is made anew" in (running.home / "monitor.log").read_text(encoding="utf-8")


async def test_answers_what_it_was_asked(running: Running) -> None:
    """Minutes that are no number of a day are refused; a foreign name for this address is refused."""
    with running.started():
        await running.until({})
        assert (await running.ask("minutes=1441"))[0] == 400
        assert (await running.ask("minutes=-1"))[0] == 400
        status, answer = await running.ask("minutes=3")
        assert (status, len(answer["minutes"]), answer["series"], answer["processors"]) == (200, 3, [], {})
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{running.port}/volumes.json", headers={"Host": "evil.example"}) as response,
        ):
            assert response.status == 403
