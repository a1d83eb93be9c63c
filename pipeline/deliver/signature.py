"""Signatures after Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`."""

from __future__ import annotations

import binascii
import hashlib
from functools import lru_cache
from typing import Any, Final

from pipeline.model.secret_key import signing_key


def sign(secret: str, request_id: str, timestamp_seconds: int, body: bytes) -> str:
    """Sign a request.

    Args:
        secret: The destination's secret.
        request_id: What `webhook-id` says.
        timestamp_seconds: What `webhook-timestamp` says, seconds since the epoch.
        body: The body as it is sent.

    Returns:
        The value of `webhook-signature`: `v1,` and base64.

    Raises:
        ValueError: The secret cannot be read.
    """
    begun, end = _begun(secret)
    inner, outer = begun.copy(), end.copy()
    inner.update(f"{request_id}.{timestamp_seconds}.".encode())
    inner.update(body)
    outer.update(inner.digest())
    return "v1," + binascii.b2a_base64(outer.digest(), newline=False).decode()


@lru_cache(maxsize=1024)
def _begun(secret: str) -> tuple[Any, Any]:
    """Hash the two pads of HMAC (RFC 2104 §4): they are the same for all bodies, and `hmac` hashes them each time."""
    key = signing_key(secret)
    block = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    return hashlib.sha256(block.translate(_INNER)), hashlib.sha256(block.translate(_OUTER))


_BLOCK: Final = 64
_INNER: Final = bytes(number ^ 0x36 for number in range(256))
_OUTER: Final = bytes(number ^ 0x5C for number in range(256))
