"""The four times of an event: what the client's clock said, and what that was by ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 (all arithmetic here is on naive UTC, three times as fast as on aware times)
_TEXT: Final = frozenset({str, type(None)})
_DIGITS: Final = 15
_MILLISECOND_TEXTS: Final = tuple(f".{number:03d}Z" for number in range(1000))
LATEST_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999, the end of what ISO 8601 writes in four digits."""


class Arrival(NamedTuple):
    """When an event arrived: in milliseconds since the epoch, as the time since then, and as ISO 8601 text."""

    ms: int
    since: timedelta
    text: str


@lru_cache(maxsize=4096)
def read_arrival(header: bytes) -> Arrival | None:
    """Read the header `received_at`.

    Args:
        header: What a producer wrote there.

    Returns:
        The arrival, or None where it is no number of milliseconds in decimal digits; what lies beyond 9999 counts as its end. Events of one
        request share it, hence the cache.
    """
    if len(header) > _DIGITS or not header.isdigit():
        return None
    ms = int(header)
    since = timedelta(milliseconds=min(ms, LATEST_MS))
    return Arrival(ms, since, _text(since))


def parse_time(text: str) -> datetime | None:
    """Read an ISO 8601 time.

    Args:
        text: Such as `2026-03-14T09:26:41.234Z`; without an offset it counts as UTC.

    Returns:
        The time as a naive UTC datetime, or None where the text is no such time.
    """
    try:
        if text[-1:] == "Z":
            at = datetime.fromisoformat(text[:-1])
            return at if at.tzinfo is None else None
        at = datetime.fromisoformat(text)
        return at if at.tzinfo is None else at.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None


def correct_times(body: dict[str, Any], arrived: Arrival) -> str:
    """Set `receivedAt`, keep the client's own time in `originalTimestamp`, and put the corrected one into `timestamp`.

    `timestamp = receivedAt - (sentAt - originalTimestamp)`; without `sentAt` the client's time as it is; without a
    client's time `receivedAt`. It is never later than `receivedAt`. A text that is no time counts as absent and stays
    in `originalTimestamp` or `sentAt` as the client wrote it. A `timestamp` beside an `originalTimestamp` is the caller's own, such as of
    a backfill, while the SDK put the time of the call into the other: it stays. Source: Tracking API, clock correction; rudder-server,
    enhanceWithTimeFields.

    Args:
        body: The event; changed in place.
        arrived: When it arrived.

    Returns:
        Empty, or the name of a time that is not text; the event is then left half done.
    """
    body["receivedAt"] = arrived.text
    stated = body.pop("timestamp", None)
    original = body.get("originalTimestamp")
    sent = body.get("sentAt")
    if original is None and stated.__class__ is str and sent.__class__ is str and sent:  # as every SDK writes it, without what follows for the others
        body["originalTimestamp"] = stated
        occurred = parse_time(stated)
        body["timestamp"] = arrived.text if occurred is None else _corrected(occurred, parse_time(sent), arrived)
        return ""
    if stated.__class__ not in _TEXT or original.__class__ not in _TEXT or sent.__class__ not in _TEXT:
        return "timestamp" if stated.__class__ not in _TEXT else "sentAt" if sent.__class__ not in _TEXT else "originalTimestamp"

    own = parse_time(stated) if stated is not None else None
    sent_at = parse_time(sent) if sent else None
    if original is not None:
        occurred = own or parse_time(original)
        if own is not None:
            sent_at = None
    else:
        occurred = own
        body.pop("originalTimestamp", None)
        if stated is not None:
            body["originalTimestamp"] = stated
    if sent is None:
        body.pop("sentAt", None)
    body["timestamp"] = arrived.text if occurred is None else _corrected(occurred, sent_at, arrived)
    return ""


def _corrected(occurred: datetime, sent_at: datetime | None, arrived: Arrival) -> str:
    since = occurred - _EPOCH if sent_at is None else arrived.since - (sent_at - occurred)
    if since >= arrived.since:
        return arrived.text
    try:
        return _text(since)
    except OverflowError:  # the client's clocks are millennia apart: no time at all
        return arrived.text


def _text(since: timedelta) -> str:
    return _second_text(since.days, since.seconds) + _MILLISECOND_TEXTS[since.microseconds // 1000]


@lru_cache(maxsize=4096)
def _second_text(days: int, seconds: int) -> str:
    """Write a second without its end; events of today share few, and to write one anew costs more than all the rest."""
    return (_EPOCH + timedelta(days, seconds)).isoformat()
