"""`headrace run collector` in processes of its own, a workspace for it, and clients that keep account of what they were told."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson

from pipeline.runtime.brokers.kafka import KafkaBroker
from tests.conftest import Kafka
from tests.integration.collector_over_http import AUTHORIZATION, connection

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

    async def until(self, events: int) -> None:
        """Wait until so many events were answered with 200."""
        async with asyncio.timeout(60):
            while len(self.stored) < events:  # noqa: ASYNC110 (only the answers tell)
                await asyncio.sleep(0.01)


def headrace(folder: Path, kafka: Kafka, *arguments: str, broken: str = "") -> subprocess.Popen[bytes]:
    """Start a command in a folder, where its log lies too; `broken` names a broken build of the fault tests."""
    environment = {**os.environ, "HEADRACE_HOME": str(folder / "home"), "HEADRACE_BOOTSTRAP": kafka.bootstrap, "PYTHONPATH": str(ROOT)}
    environment["WEB_WRITE_KEY"] = "demo"
    if broken:
        environment |= {"HEADRACE_BROKEN": broken, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests/faults/broken_processes"), str(ROOT)])}
    with (folder / "headrace.log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", "pipeline.app.cli", *arguments], cwd=folder, env=environment, stdout=log, stderr=log)


async def declare(folder: Path, kafka: Kafka, prefix: str) -> None:
    """Put a workspace with the source `web` to work."""
    for arguments in (("init", "--name", prefix), ("source", "add", "web"), ("apply",)):
        await command(folder, kafka, *arguments)


async def command(folder: Path, kafka: Kafka, *arguments: str) -> None:
    """Run a command to its end, which must be a good one."""
    assert await asyncio.to_thread(headrace(folder, kafka, *arguments).wait, 60) == 0, log_of(folder)


def log_of(folder: Path) -> str:
    """Give what the commands in a folder said."""
    return (folder / "headrace.log").read_text(encoding="utf-8")


async def message_ids(kafka: Kafka, topic: str) -> list[str]:
    """Give the message ids in a topic, in their order."""
    return [
        orjson.loads(record.value or b"")["messageId"] async for records in KafkaBroker(kafka.bootstrap).reader().read(topic) for record in records
    ]


@asynccontextmanager
async def collecting(folder: Path, kafka: Kafka, port: int, *arguments: str, broken: str = "") -> AsyncIterator[subprocess.Popen[bytes]]:
    """Run a collector until the end, where it is killed; it is ready at the beginning."""
    process = headrace(folder, kafka, "run", "collector", "--port", str(port), *arguments, broken=broken)
    try:
        async with asyncio.timeout(60):
            while True:
                try:
                    async with connection(port) as one:
                        if (await one.ask("GET /health/ready")).status == 200:
                            break
                except OSError:
                    assert process.poll() is None, log_of(folder)
                await asyncio.sleep(0.1)
        yield process
    finally:
        process.kill()
        process.wait()
