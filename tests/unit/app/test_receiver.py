"""The local receiver verifies, counts and fails as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from pipeline.app.local.kafka import free_port
from pipeline.app.receiver import Faults, Receipts, Receiver, is_verified, serve_receiver
from pipeline.deliver.signature import sign
from pipeline.ports.http import Answer, Request
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.http.pooled_client import PooledClient

NEVER = Faults(busy=0, failing=0)


@asynccontextmanager
async def running(receiver: Receiver) -> AsyncIterator[tuple[PooledClient, str]]:
    """Run a receiver on a free port; gives a client and the address."""
    port, stop = free_port(), asyncio.Event()
    serving = asyncio.create_task(serve_receiver(receiver, port=port, stop=stop))
    client, url = PooledClient(private_addresses=True), f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(10):
            while (await client.send(Request("GET", f"{url}/health", {}, b""))).status != 200:  # noqa: ASYNC110 (what it waits for is not of our making)
                await asyncio.sleep(0.01)
        yield client, url
    finally:
        await client.close()
        stop.set()
        await serving


async def post(client: PooledClient, url: str, identifier: str, secret: str = "s3cret") -> Answer:  # noqa: S107 (a secret of the test's own)
    """Send a signed request."""
    seconds, body = SystemClock().now_ms() // 1000, b'{"a":1}'
    headers = {"webhook-id": identifier, "webhook-timestamp": str(seconds), "webhook-signature": sign(secret, identifier, seconds, body)}
    return await client.send(Request("POST", url, headers, body))


async def receipts(client: PooledClient, url: str) -> Any:  # noqa: ANN401 (JSON)
    """Ask what it got, ids included."""
    return orjson.loads((await client.send(Request("GET", f"{url}/receipts?ids", {}, b""))).body)


async def test_counts_ids_duplicates_and_refusals() -> None:
    """Three requests with two ids are noted as such; one with a wrong signature is refused and noted apart."""
    async with running(Receiver("s3cret", clock=SystemClock(), faults=NEVER)) as (client, url):
        statuses = [(await post(client, f"{url}/crm", identifier)).status for identifier in ("a", "b", "a")]
        assert [200, 200, 200] == statuses
        assert 401 == (await post(client, f"{url}/crm", "c", "wrong")).status
        assert 404 == (await post(client, f"{url}/other", "c")).status
        seen = await receipts(client, url)
    crm = seen["/crm"]
    assert (3, 2, 1, 1) == (crm["total"], crm["distinct"], crm["duplicates"], crm["unverified"])
    assert (["a", "b"], {"200": 3, "401": 1}) == (crm["ids"], crm["answered"])
    assert ["a", "b", "a"] == [one["id"] for one in crm["recent"]]
    assert 0 == seen["/orders"]["total"]


async def test_fails_as_it_is_told() -> None:
    """Faults can be changed while it runs: all busy, with a wait; all failing; then none."""
    async with running(Receiver("", clock=SystemClock(), faults=NEVER)) as (client, url):
        for faults, status in (
            ({"busy": 1, "retry_after_seconds": 9}, 429),
            ({"busy": 0, "failing": 1}, 500),
            ({"busy": 0, "failing": 0, "refusing": 1}, 400),
            ({"busy": 0, "failing": 0}, 200),
        ):
            await client.send(Request("POST", f"{url}/faults", {}, orjson.dumps(faults)))
            answer = await post(client, f"{url}/crm", "a")
            assert (status, "9" if status == 429 else None) == (answer.status, answer.headers.get("retry-after"))
        assert 400 == (await client.send(Request("POST", f"{url}/faults", {}, b'{"colour":1}'))).status


def test_share_of_faults() -> None:
    """Of 10,000 requests about the declared share fails, the same ones each time."""
    faults = Faults(busy=0.05, failing=0.02, seed=7)
    statuses = [faults.status(number) for number in range(10_000)]
    assert statuses == [Faults(busy=0.05, failing=0.02, seed=7).status(number) for number in range(10_000)]
    assert 400 < statuses.count(429) < 600
    assert 120 < statuses.count(500) < 280
    assert {200} == {NEVER.status(number) for number in range(100)}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"webhook-timestamp": "1000", "webhook-signature": sign("s", "i", 1000, b"x")}, True),
        ({"webhook-timestamp": "1000", "webhook-signature": f"v1,AAAA {sign('s', 'i', 1000, b'x')}"}, True),
        ({"webhook-timestamp": "1000", "webhook-signature": sign("other", "i", 1000, b"x")}, False),
        ({"webhook-timestamp": "600", "webhook-signature": sign("s", "i", 600, b"x")}, False),
        ({"webhook-timestamp": "soon", "webhook-signature": ""}, False),
        ({}, False),
    ],
)
def test_verification(headers: dict[str, str], expected: bool) -> None:  # noqa: FBT001 (a column of the table)
    """A right signature counts, also beside another one; a wrong, missing or old one does not."""
    assert expected == is_verified("s", {"webhook-id": "i", **headers}, b"x", 1_000_500)


def test_memory_is_bounded() -> None:
    """Only the last thousand requests are kept whole."""
    receipts_ = Receipts()
    for number in range(1500):
        receipts_.accept(f"i-{number}", b"x" * 10_000, 0)
    assert (1000, 4096, 1500) == (len(receipts_.recent), len(receipts_.recent[0]["body"]), len(receipts_.ids))


async def test_takes_what_pages_send() -> None:
    """Without a signature, and even while the tools fail; an event is told by its message id."""
    async with running(Receiver("s3cret", clock=SystemClock(), faults=Faults(busy=1))) as (client, url):
        for body in (b'{"messageId":"m-1"}', b'{"messageId":"m-1"}', b"[]", b"{"):
            assert 200 == (await client.send(Request("POST", f"{url}/browser", {}, body))).status
        seen = (await receipts(client, url))["/browser"]
    assert (4, 2, ["", "m-1"]) == (seen["total"], seen["distinct"], seen["ids"])
