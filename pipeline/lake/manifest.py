"""The manifest: which files of a lake count, as a chain of records for each input partition.

A record stands for a range of offsets. It starts where the former one ended, and its file is created exclusively under its first offset, so
that of two writers one loses. A merged record stands for several that lie side by side; it is named after both its ends, and where it
exists, readers use it instead of what it covers. A record that was written again, because the group's offset was set back, covers one record exactly;
of several over the same range the highest revision counts. So at every moment each row counts once.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from pipeline.lake.columns import ColumnType
from pipeline.model.record import Output
from pipeline.ports.broker import Position

MERGE_RECORDS: Final = 16
"""How many neighbouring records of one level are merged into one of the next."""
MERGE_BYTES: Final = 32 * 1024 * 1024
"""Most bytes of Parquet that one merge reads."""

_DIGITS: Final = 20
_NAME: Final = re.compile(r"(\d{20})(?:-(\d{20})(?:\.r(\d{1,9}))?)?\.json")


class BrokenChain(Exception):
    """The records of a manifest do not join: a file was deleted or damaged by hand; the message says where."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """One Parquet file.

    Attributes:
        path: Where it lies, relative to the lake's root.
        source: Source id.
        call: Spec call.
        rows: How many rows it has, at least 1.
        size: Bytes.
        columns: Type of each column.
        events: Slugs of its track events; empty for other calls.
    """

    path: str
    source: str
    call: str
    rows: int
    size: int
    columns: Mapping[str, ColumnType]
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ManifestRecord:
    """The files of one range of offsets.

    Attributes:
        start: First offset of the range, where the former record ended.
        end: Offset after the range.
        files: Its files; empty where no event of the range is for this lake.
        level: 0 as committed; each merge adds 1.
        at: When it was written, milliseconds since the epoch.
        notes: What could not be flattened, by kind.
        outputs: What the transaction of this range writes to Kafka, so that it can be made good after a crash.
        revision: How often the range was written again from its topic.
        topic_id: Which topic the range is of; empty where the broker does not say, and in records of before 2026-11.
    """

    start: int
    end: int
    files: tuple[DataFile, ...]
    level: int = 0
    at: int = 0
    notes: Mapping[str, int] = field(default_factory=dict)
    outputs: tuple[Output, ...] = ()
    revision: int = 0
    topic_id: str = ""

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)

    @property
    def name(self) -> str:
        """File name of the record."""
        if self.revision:
            return f"{self.start:0{_DIGITS}d}-{self.end:0{_DIGITS}d}.r{self.revision}.json"
        if self.level:
            return f"{self.start:0{_DIGITS}d}-{self.end:0{_DIGITS}d}.json"
        return f"{self.start:0{_DIGITS}d}.json"


def chain_name(topic: str, partition: int, generation: int) -> str:
    """Name the chain of an input partition.

    Args:
        topic: Topic name with the workspace's prefix.
        partition: Partition number.
        generation: 0, and one more each time that the topic was found to have started afresh.

    Returns:
        Name of the chain's folder, and the first part of its files' names.
    """
    return f"{topic}-{partition}" + (f".{generation}" if generation else "")


def data_path(file: tuple[str, str, str], chain: str, start: int, end: int, revision: int = 0) -> str:
    """Place a file by its source, its call and the hour in which its events were received.

    Args:
        file: Folder-safe source, spec call, and hour as `YYYY-MM-DDTHH`.
        chain: Name of the chain.
        start: First offset of its record.
        end: Offset after its record.
        revision: Revision of its record.

    Returns:
        Path relative to the lake's root.
    """
    source, call, hour = file
    return f"source={source}/type={call}/day={hour[:10]}/hour={hour[11:]}/{chain}-{start}-{end}{f'.r{revision}' if revision else ''}.parquet"


def is_of_topic(live: Sequence[ManifestRecord], topic_id: str) -> bool:
    """Say whether a chain belongs to a topic, and not to one of the same name before it.

    Args:
        live: The records that count, in order.
        topic_id: The topic's id.

    Returns:
        Whether it does, as far as anyone can say: a topic or a chain without an id is believed.
    """
    known = next((record.topic_id for record in reversed(live) if record.topic_id), "")
    return not known or not topic_id or known == topic_id


def encode_record(record: ManifestRecord) -> bytes:
    """Write a record as JSON.

    Args:
        record: The record.

    Returns:
        Its text.
    """
    body: dict[str, Any] = {
        "start": record.start,
        "end": record.end,
        "level": record.level,
        "revision": record.revision,
        "topic_id": record.topic_id,
        "at": record.at,
        "rows": sum(file.rows for file in record.files),
        "files": [_file_body(file) for file in record.files],
        "notes": dict(record.notes),
        "outputs": [_output_body(output) for output in record.outputs],
    }
    return orjson.dumps(body)


def decode_record(text: bytes) -> ManifestRecord:
    """Read a record.

    Args:
        text: What `encode_record` wrote.

    Returns:
        The record.

    Raises:
        ValueError: The text is not a record.
    """
    try:
        body = orjson.loads(text)
        return ManifestRecord(
            start=body["start"],
            end=body["end"],
            files=tuple(_file(file) for file in body["files"]),
            level=body["level"],
            at=body["at"],
            notes=body["notes"],
            outputs=tuple(_output(output) for output in body["outputs"]),
            revision=body.get("revision", 0),  # records of before 2026-11 have neither of these two
            topic_id=body.get("topic_id", ""),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a manifest record: {error!r}") from error


def _file_body(file: DataFile) -> dict[str, Any]:
    columns: dict[str, list[str]] = {}
    for name, kind in file.columns.items():
        columns.setdefault(kind, []).append(name)
    return {
        "path": file.path,
        "source": file.source,
        "type": file.call,
        "rows": file.rows,
        "bytes": file.size,
        "columns": columns,
        "events": file.events,
    }


def _file(body: dict[str, Any]) -> DataFile:
    columns = {name: kind for kind, names in body["columns"].items() for name in names}
    return DataFile(body["path"], body["source"], body["type"], body["rows"], body["bytes"], columns, tuple(body["events"]))


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _output_body(output: Output) -> dict[str, Any]:
    headers = [[name, _text(value)] for name, value in output.headers]
    return {"topic": output.topic, "key": _text(output.key), "value": _text(output.value), "headers": headers}


def _output(body: dict[str, Any]) -> Output:
    headers = tuple((name, _bytes(value) or b"") for name, value in body["headers"])
    return Output(body["topic"], _bytes(body["key"]), _bytes(body["value"]), headers)


def follow(names: Iterable[str], read: Callable[[str], ManifestRecord]) -> list[ManifestRecord]:
    """Follow a chain from its first record to its end, by the widest record at each place.

    Args:
        names: File names in the chain's folder, in any order; others than records are passed over.
        read: Reads the record of a name.

    Returns:
        The records that count, in order, each starting where the former one ended.

    Raises:
        BrokenChain: A record lies beyond the chain's end.
    """
    widest: dict[int, tuple[int, int, str]] = {}
    for name in names:
        match = _NAME.fullmatch(name)
        if match is None:
            continue
        start, found = int(match[1]), (int(match[2] or 0), int(match[3] or 0), name)
        widest[start] = max(found, widest.get(start, found))
    records: list[ManifestRecord] = []
    if not widest:
        return records
    position = min(widest)
    while position in widest:
        record = read(widest[position][-1])
        records.append(record)
        position = record.end
    if position < max(widest):
        raise BrokenChain(f"no record starts at offset {position}, but one at {max(widest)}")
    return records


def next_revision(names: Iterable[str], start: int) -> int:
    """Give the first revision that no record over a range that starts there has.

    Args:
        names: File names in the chain's folder.
        start: First offset of the range.

    Returns:
        At least 1.
    """
    found = (_NAME.fullmatch(name) for name in names)
    return 1 + max((int(match[3] or 0) for match in found if match is not None and int(match[1]) == start), default=0)


def covered(names: Iterable[str], live: Sequence[ManifestRecord]) -> list[str]:
    """Find the records that a merged one replaces.

    Args:
        names: File names in the chain's folder.
        live: The records that count.

    Returns:
        Names of the others, sorted.
    """
    kept = {record.name for record in live}
    return sorted(name for name in names if _NAME.fullmatch(name) and name not in kept)


def plan_merge(live: Sequence[ManifestRecord]) -> Sequence[ManifestRecord]:
    """Choose neighbouring records to be merged into one: the oldest enough of one level, as long as they are small together.

    Args:
        live: The records that count, in order.

    Returns:
        `MERGE_RECORDS` of them; empty where there is nothing to merge.
    """
    run: list[ManifestRecord] = []
    for record in live:
        if run and (run[-1].level != record.level):
            run = []
        run.append(record)
        while sum(member.size for member in run) > MERGE_BYTES:
            run.pop(0)
        if len(run) == MERGE_RECORDS:
            return tuple(run)
    return ()


STORED: Final = "stored"
"""Metadata of an offset that the sink committed after it had stored a range. Whoever sets the offset by hand leaves it out."""
AGAIN: Final = "again"
"""Metadata of an offset that the sink committed while it wrote ranges again."""


class Resumption(NamedTuple):
    """What a new owner of a chain has to do first.

    Attributes:
        outputs: What a transaction that a crash prevented would have written.
        again: Records whose ranges are to be read and written again, in order.
    """

    outputs: tuple[Output, ...] = ()
    again: tuple[ManifestRecord, ...] = ()


def resume(live: Sequence[ManifestRecord], committed: Position | None, first: int) -> Resumption:
    """Tell a crash from an offset that was set back.

    A crash leaves the last record without its transaction: the offset is the sink's own, and lies where that record starts. Any other offset before
    the chain's end was set on purpose, and what lies beyond it is written again, record by record.

    Args:
        live: The records that count, in order.
        committed: The group's position, or None where it has none (a first crash, or the broker forgot it: nothing was asked for).
        first: First offset that the topic still has; ranges that begin before it cannot be read whole, and stay as they are.

    Returns:
        What is to be done.
    """
    if not live:
        return Resumption()
    last = live[-1]
    if committed is None:
        return Resumption(last.outputs if len(live) == 1 else ())
    if committed.offset >= last.end:
        return Resumption()
    if committed.metadata == STORED and committed.offset >= last.start:
        return Resumption(last.outputs)
    return Resumption(again=tuple(record for record in live if record.end > committed.offset and record.start >= first))
