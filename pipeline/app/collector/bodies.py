"""Holds the bodies of requests, while they arrive, against bounds of size, memory and time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pipeline.app.collector.outbox import Outbox
from pipeline.ingest import Refused, refusals
from pipeline.model import limits

_DISCARD_BYTES: Final = 64 * 1024 * 1024
"""How much of a body that is too large is read and thrown away, so that the client sees the answer and not a broken connection."""
BODY_SECONDS: Final = 60.0
"""How long a body may take to arrive."""
_SMALL_BYTES: Final = 16 * 1024
"""Bodies of a declared size up to this count nowhere while they arrive: all connections together bring them slowly, if at all."""
ARRIVING_BYTES: Final = 64 * 1024 * 1024
"""Most bytes of larger bodies that arrive at the same time; beyond it they are refused, and small ones are not."""

_CODINGS: Final = ("", "chunked")
"""Values of Transfer-Encoding whose body is read: what another coding holds would be judged as it was packed (RFC 9112 §6.1)."""


class Bodies:
    """The bodies that arrive.

    Args:
        outbox: Says whether there will be room for what they hold.

    Attributes:
        arriving_bytes: Bytes of those that are not small.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.arriving_bytes = 0

    def begin(self, headers: Mapping[str, str]) -> Arriving:
        """Begin with a body of at most 8 MiB; one that is refused is read, too, and thrown away.

        Args:
            headers: Headers of the request, whose length the parser has read as a number.

        Returns:
            The body on its way in.
        """
        length = headers.get("content-length")
        declared = int(length) if length is not None else 0
        refusal = None
        if headers.get("transfer-encoding", "").lower() not in _CODINGS:
            refusal = refusals.UNKNOWN_CODING
        elif declared > limits.REQUEST_BYTES:
            refusal = refusals.TOO_LARGE
        elif not self._outbox.has_room(declared):
            refusal = refusals.OVERLOADED
        small = declared <= _SMALL_BYTES and "transfer-encoding" not in headers
        if not small and refusal is None and self.arriving_bytes + declared > ARRIVING_BYTES:
            refusal = refusals.OVERLOADED
        return Arriving(None if small else self, refusal)


class Arriving:
    """A body on its way in.

    Args:
        counted: What it counts against, or None.
        refusal: Why it is thrown away, or None.
    """

    __slots__ = ("_counted", "_pieces", "_refusal", "_size")

    def __init__(self, counted: Bodies | None, refusal: Refused | None) -> None:
        self._counted = counted
        self._refusal = refusal
        self._size = 0
        self._pieces: list[bytes] = []

    def take(self, piece: bytes) -> bool:
        """Keep a piece, or throw it away; False once the client has sent more than anyone will wait for."""
        if self._refusal is None and self._size + len(piece) > limits.REQUEST_BYTES:
            self.refuse(refusals.TOO_LARGE)
        elif self._counted is not None and self._refusal is None and self._counted.arriving_bytes + len(piece) > ARRIVING_BYTES:
            self.refuse(refusals.OVERLOADED)
        self._size += len(piece)
        if self._refusal is not None:
            return self._size <= _DISCARD_BYTES
        if self._counted is not None:
            self._counted.arriving_bytes += len(piece)
        self._pieces.append(piece)
        return True

    def refuse(self, refusal: Refused) -> None:
        """Keep nothing of it."""
        self.release()
        self._refusal = self._refusal or refusal

    def end(self) -> bytes | Refused:
        """Give the whole body, which counts no longer, or its refusal."""
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self.release()
        return self._refusal or body

    def release(self) -> None:
        """Let go of it."""
        if self._refusal is None and self._counted is not None:
            self._counted.arriving_bytes -= self._size
            self._counted = None
        self._pieces = []
