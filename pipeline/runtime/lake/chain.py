"""The chain of one input partition on disk: adding a record, merging old ones, sweeping what a crash left behind.

Every step is in the order: data to a temporary folder, a note of the final names, data to their final names, and the record last, created
exclusively. Readers know only what a record lists, so a crash between any two steps leaves files that nobody sees.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import orjson
import pyarrow as pa

from pipeline.lake.gathering import Gathered
from pipeline.lake.manifest import DataFile, ManifestRecord, covered, data_path, decode_record, encode_record, follow, next_revision
from pipeline.lake.names import folder_value
from pipeline.runtime.lake.disk import Disk
from pipeline.runtime.lake.parquet import read_united, to_arrow, write_tables

MANIFEST: Final = "_manifest"
TEMPORARY: Final = "_temporary"
GRACE_MS: Final = 600_000
"""How long files outlive the merge that replaced them, so that queries that began before can end."""
_INTENT: Final = "intent.json"
_CLAIMED: Final = ".swept"


class Taken(Exception):
    """Another writer has the record of this range: what was about to be added is void."""


@dataclass(frozen=True, slots=True)
class Part:
    """Rows that will be one file.

    Attributes:
        source: Source id.
        call: Spec call.
        hour: Hour in which they were received, `YYYY-MM-DDTHH`.
        tables: The rows, in pieces of the same columns; read once.
        events: Slugs of their track events.
    """

    source: str
    call: str
    hour: str
    tables: Iterable[pa.Table]
    events: tuple[str, ...] = ()


def read_chain(folder: Path) -> list[ManifestRecord]:
    """Read the records of a chain that count.

    Args:
        folder: The chain's folder under the manifest.

    Returns:
        The records in order; empty where there is no such folder.

    Raises:
        BrokenChain: A record is missing.
        ValueError: A record is damaged; names it.
    """

    def read(name: str) -> ManifestRecord:
        try:
            return decode_record((folder / name).read_bytes())
        except ValueError as error:
            raise ValueError(f"{folder / name}: {error}") from error

    for _ in range(3):
        try:
            return follow(_names(folder), read)
        except FileNotFoundError:  # a merged record has just replaced it: look again
            continue
    return follow(_names(folder), read)


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


class Draft:
    """Rows of one record that wait on disk until all of them are there, so that a large record needs no more memory than a small one.

    Args:
        disk: How files are written.
        folder: A temporary folder of its own.
    """

    def __init__(self, disk: Disk, folder: Path) -> None:
        self._disk = disk
        self._folder = folder
        self._paths: dict[tuple[str, str, str], list[Path]] = {}
        self._events: dict[tuple[str, str, str], set[str]] = {}
        self._count = 0

    def add(self, parts: Iterable[Part]) -> None:
        """Keep rows."""
        for part in parts:
            path = self._folder / f"{self._count}.parquet"
            self._count += 1
            self._disk.write(path, write_tables(part.tables).data)
            key = part.source, part.call, part.hour
            self._paths.setdefault(key, []).append(path)
            self._events.setdefault(key, set()).update(part.events)

    def parts(self) -> Iterable[Part]:
        """Give the rows, as few parts as may be."""
        for key in sorted(self._paths):
            yield Part(*key, read_united(self._paths[key]), tuple(sorted(self._events[key])))

    def drop(self) -> None:
        """Remove the folder."""
        self._disk.remove_folder(self._folder)


class Chain:
    """One chain, owned by the worker of its partition. All methods block; call them in a thread.

    Args:
        root: The lake's folder.
        name: Name of the chain.
        disk: How files are written.

    Attributes:
        name: Its name.
    """

    def __init__(self, root: Path, name: str, disk: Disk) -> None:
        self._root = root
        self.name = name
        self._disk = disk
        self._folder = root / MANIFEST / name
        self._temporary = root / TEMPORARY / name

    def read(self) -> list[ManifestRecord]:
        """Read the records that count, in order."""
        return read_chain(self._folder)

    def add(self, parts: Iterable[Part], record: ManifestRecord) -> ManifestRecord:
        """Write files and the record that makes them count.

        Args:
            parts: Rows of each file.
            record: The record, without files.

        Returns:
            The record with its files; it is durable.

        Raises:
            Taken: Another writer was first.
            OSError: The disk is full or failed; nothing counts.
        """
        folder = self._disk.temporary(self._temporary, f"{record.start:020d}-")
        try:
            files = [self._stage(folder, part, record, number) for number, part in enumerate(parts)]
            self._publish(folder, files)
            complete = replace(record, files=tuple(files))
            self._commit(folder, complete)
        except FileNotFoundError as error:  # the new owner has swept this folder away
            raise Taken(str(error)) from error
        self._disk.remove_folder(folder)
        return complete

    def _stage(self, folder: Path, part: Part, record: ManifestRecord, number: int) -> DataFile:
        written = write_tables(part.tables)
        temporary = folder / f"{number}.parquet"
        self._disk.write(temporary, written.data)
        self._disk.sync(temporary)
        path = data_path((folder_value(part.source), part.call, part.hour), self.name, record.start, record.end, record.revision)
        return DataFile(path, part.source, part.call, written.rows, len(written.data), written.columns, part.events)

    def _publish(self, folder: Path, files: Sequence[DataFile]) -> None:
        if not files:
            return
        self._disk.write(folder / _INTENT, orjson.dumps([file.path for file in files]))
        self._disk.sync(folder / _INTENT)
        self._disk.sync(folder)
        for number, file in enumerate(files):
            target = self._root / file.path
            self._disk.make_folder(target.parent)
            self._disk.rename(folder / f"{number}.parquet", target)
        for parent in {(self._root / file.path).parent for file in files}:
            self._disk.sync(parent)

    def _commit(self, folder: Path, record: ManifestRecord) -> None:
        staged = folder / "record.json"
        self._disk.write(staged, encode_record(record))
        self._disk.sync(staged)
        self._disk.make_folder(self._folder)
        try:
            self._disk.link(staged, self._folder / record.name)
        except FileExistsError as error:
            raise Taken(record.name) from error
        self._disk.sync(self._folder)

    def draft(self, start: int) -> Draft:
        """Begin a record whose rows come in several parts.

        Args:
            start: First offset of the record.
        """
        return Draft(self._disk, self._disk.temporary(self._temporary, f"{start:020d}-"))

    def revision(self, start: int) -> int:
        """Give the first revision that no record over a range that starts there has."""
        return next_revision(_names(self._folder), start)

    def merge(self, records: Sequence[ManifestRecord], at: int) -> ManifestRecord:
        """Write the rows of neighbouring records as one record with as few files as may be.

        Args:
            records: The records, in order.
            at: Time of writing, milliseconds since the epoch.

        Returns:
            The record that now counts in their place.

        Raises:
            Taken: The merged record exists.
            OSError: The disk failed; nothing has changed.
        """
        groups: dict[tuple[str, str, str], list[DataFile]] = {}
        for record in records:
            for file in record.files:
                groups.setdefault((file.source, file.call, hour_of(file.path)), []).append(file)
        parts = (self._united(key, files) for key, files in groups.items())
        notes = _sum(record.notes for record in records)
        return self.add(parts, ManifestRecord(records[0].start, records[-1].end, (), records[0].level + 1, at, notes, topic_id=records[-1].topic_id))

    def _united(self, key: tuple[str, str, str], files: Sequence[DataFile]) -> Part:
        events = sorted({event for file in files for event in file.events})
        return Part(*key, read_united([self._root / file.path for file in files]), tuple(events))

    def sweep(self, now: int) -> None:
        """Remove what does not count: files of crashed writers, and what merges replaced a while ago.

        Only what lies before the chain's end is touched: there no other writer can add a record any more.

        Args:
            now: Time, milliseconds since the epoch.
        """
        live = self.read()
        if not live:
            return
        listed = {file.path for record in live for file in record.files}
        self._sweep_crashed(listed, live[-1].end)
        replaced = [name for name in covered(_names(self._folder), live) if _old(name, live, now)]
        for name in replaced:
            record = decode_record((self._folder / name).read_bytes())
            for file in record.files:
                if file.path not in listed:
                    self._disk.remove(self._root / file.path)
            self._disk.remove(self._folder / name)

    def _sweep_crashed(self, listed: set[str], end: int) -> None:
        claimed = [self._claim(folder) for folder in self._temporary.iterdir() if int(folder.name[:20]) < end] if self._temporary.is_dir() else []
        if not claimed:
            return
        kept = listed | {file.path for name in _names(self._folder) for file in decode_record((self._folder / name).read_bytes()).files}
        for folder in claimed:
            for path in _intended(folder / _INTENT):
                if path not in kept:
                    self._disk.remove(self._root / path)
            self._disk.remove_folder(folder)

    def _claim(self, folder: Path) -> Path:
        """Move a crashed writer's folder away: a writer that is only slow finds nothing to publish from now on."""
        if folder.suffix == _CLAIMED:
            return folder
        target = folder.with_name(f"{folder.name}{_CLAIMED}")
        self._disk.rename(folder, target)
        return target


def _intended(intent: Path) -> list[str]:
    try:
        return list(orjson.loads(intent.read_bytes()))
    except (FileNotFoundError, ValueError):  # the crash came before the note was whole, so nothing had its final name
        return []


def hour_of(path: str) -> str:
    """Give the hour that a data file's rows were received in, from its path."""
    day, hour = path.split("/")[2:4]
    return f"{day.removeprefix('day=')}T{hour.removeprefix('hour=')}"


def _old(name: str, live: Sequence[ManifestRecord], now: int) -> bool:
    start = int(name[:20])
    return any(record.start <= start < record.end and record.at + GRACE_MS <= now for record in live)


def _sum(notes: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for counts in notes:
        for kind, count in counts.items():
            total[kind] = total.get(kind, 0) + count
    return total


def parts_of(gathered: Gathered) -> Iterable[Part]:
    """Give what was gathered as the parts that files are written of, and let go of each that is written."""
    while gathered.files:
        rows = gathered.files.pop(0)
        yield Part(rows.source, rows.call, rows.hour, [to_arrow(rows.columns)], rows.events)
