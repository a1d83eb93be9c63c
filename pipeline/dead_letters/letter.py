"""A dead letter, read from its record."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from pipeline.model import headers as names
from pipeline.model.headers import number_in
from pipeline.model.record import Headers, Record

_PLACE: Final = re.compile(r"dead\.([a-z]+)/(\d{1,9})/(\d{1,18})")


class Letter(NamedTuple):
    """A dead letter.

    Attributes:
        record: Its record.
        headers: The record's headers by name.
        stage: The stage whose dead-letter topic it lies in.
        step: What gave it up there: the stage itself, or `dedup` or `retry`, which share a topic.
        reason: Name of the reason.
        detail: What was wrong and where.
        source: Id of the source; empty where the record named none.
        destination: Id of the destination or storage that goes without it, or empty.
        topic: Topic that the record which died was read from, without prefix; empty where it was read from none (`ingest`).
        origin: Where that record lay, `topic/partition/offset` with prefix, or empty.
        config: Version of the configuration that judged it.
        first_failure_ms: When it first failed, milliseconds since the epoch.
        redriven: How often it had been redriven before it died here.
    """

    record: Record
    headers: Headers
    stage: str
    step: str
    reason: str
    detail: str
    source: str
    destination: str
    topic: str
    origin: str
    config: int
    first_failure_ms: int
    redriven: int

    @property
    def place(self) -> str:
        """Where it lies, as people write it."""
        return place_of(self.stage, self.record.partition, self.record.offset)


def read_letter(record: Record, prefix: str) -> Letter:
    """Read a dead letter.

    Args:
        record: A record of `dead.<stage>`, whatever its headers are: any client may write there.
        prefix: The workspace's name.

    Returns:
        The letter.
    """
    headers: Headers = dict(record.headers)
    stage = record.topic.removeprefix(f"{prefix}.dead.")
    topic = _text(headers, names.DEAD_TOPIC)
    destination = _text(headers, names.DEAD_DESTINATION)
    return Letter(
        record,
        headers,
        stage,
        _text(headers, names.DEAD_STAGE) or stage,
        _text(headers, names.DEAD_REASON) or "unknown",
        _text(headers, names.DEAD_DETAIL),
        _text(headers, names.SOURCE),
        destination,
        topic.removeprefix(f"{prefix}."),
        f"{topic}/{number_in(headers, names.DEAD_PARTITION, 0)}/{number_in(headers, names.DEAD_OFFSET, 0)}" if topic else "",
        number_in(headers, names.DEAD_CONFIG, 0),
        number_in(headers, names.DEAD_FIRST_FAILURE, record.timestamp),
        number_in(headers, names.REDRIVEN, 0),
    )


def place_of(stage: str, partition: int, offset: int) -> str:
    """Write the place of a letter.

    Args:
        stage: The stage.
        partition: Partition of its dead-letter topic.
        offset: Offset there.

    Returns:
        `dead.translate/0/12`.
    """
    return f"dead.{stage}/{partition}/{offset}"


def parse_place(text: str) -> tuple[str, int, int] | None:
    """Read the place of a letter.

    Args:
        text: `dead.translate/0/12`.

    Returns:
        Stage, partition and offset, or None where the text is no place.
    """
    match = _PLACE.fullmatch(text)
    return (match[1], int(match[2]), int(match[3])) if match else None


def _text(headers: Headers, name: str) -> str:
    return (headers.get(name) or b"").decode("utf-8", "replace")
