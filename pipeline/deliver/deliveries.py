"""What is written down about one attempt."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import orjson

from pipeline.model import headers as names
from pipeline.model.record import Headers
from pipeline.ports.http import Answer

AttemptOutcome = Literal["delivered", "retried", "dead", "parked"]
"""How an attempt ended; `parked` means that the request stays where it is until the destination works again."""


def delivery_value(headers: Headers, answer: Answer, *, outcome: AttemptOutcome, reason: str, attempt: int, at_ms: int, answer_text: str) -> bytes:
    """Write the record of an attempt.

    Args:
        headers: Headers of the request's record.
        answer: What came back.
        outcome: How the attempt ended.
        reason: Registered reason, or empty.
        attempt: Number of the attempt, from 1.
        at_ms: When it ended, milliseconds since the epoch.
        answer_text: The first of the answer's body, redacted.

    Returns:
        JSON.
    """
    get = headers.get
    destination, mapping, source, event, event_type = _texts(
        get(names.DESTINATION, b""), get(names.MAPPING, b""), get(names.SOURCE, b""), get(names.EVENT, b""), get(names.TYPE, b"")
    )
    return orjson.dumps(
        {
            "message_id": get(names.MESSAGE_ID, b"").decode("utf-8", "replace"),
            "destination": destination,
            "mapping": mapping,
            "source": source,
            "event": event,
            "type": event_type,
            "attempt": attempt,
            "status": answer.status,
            "error": answer.error,
            "outcome": outcome,
            "reason": reason,
            "latency_ms": round(answer.latency_ms, 1),
            "at": at_ms,
            "answer": answer_text,
            "event_origin": get(names.EVENT_ORIGIN, b"").decode("utf-8", "replace"),
        }
    )


def retry_record(
    key: bytes | None, headers: tuple[tuple[str, bytes], ...], *, destination: str, failures: int, first_attempt_ms: int, not_before_ms: int
) -> tuple[bytes, tuple[tuple[str, bytes], ...]]:
    """Give key and headers of a request that waits in a retry topic; its value is unchanged.

    Args:
        key: The event's key.
        headers: Headers of the request's record.
        destination: Destination id, which goes before the key.
        failures: How many tries have failed.
        first_attempt_ms: When the first was made, milliseconds since the epoch.
        not_before_ms: When the next may be made, milliseconds since the epoch.

    Returns:
        Key and headers.
    """
    return destination.encode() + b"/" + (key or b""), with_attempts(
        headers, failures=failures, first_attempt_ms=first_attempt_ms, not_before_ms=not_before_ms
    )


def with_attempts(
    headers: tuple[tuple[str, bytes], ...], *, failures: int, first_attempt_ms: int, not_before_ms: int
) -> tuple[tuple[str, bytes], ...]:
    """Give headers that say what was tried and when the next try may be made, in place of what they said of it before.

    Args:
        headers: Headers of a request's record.
        failures: How many tries have failed.
        first_attempt_ms: When the first was made, milliseconds since the epoch.
        not_before_ms: When the next may be made, milliseconds since the epoch.

    Returns:
        Names and values.
    """
    own = tuple(pair for pair in headers if pair[0] not in _OF_RETRIES)
    return (
        *own,
        (names.ATTEMPT, b"%d" % failures),
        (names.FIRST_ATTEMPT, b"%d" % first_attempt_ms),
        (names.NOT_BEFORE, b"%d" % not_before_ms),
    )


def request_key(retry_key: bytes | None) -> bytes | None:
    """Give the event's key back from the key of a retry record.

    Args:
        retry_key: Destination and key.

    Returns:
        The event's key, or None where it had none.
    """
    return (retry_key or b"").partition(b"/")[2] or None


_OF_RETRIES = frozenset((names.ATTEMPT, names.FIRST_ATTEMPT, names.NOT_BEFORE))


@lru_cache(maxsize=512)  # a source may give events names of 32 KB
def _texts(*values: bytes) -> tuple[str, ...]:
    """Read the headers that say the same of many events."""
    return tuple(value.decode("utf-8", "replace") for value in values)
