"""Reads the bodies of requests within bounds of size, memory and time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final, Protocol

from pipeline.app.collector.outbox import Outbox
from pipeline.ingest import Refused, refusals
from pipeline.ingest.collect import RequestHeaders
from pipeline.model import limits
from pipeline.ports.clock import Clock

_DISCARD_BYTES: Final = 64 * 1024 * 1024
"""How much of a body that is too large is read and thrown away, so that the client sees the answer and not a broken connection."""
BODY_SECONDS: Final = 60.0
"""How long a body may take to arrive."""
_SMALL_BYTES: Final = 16 * 1024
"""Bodies of a declared size up to this are read in one go, whoever else is sending; all connections together bring them slowly, if at all."""
_MEDIUM_BYTES: Final = 1024 * 1024
"""Bodies of a declared size up to this, as batches of SDKs are, are read in one go too, while `_ARRIVING_BYTES` are not used up."""
_ARRIVING_BYTES: Final = 64 * 1024 * 1024
"""Most bytes that medium bodies may take while they arrive; beyond it they are read piece by piece, held against the outbox's bound."""

_CODINGS: Final = ("", "chunked")
"""Values of Transfer-Encoding whose body is read: what another coding holds would be judged as it was packed (RFC 9112 §6.1)."""


class Incoming(Protocol):
    """The receiving half of a request as granian gives it (RSGI 1.6)."""

    async def __call__(self) -> bytes:
        """Read the whole body."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Read the body in pieces."""


class Bodies:
    """Reads bodies.

    Args:
        outbox: Whose bound they are held against while they are read.
        clock: Clock.
    """

    def __init__(self, outbox: Outbox, clock: Clock) -> None:
        self._outbox = outbox
        self._clock = clock
        self._now = clock.monotonic()
        self._arriving_bytes = 0
        self._reading: dict[asyncio.Task[object], float] = {}

    async def read(self, headers: RequestHeaders, incoming: Incoming) -> bytes | Refused:
        """Read a body of at most 8 MiB; of a larger one, read and throw away what the client sends, and refuse it.

        Args:
            headers: Headers of the request.
            incoming: The request.

        Returns:
            The body, or the refusal.
        """
        length = headers.get("content-length")
        declared = int(length) if length is not None else 0  # the server lets only digits through
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (every request has a task of its own)
        self._reading[task] = self._now
        try:
            if length is not None and declared <= _SMALL_BYTES:
                return await incoming() if self._outbox.has_room(declared) else refusals.OVERLOADED
            if self._may_arrive_whole(length, declared):
                return await self._read_at_once(declared, incoming)
            coding = "" if length is not None else headers.get("transfer-encoding") or ""
            return await self._read_in_pieces(declared, coding.lower(), incoming)
        except asyncio.CancelledError:
            if task in self._reading:
                raise
            task.uncancel()
            return refusals.TOO_SLOW
        finally:
            self._reading.pop(task, None)

    def end_late(self) -> None:
        """End the reading of bodies that have taken too long; looking once in a while costs less than a timer for each request."""
        self._now = now = self._clock.monotonic()
        for task in [task for task, began in self._reading.items() if now - began >= BODY_SECONDS]:
            del self._reading[task]
            task.cancel()

    def _may_arrive_whole(self, length: str | None, declared: int) -> bool:
        return (
            length is not None
            and declared <= _MEDIUM_BYTES
            and self._arriving_bytes + declared <= _ARRIVING_BYTES
            and self._outbox.has_room(declared)
        )

    async def _read_at_once(self, declared: int, incoming: Incoming) -> bytes:
        self._arriving_bytes += declared
        try:
            return await incoming()
        finally:
            self._arriving_bytes -= declared

    async def _read_in_pieces(self, declared: int, coding: str, incoming: Incoming) -> bytes | Refused:
        reading = _Reading(self._outbox, declared, coding)
        try:
            async for chunk in incoming:
                if not reading.take(chunk):
                    break
        finally:
            reading.release()
        return reading.refusal or b"".join(reading.chunks)


class _Reading:
    """A body on its way in: what is kept of it is held against the outbox's bound."""

    def __init__(self, outbox: Outbox, declared: int, coding: str) -> None:
        self._outbox = outbox
        self._size = 0
        self.chunks: list[bytes] = []
        self.refusal: Refused | None = None
        if coding not in _CODINGS:
            self.refusal = refusals.UNKNOWN_CODING
        elif declared > limits.REQUEST_BYTES:
            self.refusal = refusals.TOO_LARGE
        elif not outbox.has_room(declared):
            self.refusal = refusals.OVERLOADED

    def take(self, chunk: bytes) -> bool:
        """Keep a piece, or throw it away; False once the client has sent more than anyone will wait for."""
        if self.refusal is None and self._size + len(chunk) > limits.REQUEST_BYTES:
            self.release()
            self.refusal = refusals.TOO_LARGE
            self.chunks.clear()
        self._size += len(chunk)
        if self.refusal is not None:
            return self._size <= _DISCARD_BYTES
        self._outbox.held_bytes += len(chunk)
        self.chunks.append(chunk)
        return True

    def release(self) -> None:
        """Hold nothing any more; the pieces stay readable."""
        if self.refusal is None:
            self._outbox.held_bytes -= self._size
