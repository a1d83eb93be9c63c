"""The local receiver: a small HTTP server on loopback that stands for the tools of a demo workspace.

It verifies signatures, notes every id, and now and then answers 429 or 500, as tools do. `GET /receipts` says what it got;
`POST /faults` with `{"busy": 0.1, "failing": 0, "refusing": 0.5}` changes how often it fails, and whether it refuses with 400.
"""

from __future__ import annotations

import asyncio
import hmac
import signal
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from pipeline.deliver.signature import sign
from pipeline.ports.clock import Clock
from pipeline.runtime.clock import SystemClock

PATHS: Final = ("/crm", "/orders")
"""The two tools."""
BROWSERS: Final = "/browser"
"""Where pages may send to in device mode: they hold no secret, so nothing is verified, and it never fails, since they do not try again."""
IDS_MOST: Final = 1_000_000
"""Ids of each tool that are remembered; a duplicate of an older one is not recognised."""
RECENT_MOST: Final = 1_000
TOLERANCE_SECONDS: Final = 300
"""How far the time of a request may be from ours (source: the Standard Webhooks specification)."""

_JSON: Final = [("content-type", "application/json")]


@dataclass(frozen=True, slots=True)
class Faults:
    """How often the receiver fails.

    Attributes:
        busy: Share of requests that are answered with 429 and `Retry-After`, 0 to 1.
        failing: Share of requests that are answered with 500, 0 to 1.
        refusing: Share of requests that are answered with 400, 0 to 1: what no retry helps.
        seed: The same seed makes the same requests fail.
        retry_after_seconds: What `Retry-After` says.
    """

    busy: float = 0.01
    failing: float = 0.01
    refusing: float = 0.0
    seed: int = 1
    retry_after_seconds: int = 5

    def status(self, number: int) -> int:
        """Choose the status of a request.

        Args:
            number: Which request of its path it is, from 0.

        Returns:
            429, 500, 400 or 200.
        """
        drawn = zlib.crc32(b"%d/%d" % (self.seed, number)) / 0x1_0000_0000
        if drawn < self.busy:
            return 429
        if drawn < self.busy + self.failing:
            return 500
        return 400 if drawn < self.busy + self.failing + self.refusing else 200


class Receipts:
    """What one tool got.

    Attributes:
        ids: Distinct ids of accepted requests, at most a million.
        total: Accepted requests, duplicates included.
        duplicates: Accepted requests whose id was accepted before.
        answered: How many requests were answered with each status.
        unverified: Requests whose signature was missing, wrong or too old.
        recent: The last thousand accepted requests.
    """

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.total = 0
        self.duplicates = 0
        self.answered: dict[int, int] = {}
        self.unverified = 0
        self.recent: deque[dict[str, Any]] = deque(maxlen=RECENT_MOST)

    def answer(self, status: int) -> None:
        """Count an answer."""
        self.answered[status] = self.answered.get(status, 0) + 1

    def accept(self, identifier: str, body: bytes, at_ms: int) -> None:
        """Note an accepted request.

        Args:
            identifier: Its id.
            body: Its body.
            at_ms: When it came, milliseconds since the epoch.
        """
        self.total += 1
        if identifier in self.ids:
            self.duplicates += 1
        elif len(self.ids) < IDS_MOST:
            self.ids.add(identifier)
        self.recent.append({"id": identifier, "at": at_ms, "body": body[:4096].decode("utf-8", "replace")})

    def shown(self, *, ids: bool) -> dict[str, Any]:
        """Give all of it for `/receipts`.

        Args:
            ids: Whether every id is listed too.

        Returns:
            JSON.
        """
        shown: dict[str, Any] = {
            "total": self.total,
            "distinct": len(self.ids),
            "duplicates": self.duplicates,
            "unverified": self.unverified,
            "answered": {str(status): count for status, count in sorted(self.answered.items())},
            "recent": list(self.recent),
        }
        if ids:
            shown["ids"] = sorted(self.ids)
        return shown


def is_verified(secret: str, headers: Mapping[str, str], body: bytes, now_ms: int) -> bool:
    """Verify a request after Standard Webhooks.

    Args:
        secret: The shared secret; where it is empty every request passes.
        headers: Header names in lower case, and values.
        body: The body as it came.
        now_ms: Wall time in milliseconds since the epoch.

    Returns:
        Whether one of its signatures is right and its time is near ours.
    """
    if not secret:
        return True
    identifier, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not identifier or not stamp.isdigit() or abs(now_ms / 1000 - int(stamp)) > TOLERANCE_SECONDS:
        return False
    expected = sign(secret, identifier, int(stamp), body).encode()
    return any(hmac.compare_digest(expected, one.encode()) for one in headers.get("webhook-signature", "").split(" "))


class _Scope(Protocol):
    method: str
    path: str
    query_string: str
    headers: Any


class _Exchange(Protocol):
    async def __call__(self) -> bytes: ...

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...


class Receiver:
    """The application (RSGI).

    Args:
        secret: The secret that its tools share with deliver; empty to verify nothing.
        clock: Time.
        faults: How often it fails.
        paths: The paths of its tools.
    """

    def __init__(self, secret: str, *, clock: Clock, faults: Faults | None = None, paths: tuple[str, ...] = PATHS) -> None:
        self._secret = secret
        self._clock = clock
        self.faults = faults or Faults()
        self.receipts = {path: Receipts() for path in (*paths, BROWSERS)}

    async def __rsgi__(self, scope: _Scope, exchange: _Exchange) -> None:
        """Answer one request."""
        status, headers, body = self._answer(scope, await exchange() if scope.method == "POST" else b"")
        exchange.response_bytes(status, headers, body)

    def _answer(self, scope: _Scope, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        if scope.method == "POST" and scope.path == BROWSERS:
            self.receipts[BROWSERS].accept(_message_id(body), body, self._clock.now_ms())
            self.receipts[BROWSERS].answer(200)
            return 200, _JSON, b'{"ok":true}'
        if scope.method == "POST" and scope.path in self.receipts:
            return self._take(self.receipts[scope.path], scope.headers, body)
        if scope.path == "/receipts":
            every = "ids" in scope.query_string
            return 200, _JSON, orjson.dumps({path: one.shown(ids=every) for path, one in self.receipts.items()})
        if scope.path == "/faults" and scope.method == "POST":
            return self._change_faults(body)
        if scope.path == "/health":
            return 200, _JSON, b'{"ok":true}'
        return 404, _JSON, b'{"error":"no such path"}'

    def _take(self, receipts: Receipts, headers: Any, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:  # noqa: ANN401 (granian's headers)
        status = self.faults.status(sum(receipts.answered.values()))
        now = self._clock.now_ms()
        signed = {name: headers.get(name) or "" for name in ("webhook-id", "webhook-timestamp", "webhook-signature")}
        answer: tuple[int, list[tuple[str, str]], bytes]
        if not is_verified(self._secret, signed, body, now):
            receipts.unverified += 1
            answer = 401, _JSON, b'{"error":"the signature is missing, wrong or too old"}'
        elif status == 429:
            answer = 429, [*_JSON, ("retry-after", str(self.faults.retry_after_seconds))], b'{"error":"too many requests"}'
        elif status == 500:
            answer = 500, _JSON, b'{"error":"something went wrong here"}'
        elif status == 400:
            answer = 400, _JSON, b'{"error":"this tool refuses what it is sent"}'
        else:
            receipts.accept(signed["webhook-id"], body, now)
            answer = 200, _JSON, b'{"ok":true}'
        receipts.answer(answer[0])
        return answer

    def _change_faults(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        try:
            self.faults = Faults(**orjson.loads(body))
        except (orjson.JSONDecodeError, TypeError):
            return 400, _JSON, b'{"error":"give an object with busy, failing, refusing, seed or retry_after_seconds"}'
        return 200, _JSON, b'{"ok":true}'


def _message_id(body: bytes) -> str:
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    return str(event.get("messageId", "")) if isinstance(event, dict) else ""


async def serve_receiver(receiver: Receiver, *, port: int, stop: asyncio.Event, listening: Callable[[], None] | None = None) -> None:
    """Answer requests on loopback until told to stop.

    Args:
        receiver: The application.
        port: Port.
        stop: Set by the caller to stop.
        listening: Called once it is about to take requests.
    """
    server = Server(
        receiver,
        address="127.0.0.1",
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        websockets=False,
        log_enabled=False,
    )
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    if listening is not None:
        listening()
    try:
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        server.stop()  # type: ignore[no-untyped-call]  # granian's server has no annotations
        await asyncio.wait((serving,), timeout=5)
    finally:
        for task in (serving, stopping):
            task.cancel()
        await asyncio.gather(serving, stopping, return_exceptions=True)


def run_receiver(*, port: int, secret: str, faults: Faults | None = None) -> None:
    """Run the receiver until SIGTERM or SIGINT.

    Args:
        port: Port on loopback.
        secret: The secret that its tools share with deliver; empty to verify nothing.
        faults: How often it fails.
    """

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve_receiver(Receiver(secret, clock=SystemClock(), faults=faults), port=port, stop=stop)

    asyncio.run(run())
