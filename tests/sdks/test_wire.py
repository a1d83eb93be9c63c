"""Requests of clients that cannot run here, as their sources make them: each is answered as they need it, and stored whole."""

from __future__ import annotations

import gzip
import json  # the values hold integers beyond 64 bits
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.sent import compare
from tests.integration.collector_over_http import SteeredProducer, collector, connection

FIXTURES = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((Path(__file__).parent / "wire").glob("*.json"))}


@pytest.mark.parametrize("fixture", FIXTURES.values(), ids=FIXTURES)
async def test_every_event_of_the_request_is_stored_with_its_values(fixture: dict[str, Any]) -> None:
    """The answer is 200 with a JSON object, and each message id is stored once, with the values that the client sent."""
    producer = SteeredProducer()
    async with collector(producer) as running, connection(running.port) as client:
        line, headers, body = _request(fixture)
        if "expect: 100-continue" in headers:
            client.writer.write("\r\n".join([f"{line} HTTP/1.1", "host: localhost", *headers, f"content-length: {len(body)}", "", ""]).encode())
            assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
            client.writer.write(body)
            answer = await client.answer()
        else:
            answer = await client.ask(line, *headers, body=body)
    assert (answer.status, answer.headers["content-type"], json.loads(answer.body)) == (200, "application/json", {"success": True})
    stored = [json.loads(output.value or b"") for output in producer.stored]
    assert compare({event["messageId"]: _filled(event) for event in fixture["body"]["batch"]}, stored) == ([], [], [], [])
    assert all("writeKey" not in event and event["sentAt"] == fixture["body"]["sentAt"] for event in stored)


def _request(fixture: dict[str, Any]) -> tuple[str, list[str], bytes]:
    request = fixture["request"]
    text = json.dumps(fixture["body"], ensure_ascii=request.get("escaped", False))
    body = (text.replace("/", "\\/") if request.get("escaped") else text).encode()
    if request["headers"].get("content-encoding") == "gzip":
        body = gzip.compress(body)
    return request["line"], [f"{name}: {value}" for name, value in request["headers"].items()], body


def _filled(event: dict[str, Any]) -> dict[str, Any]:
    """Null is the same as absent."""
    return {name: value for name, value in event.items() if value is not None}
