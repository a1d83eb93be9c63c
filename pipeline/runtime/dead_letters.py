"""Makes dead-letter records: the original bytes, untouched, with headers that say where, why and when."""

from __future__ import annotations

from pipeline.model import headers, limits
from pipeline.model.headers import number_in
from pipeline.model.record import Output, Record


def dead_letter(record: Record, *, topic: str, stage: str, reason: str, detail: str, config: int, at_ms: int, destination: str = "") -> Output:
    """Make the dead-letter record of an input.

    Args:
        record: The input.
        topic: Dead-letter topic with prefix.
        stage: Name of the step that ended it.
        reason: Registered reason.
        detail: What is wrong and where, without values.
        config: Version of the configuration that judged it.
        at_ms: Time of the failure, milliseconds since the epoch.
        destination: Id of the destination or storage that goes without it, or empty.

    Returns:
        The record, with the input's own headers first. One that died before keeps the time of its first failure and adds its tries up. What a topic
        could not take is left out, and the detail says so: a letter that the broker refuses would stop its partition for ever.
    """
    record, left_out = _fitting(record)
    detail = f"{left_out}{detail}"
    own = tuple(pair for pair in record.headers if not pair[0].startswith("dead_"))
    given = dict(record.headers)
    first = given.get(headers.DEAD_FIRST_FAILURE) or b"%d" % at_ms
    attempts = number_in(given, headers.ATTEMPT, 0) + number_in(given, headers.DEAD_ATTEMPT, 0)
    return Output(
        topic,
        record.key,
        record.value,
        (
            *own,
            (headers.DEAD_STAGE, stage.encode()),
            (headers.DEAD_REASON, reason.encode()),
            (headers.DEAD_DETAIL, detail.encode("utf-8", "replace")[: limits.DETAIL_BYTES]),
            (headers.DEAD_TOPIC, record.topic.encode()),
            (headers.DEAD_PARTITION, b"%d" % record.partition),
            (headers.DEAD_OFFSET, b"%d" % record.offset),
            (headers.DEAD_ATTEMPT, b"%d" % attempts),
            (headers.DEAD_FIRST_FAILURE, first),
            (headers.DEAD_LAST_FAILURE, b"%d" % at_ms),
            (headers.DEAD_CONFIG, b"%d" % config),
            *(((headers.DEAD_DESTINATION, destination.encode()),) if destination else ()),
        ),
    )


def _fitting(record: Record) -> tuple[Record, str]:
    """Cut a record that a foreign producer made too large for a dead letter; says what was left out."""
    key, value, size = record.key, record.value, headers_size(record)
    parts = []
    if size > 2 * limits.HEADERS_BYTES:  # the pipeline adds its own to what a producer may give
        parts.append(f"its {size} bytes of headers are left out")
        record = record._replace(headers=())
    if key is not None and len(key) > limits.KEY_BYTES:
        parts.append(f"its key of {len(key)} bytes is left out")
        record = record._replace(key=None)
    if value is not None and len(value) > limits.LETTER_BYTES:
        parts.append(f"only the first {limits.LETTER_BYTES} of its {len(value)} bytes are kept")
        record = record._replace(value=value[: limits.LETTER_BYTES])
    return record, f"({', '.join(parts)}) " if parts else ""


def headers_size(record: Record) -> int:
    """Add up the bytes of a record's headers.

    Args:
        record: The record.

    Returns:
        Bytes of names and values; a header's value may be null.
    """
    size = 0
    for name, value in record.headers:
        size += len(name) + (len(value) if value else 0)
    return size
