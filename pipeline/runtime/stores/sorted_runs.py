"""Dedup state on disk: sorted runs that are written once, and a filter in memory that says which of them can know an id.

What was added lies in a dictionary until there is enough of it to be written as a segment (`segment`). Sixteen segments, or as many ids as a run
takes, are merged into one, a chunk at a time. A group is a run, finished or growing; groups lie in the order of time, and the oldest is dropped whole
when it leaves the window, or when the store holds more ids than it may.

The filter (`group_filter`) names the groups that may hold an id, which is none for nearly all new ones. The answer itself always comes from the
digests on disk.

There is no log and no fsync: the manifest names the segments and the changelog offset that they reflect together, and is replaced in one step
after them. What a killed process had not written is read from the changelog again; what a power cut tore is found by its checksum.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from pipeline.ports.broker import Uncertain
from pipeline.ports.store import DIGEST_BYTES, Block, StoreRefused
from pipeline.runtime.stores.group_filter import GroupFilter
from pipeline.runtime.stores.segment import CHUNK_IDS, Segment, SegmentWriter, sorted_block, words

MAX_IDS: Final = 12_500_000
"""Most ids of one partition: 50 million in a process that has four."""
_FORMAT: Final = "headrace-dedup-3"
_MANIFEST: Final = "manifest.json"
_LOCK: Final = "lock"
_GROUPS: Final = 32
_RUNS: Final = 24
"""Runs in a full store; the rest of the 32 groups are growing, being merged, or about to be dropped."""
_SEGMENTS: Final = 16
_POSITIONS_PER_ID: Final = 14
"""Filter bits for each id of a group; with four of them set 0.4 % of the ids that a group does not have are looked for in it all the same."""
_UNFILTERED_IDS: Final = 100_000
"""Up to here every segment is asked, at 3 µs each: the filter would cost a small store more memory than it saves time."""
_FLUSH_MS: Final = 3_600_000
"""What is older than this against the newest is written, so that the changelog never forgets what a quiet store has in memory only."""
_WORDS: Final = struct.Struct(">4I")


@dataclass(slots=True)
class _Group:
    """A run, finished or growing."""

    bit: int
    segments: list[Segment] = field(default_factory=list)

    @property
    def ids(self) -> int:
        return sum(segment.ids for segment in self.segments)

    @property
    def newest_ms(self) -> int:
        return max(segment.newest_ms for segment in self.segments)


class SortedRunsStore:
    """Which ids one partition has seen, on disk.

    Args:
        path: Folder of the store, made when absent.
        max_ids: Most ids that are held; beyond it the oldest are forgotten, a run at a time.

    Raises:
        Uncertain: The store is open elsewhere: nothing is wrong with it, and it must not be touched.
    """

    def __init__(self, path: Path, max_ids: int = MAX_IDS) -> None:
        self._path = path
        self._max_ids = max_ids
        self._run_ids = max(1, max_ids // _RUNS)
        self._tail_ids = min(CHUNK_IDS, max(1, self._run_ids // _SEGMENTS))
        self._words = _POSITIONS_PER_ID * (self._run_ids + self._tail_ids)
        path.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise Uncertain(f"the store at {path} is open elsewhere; its owner must let go of it first") from error
        self._reset()

    def _reset(self) -> None:
        self._groups: list[_Group] = []
        self._tail: dict[bytes, tuple[int, int]] = {}
        self._tail_since_ms = 0
        self._blocks: list[Block] = []
        self._blocks_ids = 0
        self._disk_ids = 0
        self._offset = self._newest_ms = self._covered_since_ms = 0
        self._number = 0
        self._removed: list[Segment] = []
        self._upkeep: Generator[None] | None = None
        self._merged_bit = -1
        self._loaded = False
        self._filter = GroupFilter(self._words)
        self._filtering = False

    def load(self) -> Iterator[None]:
        """Read the manifest, check every segment and fill the filter."""
        others = [file for file in self._path.iterdir() if file.name != _LOCK]
        if others:
            content = self._manifest(self._path / _MANIFEST)
            if content is None:
                raise StoreRefused(f"the store at {self._path} is damaged, or of another format")
            self._open_groups(content, others)
        else:
            self._write_manifest()
        if self._disk_ids > _UNFILTERED_IDS:
            yield from self._filter.make(self._bits)
        for group in self._groups:
            for segment in group.segments:
                for rows in segment.load():
                    self._filter.note(rows, group.bit)
                    yield
        self._filtering = self._filter.is_made
        self._loaded = True
        self._bound()

    def _open_groups(self, content: Mapping[str, Any], files: Iterable[Path]) -> None:
        self._offset, self._newest_ms, self._covered_since_ms, self._number = (
            content[name] for name in ("changelog_offset", "newest_ms", "covered_since_ms", "number")
        )
        for bit, names in enumerate(content["groups"]):
            group = _Group(bit)
            self._groups.append(group)
            for name in names:
                group.segments.append(Segment(self._path / name))
            self._disk_ids += group.ids
        listed = {_MANIFEST, *chain.from_iterable(content["groups"])}
        for file in files:
            if file.name not in listed and file.is_file():
                file.unlink()  # of a merge that did not come to its end

    @staticmethod
    def _manifest(path: Path) -> dict[str, Any] | None:
        try:
            crc, _, text = path.read_bytes().partition(b"\n")
        except OSError:
            return None
        if crc != b"%08x" % zlib.crc32(text):
            return None
        content: dict[str, Any] = orjson.loads(text)
        return content if content["format"] == _FORMAT else None

    def _write_manifest(self) -> None:
        content = {
            "format": _FORMAT,
            "changelog_offset": self._offset,
            "newest_ms": self._newest_ms,
            "covered_since_ms": self._covered_since_ms,
            "number": self._number,
            "groups": [[segment.path.name for segment in group.segments] for group in self._groups],
        }
        text = orjson.dumps(content)
        new = self._path / f"{_MANIFEST}.new"
        new.write_bytes(b"%08x\n%s" % (zlib.crc32(text), text))
        new.replace(self._path / _MANIFEST)
        for segment in self._removed:  # only now nothing names them
            segment.remove()
        self._removed = []

    def seen(self, digest: bytes) -> tuple[int, int] | None:
        """Look an id up."""
        place = self._tail.get(digest)
        if place is not None or not self._groups:
            return place
        first, second, third, fourth = _WORDS.unpack(digest)
        if not self._filtering:
            return self._search(digest, first, -1)
        view, size = self._filter.view, self._words
        groups = view[first % size] & view[second % size] & view[third % size] & view[fourth % size]
        return self._search(digest, first, groups) if groups else None

    def _search(self, digest: bytes, first_word: int, groups: int) -> tuple[int, int] | None:
        for group in reversed(self._groups):
            if groups >> group.bit & 1:
                for segment in reversed(group.segments):
                    place = segment.find(digest, first_word)
                    if place is not None:
                        return place
        return None

    def add(self, entries: Mapping[bytes, tuple[int, int]], changelog_offset: int) -> None:
        """Store entries and the changelog offset that they bring the store to; what is large enough is written."""
        self._offset = changelog_offset
        if entries:
            self._tail.update(entries)
            newest = max(entries.values())[0]
            self._newest_ms = max(self._newest_ms, newest)
            self._tail_since_ms = self._tail_since_ms or newest
        if len(self._tail) >= self._tail_ids or (self._tail and self._newest_ms - self._tail_since_ms > _FLUSH_MS):
            self._flush()
        else:
            self._work_on()

    def add_block(self, block: Block, changelog_offset: int) -> None:
        """Store the entries of one changelog record; `seen` knows them after the next `flush` at the latest."""
        self._offset = changelog_offset
        if len(block.places):
            self._newest_ms = max(self._newest_ms, int(block.places[:, 0].max()))
            self._blocks.append(block)
            self._blocks_ids += len(block.places)
        if self._blocks_ids >= self._tail_ids:
            self._flush()

    def flush(self) -> None:
        """Write what is in memory only."""
        if self._tail or self._blocks:
            self._flush()
        else:
            self._write_manifest()

    def _flush(self) -> None:
        values = np.fromiter(chain.from_iterable(self._tail.values()), np.int64, 2 * len(self._tail)).reshape(-1, 2)
        digests = b"".join([*(block.digests for block in self._blocks), *self._tail])
        places = np.concatenate([*(block.places for block in self._blocks), values])
        self._blocks, self._blocks_ids = [], 0
        self._tail = {}
        self._tail_since_ms = 0
        for start in range(0, len(places), self._run_ids):  # a bound smaller than a transaction takes its oldest first, too
            end = start + self._run_ids
            self._append(sorted_block([Block(digests[DIGEST_BYTES * start : DIGEST_BYTES * end], places[start:end])]))
        self._write_manifest()
        for _ in range(2):  # as many steps as keep up with a rebuild, which does nothing but this
            self._work_on()

    def _append(self, block: Block) -> None:
        group = self._growing()
        segment = self._write_segment(block)
        for rows in segment.load():
            self._filter.note(rows, group.bit)
        group.segments.append(segment)
        self._disk_ids += segment.ids
        self._bound()

    def _growing(self) -> _Group:
        last = self._groups[-1] if self._groups else None
        if last is not None and last.ids < self._run_ids:
            return last
        used = {group.bit for group in self._groups}
        if len(used) == _GROUPS:
            self._drop_oldest(forgets=True)
            used = {group.bit for group in self._groups}
        made = _Group(next(bit for bit in range(_GROUPS) if bit not in used))
        self._groups.append(made)
        self._filter.widen(self._bits())
        return made

    def _bits(self) -> int:
        """Say how many bits a word of the filter needs."""
        return max((group.bit for group in self._groups), default=0) + 1

    def _write_segment(self, block: Block) -> Segment:
        self._number += 1
        path = self._path / f"{self._number:09d}.segment"
        with SegmentWriter(path, len(block.places)) as writer:
            writer.write(block)
            writer.finish()
        return Segment(path)

    def _merge(self, group: _Group) -> Generator[None]:
        """Make one segment of those that a group has, a range of digests after the other."""
        old = list(group.segments)
        ids = sum(segment.ids for segment in old)
        chunks = min(65_536, max(1, -(-ids // CHUNK_IDS)))
        self._number += 1
        path = self._path / f"{self._number:09d}.segment"
        with SegmentWriter(path, ids) as writer:
            for chunk in range(chunks):
                first, end = (65_536 * place // chunks for place in (chunk, chunk + 1))
                writer.write(sorted_block([segment.between(first, end) for segment in old]))
                yield
            writer.finish()
        merged = Segment(path)
        for _ in merged.load():
            yield
        group.segments[: len(old)] = [merged]
        self._removed += old
        self._write_manifest()

    def _work_on(self) -> None:
        if self._upkeep is None and not self._filter.is_made and self._disk_ids > _UNFILTERED_IDS:
            self._upkeep = self._fill_filter()
        if self._upkeep is None:
            for group in self._groups:
                growing = group is self._groups[-1] and group.ids < self._run_ids
                if len(group.segments) >= (_SEGMENTS if growing else 2):
                    self._upkeep, self._merged_bit = self._merge(group), group.bit
                    break
        if self._upkeep is not None and next(self._upkeep, self) is self:
            self._upkeep, self._merged_bit = None, -1

    def _fill_filter(self) -> Generator[None]:
        """Make the filter for what is there, a little at a time."""
        yield from self._filter.make(self._bits)
        for group in list(self._groups):
            for segment in list(group.segments):
                pieces = min(65_536, -(-segment.ids // CHUNK_IDS))
                for piece in range(pieces):
                    first, end = (65_536 * place // pieces for place in (piece, piece + 1))
                    if group in self._groups:
                        self._filter.note(words(segment.between(first, end).digests), group.bit)
                        yield
        self._filtering = True

    def changelog_offset(self) -> int:
        """Give the changelog offset that the store reflects; 0 for an empty store."""
        return self._offset

    def ids(self) -> int:
        """Count the ids that are held, those that are soon to be dropped among them."""
        return self._disk_ids + len(self._tail) + self._blocks_ids

    def newest_ms(self) -> int:
        """Give the latest time that was ever added."""
        return self._newest_ms

    def covered_since_ms(self) -> int:
        """Give the time up to which ids may be missing; 0 where none are."""
        return self._covered_since_ms

    def missing_until(self, at_ms: int) -> None:
        """Note that ids up to a time may be missing."""
        self._covered_since_ms = max(self._covered_since_ms, at_ms)

    def _bound(self) -> None:
        while self._groups and self._disk_ids > self._max_ids:
            self._drop_oldest(forgets=True)

    def expire(self, before_ms: int) -> None:
        """Drop the groups whose every entry is from before a time."""
        expired = False
        while self._groups and self._groups[0].newest_ms < before_ms:
            self._drop_oldest(forgets=False)
            expired = True
        if expired:
            self._write_manifest()

    def _drop_oldest(self, *, forgets: bool) -> None:
        group = self._groups.pop(0)
        if forgets:
            self.missing_until(group.newest_ms)
        if group.bit == self._merged_bit:
            self._stop_upkeep()
        self._filter.drop(group.bit)
        self._disk_ids -= group.ids
        self._removed += group.segments

    def _stop_upkeep(self) -> None:
        merging, self._upkeep, self._merged_bit = self._upkeep, None, -1
        if merging is not None:
            merging.close()  # what it has written is in no manifest, and goes when the store is opened next

    def clear(self) -> None:
        """Delete everything in the folder and begin anew."""
        self._let_go()
        for file in self._path.iterdir():
            if file.name != _LOCK:
                shutil.rmtree(file) if file.is_dir() and not file.is_symlink() else file.unlink()
        self._reset()
        self._write_manifest()
        self._loaded = True

    def _let_go(self) -> None:
        self._stop_upkeep()
        for segment in chain(self._removed, *(group.segments for group in self._groups)):
            segment.close()
        self._groups, self._removed = [], []

    def close(self) -> None:
        """Write what is in memory only, and release the files."""
        if self._loaded:  # else what it knows is not all that is there
            self.flush()
        self._let_go()
        os.close(self._lock)
