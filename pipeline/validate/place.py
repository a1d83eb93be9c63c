"""Whose a raw record is, whether its source may send it, and whether it lies where its key belongs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from pipeline.model import headers, ids, limits
from pipeline.model.outcomes import Dead, Drop, Emit, Emits, Outcome, Step
from pipeline.model.record import Message, Record
from pipeline.model.topics import DEAD_LETTERS_MS
from pipeline.model.workspace import Workspace
from pipeline.validate.normalise import text_ids
from pipeline.validate.size import check_size
from pipeline.validate.times import LATEST_MS, read_arrival

FAR_MS: Final = 24 * 3_600_000
"""How far the collector's time may lie from the broker's: clocks differ, and a request may wait for its broker, but not for a day."""
REDRIVEN_FAR_MS: Final = 2 * DEAD_LETTERS_MS
"""The same for what was redriven from dead letters, where it may have waited for as long as they are kept."""
_ZERO: Final = ord("0")


class _Sender(NamedTuple):
    """What a record's source says about where it belongs: its id, also as a header, whether it may send, and how much in one event."""

    id: str
    header: bytes
    enabled: bool
    most_bytes: int


def create_place(workspace: Workspace, keys: Mapping[str, str], *, partitions: int) -> Step:
    """Make the first half of the step.

    Args:
        workspace: The workspace.
        keys: Source id by write key, references resolved.
        partitions: How many partitions the topic `raw` has.

    Returns:
        A function of a message; where it returns None, the message has a source, its key and its headers, and the body is an
        object without `writeKey`, within the limits.
    """
    sources = {
        name: _Sender(name, name.encode(), source.enabled, limits.MERGED_TIMES * source.event_bytes) for name, source in workspace.sources.items()
    }
    by_header = {sender.header: sender for sender in sources.values()}
    default = workspace.default_source
    placed = b"%d" % partitions

    def place(message: Message) -> Outcome | None:
        body, given, record = message.body, message.headers, message.record
        if body.__class__ is not dict:
            return Dead("not_an_object")
        write_key = body.pop("writeKey", None)
        named = by_header.get(given.get(headers.SOURCE, b"")) or sources.get(_source_name(given, write_key, keys, default))
        if named is None:
            return Dead("unknown_source")
        source, source_header, enabled, most_bytes = named
        message.source = source
        if not enabled:
            return Drop("source_disabled")
        if fault := check_size(body, record.value or b"", most_bytes):
            return fault

        key = text_ids(body)
        given[headers.SOURCE] = source_header
        given[headers.RECEIVED_AT] = _received_at(
            given.get(headers.RECEIVED_AT), record.timestamp, REDRIVEN_FAR_MS if headers.REDRIVEN in given else FAR_MS
        )
        astray = key is not None and (key != record.key or ids.partition_of(key, partitions) != record.partition)
        if astray and given.get(headers.REKEYED) != placed:
            message.withheld.append(("", "rekeyed"))
            return Emits((_rekeyed(record, key, given, placed),))
        given.pop(headers.REKEYED, None)
        message.key = key
        return None

    return place


def _source_name(given: Mapping[str, bytes], write_key: object, keys: Mapping[str, str], default: str) -> str:
    header = given.get(headers.SOURCE)
    if header:
        return header.decode("utf-8", "replace")
    if isinstance(write_key, str) and write_key in keys:
        return keys[write_key]
    return default


def _received_at(header: bytes | None, appended_ms: int, far_ms: int) -> bytes:
    arrived = read_arrival(header) if header is not None else None
    # Anyone may write this header, and the lake makes folders of it: one that is far from the broker's own time counts for nothing.
    if header is None or arrived is None or not -far_ms <= arrived.ms - appended_ms <= far_ms:
        return b"%d" % min(max(appended_ms, 0), LATEST_MS)
    return header if header[0] != _ZERO else b"%d" % arrived.ms


def _rekeyed(record: Record, key: bytes | None, given: Mapping[str, bytes], placed: bytes) -> Emit:
    """Write a record again under its key, byte for byte.

    The header says by which number of partitions it was placed: where the topic has another number than we believe, the
    record would come back for ever, so one that was placed by today's number is judged where it lies.
    """
    added = (
        (headers.SOURCE, given[headers.SOURCE]),
        (headers.RECEIVED_AT, given[headers.RECEIVED_AT]),
        (headers.REKEYED, placed),
    )
    names = {name for name, _ in added}
    return Emit("raw", key, record.value or b"", (*(header for header in record.headers if header[0] not in names), *added))
