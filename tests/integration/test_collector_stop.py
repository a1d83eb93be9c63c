"""The collector is told to stop while clients send: what was accepted is answered and stored, and the process ends well."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from pipeline.app.local.kafka import free_port
from pipeline.runtime.brokers.kafka import KafkaBroker
from tests.conftest import Kafka
from tests.integration.collector_over_http import AUTHORIZATION, connection

pytestmark = pytest.mark.integration

CLIENTS = 16
ROOT = Path(__file__).resolve().parents[2]


class Sent:
    """What became of what clients sent.

    Attributes:
        stored: Message ids that were answered with 200.
        refused: Those that got another answer.
        cut: Those whose connection ended without an answer.
    """

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.refused: list[str] = []
        self.cut: list[str] = []

    async def send(self, client: int, port: int) -> None:
        """Send one event after another over one kept-alive connection, until it is ended or nobody listens any more."""
        number = 0
        while True:
            try:
                async with connection(port) as kept:
                    while True:
                        number += 1
                        message_id = f"{client}-{number}"
                        body = orjson.dumps({"userId": f"u-{client}", "messageId": message_id})
                        try:
                            answer = await kept.ask("POST /v1/page", AUTHORIZATION, body=body)
                        except (ConnectionError, asyncio.IncompleteReadError):
                            self.cut.append(message_id)
                            break
                        (self.stored if answer.status == 200 else self.refused).append(message_id)
                        if answer.headers.get("connection", "").lower() == "close":
                            break
            except ConnectionRefusedError:
                return


def _headrace(folder: Path, kafka: Kafka, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "HEADRACE_HOME": str(folder / "home"), "HEADRACE_BOOTSTRAP": kafka.bootstrap, "PYTHONPATH": str(ROOT)}
    environment["WEB_WRITE_KEY"] = "demo"
    with (folder / "headrace.log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", "pipeline.app.cli", *arguments], cwd=folder, env=environment, stdout=log, stderr=log)


@asynccontextmanager
async def _collecting(folder: Path, kafka: Kafka, port: int) -> AsyncIterator[subprocess.Popen[bytes]]:
    process = _headrace(folder, kafka, "run", "collector", "--port", str(port))
    try:
        async with asyncio.timeout(60):
            while True:
                try:
                    async with connection(port) as one:
                        if (await one.ask("GET /health/ready")).status == 200:
                            break
                except OSError:
                    assert process.poll() is None, (folder / "headrace.log").read_text(encoding="utf-8")
                await asyncio.sleep(0.1)
        yield process
    finally:
        process.kill()
        process.wait()


async def test_what_was_accepted_before_sigterm_is_answered_and_stored(tmp_path: Path, kafka: Kafka, prefix: str) -> None:
    """16 clients send over kept-alive connections: each 2xx lies once in raw, nothing is stored whose client was cut off, and the exit is 0."""
    for arguments in (("init", "--name", prefix), ("source", "add", "web"), ("apply",)):
        assert await asyncio.to_thread(_headrace(tmp_path, kafka, *arguments).wait, 60) == 0, (tmp_path / "headrace.log").read_text(encoding="utf-8")
    port, sent = free_port(), Sent()
    async with _collecting(tmp_path, kafka, port) as process:
        clients = [asyncio.create_task(sent.send(number, port)) for number in range(CLIENTS)]
        async with asyncio.timeout(60):
            while len(sent.stored) < 500:  # noqa: ASYNC110 (only the answers tell)
                await asyncio.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 30) == 0, (tmp_path / "headrace.log").read_text(encoding="utf-8")
        await asyncio.gather(*clients)
    raw = [
        orjson.loads(record.value or b"")["messageId"]
        async for records in KafkaBroker(kafka.bootstrap).reader().read(f"{prefix}.raw")
        for record in records
    ]
    assert sorted(sent.stored) == sorted(set(raw) & set(sent.stored))
    assert len(raw) == len(set(raw))
    assert set() == set(sent.cut) & set(raw)
