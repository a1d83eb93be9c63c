"""Proves who sent a delivery: HMAC-SHA256 over the bytes as they came, and the time of signing (reference: reliability T62)."""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from pipeline.ingest.judgement import Fault
from pipeline.model import secret_key
from pipeline.model.workspace import Signature

_PLACE: Final = re.compile(r"\{(body|timestamp|header:[a-z0-9-]+)\}")
_SIGNATURES_MOST: Final = 16
"""Most signatures of one delivery that are compared; a sender that rotates sends two."""
_MILLISECONDS_FROM: Final = 100_000_000_000
"""Unix times from here on count milliseconds: in seconds this is the year 5138."""

NO_SIGNATURE: Final = Fault("invalid_signature", "The delivery has no signature where its sender writes one.")
WRONG_SIGNATURE: Final = Fault("invalid_signature", "No secret of the source gives the signature of the delivery.")
NO_TIME: Final = Fault("invalid_signature", "The delivery does not say when it was signed.")
TOO_OLD: Final = Fault("delivery_too_old", "The delivery was signed too long ago.")
TOO_NEW: Final = Fault("delivery_too_old", "The delivery was signed too far ahead of this machine's clock.")


def unproved(scheme: Signature, keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now_ms: int) -> Fault | None:
    """Say what is wrong with the signature of a delivery.

    Every signature is compared with that of every secret in constant time, and none ends the comparing early.

    Args:
        scheme: How its sender signs.
        keys: The keys, as `signing_key` gives them.
        headers: Header values by lower-case name.
        body: The body as it came, before any decoding.
        now_ms: The time, milliseconds since the epoch.

    Returns:
        The fault, or None where the delivery is proved.
    """
    sent = _parts(headers.get(scheme.header, ""), scheme.separator, scheme.prefix)[:_SIGNATURES_MOST]
    if not sent:
        return NO_SIGNATURE
    stamp = ""
    if scheme.timestamp_header:
        stamps = _parts(headers.get(scheme.timestamp_header, ""), scheme.separator, scheme.timestamp_prefix)
        if not stamps:
            return NO_TIME
        stamp = stamps[0]
    text = _signed(scheme.signed, headers, body, stamp)
    proved = False
    for key in keys:
        expected = _written(hmac.digest(key, text, "sha256"), scheme.encoding)
        for one in sent:
            proved |= hmac.compare_digest(expected, one.encode("utf-8", "replace"))
    if not proved:
        return WRONG_SIGNATURE
    return _age_fault(stamp, scheme.tolerance_seconds, now_ms) if scheme.timestamp_header else None


def signing_key(scheme: Signature, secret: str) -> bytes:
    """Read a secret of a source.

    Args:
        scheme: How its sender signs.
        secret: The secret, its reference resolved.

    Returns:
        The key.

    Raises:
        ValueError: What follows `whsec_` is no base64; does not repeat it.
    """
    return secret_key.signing_key(secret) if scheme.key == "whsec" else secret.encode()


def time_of(stamp: str | float) -> datetime | None:
    """Read a time as senders write it.

    Args:
        stamp: Unix time in seconds or milliseconds, as a number or text, or ISO 8601; UTC where it names no zone.

    Returns:
        The time, or None for what is none.
    """
    try:
        if not isinstance(stamp, str):
            return datetime.fromtimestamp(stamp / 1000 if stamp >= _MILLISECONDS_FROM else stamp, UTC)
        if stamp.isascii() and stamp.isdigit():
            return time_of(int(stamp[:20]))
        found = datetime.fromisoformat(stamp[:40])
    except (ValueError, OverflowError, OSError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _parts(value: str, separator: str, prefix: str) -> list[str]:
    parts = value.split(separator) if separator else [value]
    return [part.strip().removeprefix(prefix) for part in parts if part.strip().startswith(prefix) and part.strip() != prefix]


def _signed(template: str, headers: Mapping[str, str], body: bytes, stamp: str) -> bytes:
    pieces = _PLACE.split(template)
    text = [pieces[0].encode()]
    for name, after in zip(pieces[1::2], pieces[2::2], strict=True):
        value = (
            body if name == "body" else (stamp if name == "timestamp" else headers.get(name.removeprefix("header:"), "")).encode("utf-8", "replace")
        )
        text += (value, after.encode())
    return b"".join(text)


def _written(digest: bytes, encoding: str) -> bytes:
    return digest.hex().encode() if encoding == "hex" else base64.b64encode(digest)


def _age_fault(stamp: str, tolerance: int, now_ms: int) -> Fault | None:
    signed_at = time_of(stamp)
    if signed_at is None:
        return NO_TIME
    age = now_ms / 1000 - signed_at.timestamp()
    return TOO_OLD if age > tolerance else TOO_NEW if age < -tolerance else None
