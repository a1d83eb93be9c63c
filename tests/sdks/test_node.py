"""The unmodified @segment/analytics-node against the collector."""

from __future__ import annotations

import asyncio
import json  # values are integers beyond 64 bits
import shutil
from pathlib import Path

import pytest

from tests.acceptance.sent import compare, read_ledgers
from tests.acceptance.traffic import install_node_sdk
from tests.integration.collector_over_http import SteeredProducer, collector

pytestmark = [pytest.mark.sdk, pytest.mark.skipif(not shutil.which("npm"), reason="needs node and npm")]

CALLS = 200


async def test_every_call_arrives_once_with_equal_values(tmp_path: Path) -> None:
    """Every message id is stored once, with the values that were given."""
    driver = await asyncio.to_thread(install_node_sdk, tmp_path / "sdks")
    ledger = tmp_path / "sent.ndjson"
    producer = SteeredProducer()
    async with collector(producer) as running:
        arguments = (f"http://127.0.0.1:{running.port}", "demo", str(CALLS), "node", str(ledger))
        process = await asyncio.create_subprocess_exec("node", str(driver), *arguments)
        assert await process.wait() == 0
    sent = read_ledgers([ledger])
    assert len(sent) == CALLS
    stored = [json.loads(output.value or b"") for output in producer.stored]
    assert compare(sent, stored) == ([], [], [], [])
