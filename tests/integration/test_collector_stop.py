"""The collector is told to stop while clients send: what was accepted is answered and stored, and the process ends well."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from pipeline.app.local.kafka import free_port
from tests.conftest import Kafka
from tests.integration.collector_process import Sent, collecting, declare, log_of, message_ids

pytestmark = pytest.mark.integration

CLIENTS = 16


async def test_what_was_accepted_before_sigterm_is_answered_and_stored(tmp_path: Path, kafka: Kafka, prefix: str) -> None:
    """16 clients send over kept-alive connections: each 2xx lies once in raw, nothing is stored whose client was cut off, and the exit is 0."""
    await declare(tmp_path, kafka, prefix)
    port, sent = free_port(), Sent()
    async with collecting(tmp_path, kafka, port) as process:
        clients = [asyncio.create_task(sent.send(number, port)) for number in range(CLIENTS)]
        await sent.until(500)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 30) == 0, log_of(tmp_path)
        await asyncio.gather(*clients)
    raw = await message_ids(kafka, f"{prefix}.raw")
    assert sorted(sent.stored) == sorted(set(raw) & set(sent.stored))
    assert len(raw) == len(set(raw))
    assert set() == set(sent.cut) & set(raw)
