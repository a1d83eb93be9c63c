"""A collector under attack: its process, what it costs, what it stored, a healthy client beside, and bytes sent as they are."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from tests.faults.tool_laws import percentile
from tests.integration.collector_over_http import AUTHORIZATION, ask, connection

HEAD = b"POST /v1/page HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic ZGVtbzo=\r\n"
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
_TICKS = os.sysconf("SC_CLK_TCK")


class Attacked(NamedTuple):
    """A collector that runs in a process of its own.

    Attributes:
        port: Its port.
        pid: Its process id.
        ledger: Where it writes what it stores.
        log: Where it logs.
    """

    port: int
    pid: int
    ledger: Path
    log: Path

    def cpu_seconds(self) -> float:
        """Give the CPU time that it has taken."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def rss_mb(self) -> float:
        """Give the memory that it holds, MB."""
        return self._memory_mb("VmRSS")

    def peak_mb(self) -> float:
        """Give the most memory that it has held since `forget_peak`, MB."""
        return self._memory_mb("VmHWM")

    def forget_peak(self) -> None:
        """Let the peak begin at the memory of now (proc(5), clear_refs)."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")

    def _memory_mb(self, name: str) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(name)) * 1024 / 1e6

    def files(self) -> int:
        """Give how many files it has open."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    def stored(self) -> dict[str, list[str]]:
        """Give the message ids of what it stored, by the end of the topic's name: `raw`, `dead.ingest`."""
        found: dict[str, list[str]] = {}
        for record in self._records():
            found.setdefault(record["topic"].removeprefix("shop."), []).append(record["id"])
        return found

    def values(self, topic: str = "raw") -> list[bytes]:
        """Give the values that it stored in a topic, in order; empty ones in place of those that are large."""
        return [record["value"].encode() for record in self._records() if record["topic"] == f"shop.{topic}"]

    def _records(self) -> Iterator[Any]:
        return map(orjson.loads, self.ledger.read_bytes().splitlines())


@asynccontextmanager
async def attacked(folder: Path, broken: str = "", *, seconds: float = 0) -> AsyncIterator[Attacked]:
    """Run a collector; at the end it is asked to stop, and has to.

    Args:
        folder: Folder of its files.
        broken: Name of a broken build, or empty for the product.
        seconds: What its deadlines are, where they shall be short enough for a test.
    """
    ledger, log = folder / f"ledger{broken}", folder / f"log{broken}"
    ledger.touch()
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.faults.collector_member", str(ledger), str(seconds), broken, stdout=asyncio.subprocess.PIPE, stderr=errors
        )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            port = int(await process.stdout.readline())
            await ask(port, "GET /")  # what the server opens for itself at its first request is there before anything is counted
        yield Attacked(port, process.pid, ledger, log)
        assert process.returncode is None, f"the collector ended: {log.read_text(encoding='utf-8')[-500:]}"
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await process.wait() == 0, log.read_text(encoding="utf-8")[-500:]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class Raw(NamedTuple):
    """What came of bytes.

    Attributes:
        statuses: Status of each answer, in order; 100 among them.
        closed: Whether the server ended the connection.
        text: All that came.
    """

    statuses: tuple[int, ...]
    closed: bool
    text: bytes


async def send_raw(port: int, data: bytes, *, wait: float = 0.4) -> Raw:
    """Send bytes on a connection of their own and read until the server ends it, or says nothing more for a while."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got, closed = b"", False
    try:
        writer.write(data)
        while True:
            async with asyncio.timeout(wait if got else 10):
                piece = await reader.read(1 << 16)
            if not piece:
                closed = True
                break
            got += piece
    except TimeoutError:
        pass
    except OSError:
        closed = True
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return Raw(tuple(int(status) for status in _STATUS.findall(got)), closed, got)


class Healthy:
    """A client that means well: an event every 20 ms, each second one on a new connection.

    Attributes:
        milliseconds: How long each took to its 200.
        failed: What went wrong.
        ids: Message ids that were answered with 200.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.milliseconds: list[float] = []
        self.failed: list[str] = []
        self.ids: list[str] = []

    async def run(self) -> None:
        """Send until cancelled."""
        async with connection(self._port) as kept:
            while True:
                for fresh in (False, True):
                    ident = f"healthy-{time.monotonic_ns()}"
                    body = orjson.dumps({"userId": "u", "messageId": ident})
                    began = time.monotonic()
                    try:
                        async with asyncio.timeout(5):
                            sending = (
                                ask(self._port, "POST /v1/page", AUTHORIZATION, body=body)
                                if fresh
                                else kept.ask("POST /v1/page", AUTHORIZATION, body=body)
                            )
                            status = (await sending).status
                    except (OSError, EOFError, TimeoutError) as error:
                        self.failed.append(f"{'a new' if fresh else 'the kept'} connection: {error!r}")
                        if not fresh:
                            return
                    else:
                        self.milliseconds.append((time.monotonic() - began) * 1000)
                        (self.ids if status == 200 else self.failed).append(ident if status == 200 else str(status))
                    await asyncio.sleep(0.02)

    def figures(self) -> str:
        """Say how it fared."""
        p50, p99 = percentile(self.milliseconds, 0.5), percentile(self.milliseconds, 0.99)
        return f"healthy client {len(self.ids)} events, p50 {p50:.0f} ms, p99 {p99:.0f} ms, {len(self.failed)} failed"


@asynccontextmanager
async def healthy(port: int) -> AsyncIterator[Healthy]:
    """Let a healthy client send while an attack goes on."""
    client = Healthy(port)
    task = asyncio.create_task(client.run())
    try:
        yield client
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
