"""Two unmodified SDKs against the collector, as CI runs them; `make sdks` runs all of them against a whole run."""

from __future__ import annotations

import asyncio
import json  # values hold integers beyond 64 bits
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.integration.collector_over_http import SteeredProducer, collector
from tests.sdks import script
from tests.sdks.clients import CLIENTS, FOLDER, Client
from tests.sdks.installing import install
from tests.sdks.reconcile import reconcile

PYTHON, NODE = (next(client for client in CLIENTS if client.folder == folder) for folder in ("segment_python", "segment_node"))


@pytest.mark.sdk
@pytest.mark.parametrize(
    ("client", "mode"),
    [
        (PYTHON, ""),
        (PYTHON, "gzip"),
        pytest.param(NODE, "", marks=pytest.mark.skipif(not shutil.which("npm"), reason="needs node and npm")),
    ],
    ids=["python", "python-gzip", "node"],
)
async def test_every_call_arrives_once_with_equal_values_and_in_order(client: Client, mode: str, tmp_path: Path) -> None:
    """Each message id is stored once, with the values that were given and the SDK's name, in the order of its person's calls."""
    if client is PYTHON:  # installed beside pytest
        command = [sys.executable, str(FOLDER / client.folder / "send.py")]
    else:
        command = await asyncio.to_thread(install, client, tmp_path / client.folder)
    calls = script.calls("p", rounds=5)
    await asyncio.to_thread(script.write, tmp_path / "calls", calls)
    producer = SteeredProducer()
    async with collector(producer) as running:
        arguments = (f"http://127.0.0.1:{running.port}", "demo", str(tmp_path / "calls"), "0", *([mode] if mode else []))
        process = await asyncio.create_subprocess_exec(*command, *arguments, stdout=asyncio.subprocess.PIPE)
        printed, _ = await process.communicate()
    assert (process.returncode, printed) == (0, b"")
    stored = [json.loads(output.value or b"") for output in producer.stored]
    result = reconcile(client, calls, stored, gave_up=(), prefix="p")
    assert (result.sent, result.stored, result.doubled, result.unknown, result.different) == (len(calls), len(calls), [], [], [])
    assert not any("writeKey" in message for message in stored)
    assert {message["context"]["library"]["name"] for message in stored} == {client.package.removeprefix("segment-")}
    by_person = defaultdict(list)
    for message in stored:
        by_person[message.get("anonymousId") or message["userId"]].append(message["messageId"])
    order = {call["messageId"]: number for number, call in enumerate(calls)}
    assert all(ids == sorted(ids, key=order.__getitem__) for ids in by_person.values())
