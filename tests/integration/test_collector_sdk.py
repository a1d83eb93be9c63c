"""The unmodified segment-analytics-python against the collector."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from segment.analytics.client import Client

from tests.integration.collector_over_http import SteeredProducer, collector

CALLS = 50


def send_all(port: int, *, packed: bool) -> list[str]:
    """Send every kind of call with tricky values; give the message ids."""
    errors: list[Any] = []
    client = Client("demo", host=f"http://127.0.0.1:{port}", gzip=packed, on_error=lambda error, _items: errors.append(error), max_retries=0)
    tricky = {
        "text": "Zoë \u0000 \U0001f600",
        "nested": [[1, [2, {"a": None}]]],
        "big": 2**53 + 1,
        "huge": 10**30,
        "at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    ids: list[str] = []
    for number in range(CALLS):
        user = f"user-{number}"
        client.identify(user, tricky, message_id=f"{number}-i")
        client.track(user, "Order Completed", tricky, message_id=f"{number}-t")
        client.page(user, "Docs", "Index", tricky, message_id=f"{number}-p")
        client.screen(user, "Docs", "Index", tricky, message_id=f"{number}-s")
        client.group(user, "group", tricky, message_id=f"{number}-g")
        client.track(user, "Large", {"x": "x" * 31_000}, message_id=f"{number}-l")
        ids += [f"{number}-{letter}" for letter in "itpsgl"]
    client.shutdown()
    assert errors == []
    return ids


@pytest.mark.sdk
@pytest.mark.parametrize("packed", [False, True])
async def test_every_call_arrives_once_with_equal_values(packed: bool) -> None:  # noqa: FBT001 (pytest passes parameters by position)
    """Every message id is stored once, in its key's order, with the values that were given."""
    producer = SteeredProducer()
    async with collector(producer) as running:
        ids = await asyncio.to_thread(send_all, running.port, packed=packed)
    stored = producer.events()
    assert sorted(ids) == sorted(event["messageId"] for event in stored)
    track = next(event for event in stored if event["messageId"] == "7-t")
    assert track["properties"]["nested"] == [[1, [2, {"a": None}]]]
    assert track["properties"]["big"] == 2**53 + 1
    assert track["properties"]["text"] == "Zoë \u0000 \U0001f600"
    assert (track["userId"], track["event"], track["context"]["library"]["name"]) == ("user-7", "Order Completed", "analytics-python")
    assert "writeKey" not in track
    assert "sentAt" in track
    of_7 = [event["messageId"] for event in stored if event["userId"] == "user-7"]
    assert of_7 == [f"7-{letter}" for letter in "itpsgl"]
