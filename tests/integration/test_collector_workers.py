"""Several collectors behind one port: they share its connections, one that dies takes no accepted event along, and all know the same keys."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from pipeline.app.local.kafka import free_port
from tests.conftest import Kafka
from tests.integration.collector_over_http import AUTHORIZATION, ask, connection
from tests.integration.collector_process import Sent, collecting, command, declare, log_of, message_ids

pytestmark = [pytest.mark.integration, pytest.mark.skipif(sys.platform != "linux", reason="only Linux spreads connections over processes")]

CLIENTS = 16
CONNECTIONS = 64
SECOND_KEY = "web-second-key"
OLD = "x-write-key: demo"
NEW = f"x-write-key: {SECOND_KEY}"


def _workers(process: subprocess.Popen[bytes]) -> list[int]:
    """Give the process ids of a collector's workers."""
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()]


async def _until_up(port: int, *, least: int = 0) -> dict[str, int]:
    """Wait until both workers answer and have counted so many requests together; give how many pages each has taken, as either says."""
    async with asyncio.timeout(30):
        while True:
            try:
                text = (await ask(port, "GET /metrics")).body.decode()
            except (OSError, EOFError):
                text = ""
            taken = {number: int(float(count)) for number, count in re.findall(r'requests_total\{worker="(\d)",endpoint="page".* (\S+)', text)}
            if sum(taken.values()) >= least and all(f'headrace_worker_up{{worker="{number}"}} 1.0' in text for number in (1, 2)):
                return taken
            await asyncio.sleep(0.1)


async def _statuses(port: int, header: str, connections: int = CONNECTIONS) -> list[int]:
    """Send an event over each of several connections that are all open, and give the answers."""
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(connection(port)) for _ in range(connections)]
        body = b'{"type":"page","userId":"u","messageId":"%d"}'
        return [(await one.ask("POST /v1/page", header, body=body % number)).status for number, one in enumerate(opened)]


async def test_workers_share_connections_keys_and_rates(tmp_path: Path, kafka: Kafka, prefix: str) -> None:
    """Of 64 connections each of two workers answers some; a new key is known to both, a revoked one to none; a rate is that of both together."""
    await declare(tmp_path, kafka, prefix)
    workspace = tmp_path / "workspace.yaml"
    declared = workspace.read_text(encoding="utf-8")
    port = free_port()
    async with collecting(tmp_path, kafka, port, "--workers", "2") as process:
        await _until_up(port)
        assert await _statuses(port, AUTHORIZATION) == [200] * CONNECTIONS
        taken = await _until_up(port, least=CONNECTIONS)
        assert sum(taken.values()) == CONNECTIONS
        assert taken.keys() == {"1", "2"}

        rotated = declared.replace('write_keys: ["${env:WEB_WRITE_KEY}"]', f"write_keys: [{SECOND_KEY}]\n    rate: 1\n    burst: 20")
        assert rotated != declared
        workspace.write_text(rotated, encoding="utf-8")
        await command(tmp_path, kafka, "apply")
        async with asyncio.timeout(20):
            while set(await _statuses(port, OLD)) - {429} != {401}:  # 429 where both have seen many keys that are none
                pass
        statuses = await _statuses(port, NEW)
        assert set(statuses) == {200, 429}
        assert 20 <= statuses.count(200) <= 30

        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 30) == 0, log_of(tmp_path)


async def test_a_worker_that_is_killed_takes_no_accepted_event_along(tmp_path: Path, kafka: Kafka, prefix: str) -> None:
    """16 clients go on while one of two is killed, which is started again; on SIGTERM both store what they have accepted, and the exit is 0."""
    await declare(tmp_path, kafka, prefix)
    port, sent = free_port(), Sent()
    async with collecting(tmp_path, kafka, port, "--workers", "2") as process:
        await _until_up(port)
        clients = [asyncio.create_task(sent.send(number, port)) for number in range(CLIENTS)]
        await sent.until(300)
        killed = _workers(process)[0]
        os.kill(killed, signal.SIGKILL)
        await sent.until(len(sent.stored) + 300)
        await _until_up(port)
        assert killed not in _workers(process)
        assert len(_workers(process)) == 2
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 30) == 0, log_of(tmp_path)
        await asyncio.gather(*clients)
    raw = await message_ids(kafka, f"{prefix}.raw")
    assert set(sent.stored) <= set(raw)
    assert len(raw) == len(set(raw))
    assert sent.refused == []
    assert "starting it again" in log_of(tmp_path)
