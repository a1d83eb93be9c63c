"""The application without a server: bounds that need no socket to be shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import orjson
import pytest

from pipeline.app.collector import requests
from pipeline.app.collector.counts import Counts
from pipeline.app.collector.outbox import Outbox
from pipeline.app.collector.requests import Application
from pipeline.ingest import WriteKeys
from pipeline.runtime.metrics.memory import MemoryMetrics
from tests.integration.collector_over_http import WORKSPACE, LeapingClock, SteeredProducer


class Request:
    """Both halves of a request as granian gives them."""

    method = "POST"
    path = "/v1/batch"
    query_string = ""
    client = "[::1]:40000"

    def __init__(self, pieces: Sequence[bytes], *, declared: int | None) -> None:
        self.headers = {"authorization": "Basic ZGVtbzo="}
        if declared is not None:
            self.headers["content-length"] = str(declared)
        self.pieces = pieces
        self.read = 0
        self.status = 0
        self.body = b""

    async def __call__(self) -> bytes:
        """Give the whole body."""
        self.read = len(self.pieces)
        return b"".join(self.pieces)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the body in pieces."""
        for piece in self.pieces:
            self.read += 1
            yield piece

    async def client_disconnect(self) -> None:
        """Never leave."""
        await asyncio.Event().wait()

    def response_bytes(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """Keep the answer."""
        self.status, self.body = status, body

    def response_stream(self, status: int, headers: Sequence[tuple[str, str]]) -> requests.Transport:
        """Do not stream."""
        raise NotImplementedError


def application(outbox: Outbox) -> Application:
    """Make an application around an outbox."""
    return Application(
        outbox=outbox,
        counts=Counts(MemoryMetrics()),
        workspace=lambda: WORKSPACE,
        keys=lambda: WriteKeys({"demo": "web"}),
        clock=LeapingClock(),
        routes={},
        nonce="n",
    )


def padded(size: int) -> bytes:
    """Write a legal batch of so many bytes."""
    body = b'{"batch":[{"type":"page","userId":"u"}]}'
    return body + b" " * (size - len(body))


@pytest.mark.parametrize(
    ("declared", "pieces"), [(64, [padded(64)]), (600_000, [padded(600_000)]), (2_000_000, [padded(1_000_000)] * 2), (None, [padded(64)])]
)
async def test_a_full_collector_says_503(declared: int | None, pieces: list[bytes]) -> None:
    """Above the bound a request is answered at once, without a wait for the broker; its body is read, so that the client hears it."""
    producer = SteeredProducer()
    producer.gate.clear()
    outbox = Outbox(producer, LeapingClock(), most_bytes=1000)
    waiting = outbox.put([], 980)
    request = Request(pieces, declared=declared)
    await application(outbox).__rsgi__(request, request)
    assert (request.status, orjson.loads(request.body)["code"]) == (503, "overloaded")
    assert outbox.held_bytes == 980
    producer.gate.set()
    assert await waiting


@pytest.mark.parametrize(("declared", "size"), [(600_000, 600_000), (2_000_000, 2_000_000), (None, 2_000_000), (None, 10)])
async def test_a_body_is_held_no_longer_than_it_arrives(declared: int | None, size: int) -> None:
    """However a body was read, nothing stays held after the answer."""
    outbox = Outbox(SteeredProducer(), LeapingClock())
    body = padded(size)[:size]
    request = Request([body[:1000], body[1000:]], declared=declared)
    await application(outbox).__rsgi__(request, request)
    await outbox.drain()
    assert request.status == (400 if size == 10 else 200)
    assert outbox.held_bytes == 0


async def test_endless_bodies_end() -> None:
    """A body beyond 8 MiB is thrown away piece by piece, and after 64 MiB nobody listens any more."""
    outbox = Outbox(SteeredProducer(), LeapingClock())
    request = Request([b" " * 1_000_000] * 100, declared=None)
    await application(outbox).__rsgi__(request, request)
    assert request.status == 413
    assert 60 < request.read < 70
    assert outbox.held_bytes == 0


async def test_a_bug_of_ours_is_a_dead_letter(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The client gets its 200, the body waits for someone in dead letters, and the log has the traceback."""

    def failing(*_arguments: object) -> None:
        raise LookupError("bug")

    monkeypatch.setattr(requests, "collect", failing)
    producer = SteeredProducer()
    request = Request([b"body"], declared=4)
    await application(Outbox(producer, LeapingClock())).__rsgi__(request, request)
    (letter,) = producer.stored
    assert (request.status, letter.topic, letter.value) == (200, "shop.dead.ingest", b"body")
    assert "LookupError: bug" in caplog.text
