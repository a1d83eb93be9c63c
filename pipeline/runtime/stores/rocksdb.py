"""Dedup state in RocksDB: one column family for each hour, dropped whole when the hour leaves the window."""

from __future__ import annotations

import logging
import shutil
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from rocksdict import BlockBasedOptions, Cache, Options, Rdict, WriteBatch

from pipeline.ports.broker import Uncertain
from pipeline.ports.store import Seen

_log = logging.getLogger(__name__)

HOUR_MS: Final = 3_600_000
_SEEN: Final = struct.Struct(">Qq")
_OFFSET: Final = struct.Struct(">Q")
_OFFSET_KEY: Final = b"changelog_offset"
_FORMAT_KEY: Final = b"format"
_FORMAT: Final = b"dedup-2"
_LOCKED: Final = "/LOCK: "
"""What RocksDB's message holds where another owner has the folder."""


class StoreRefusedError(Exception):
    """The files are not a dedup store of this format, or damaged; they must be rebuilt, never read as empty."""


def _options() -> Options:
    options = Options(raw_mode=True)
    table = BlockBasedOptions()
    table.set_bloom_filter(10, block_based=False)
    table.set_block_cache(Cache(8 * 1024 * 1024))
    options.set_block_based_table_factory(table)
    options.set_write_buffer_size(8 * 1024 * 1024)
    options.create_if_missing(True)  # noqa: FBT003 (RocksDB's own signature)
    return options


class RocksDedupStore:
    """Which ids one partition has seen, on disk.

    Args:
        path: Folder of the store, made when absent.

    Raises:
        StoreRefusedError: The folder holds something else, or RocksDB finds it damaged.
        Uncertain: The store is open elsewhere: nothing is wrong with it, and it must not be touched.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        existed = (path / "CURRENT").exists()
        try:
            names = Rdict.list_cf(str(path)) if existed else []
            families = {name: _options() for name in names if name != "default"}
            self._db = Rdict(str(path), _options(), column_families=families or None)
            found = self._db.get(_FORMAT_KEY)
        except Exception as error:
            if _LOCKED in str(error):
                raise Uncertain(f"the store at {path} is open elsewhere; its owner must let go of it first") from error
            reason = f"the store at {path} cannot be opened: {error}"
            raise StoreRefusedError(reason) from error
        if existed and found != _FORMAT:
            self._db.close()
            reason = f"the store at {path} is not a dedup store of this format"
            raise StoreRefusedError(reason)
        if not existed:
            self._db.put(_FORMAT_KEY, _FORMAT)
        self._hours: dict[int, Rdict] = {int(name): self._db.get_column_family(name) for name in sorted(names, reverse=True) if name != "default"}

    def seen(self, digests: Sequence[bytes]) -> list[Seen | None]:
        """Look ids up, newest hour first."""
        found: list[Seen | None] = [None] * len(digests)
        for family in self._hours.values():
            for index, digest in enumerate(digests):
                if found[index] is None:
                    value = family.get(digest)
                    if value is not None:
                        found[index] = Seen(*_SEEN.unpack(value))
        return found

    def add(self, entries: Iterable[tuple[bytes, int, int]], changelog_offset: int) -> None:
        """Store entries and the changelog offset that they bring the store to, in one write."""
        batch = WriteBatch(raw_mode=True)
        for digest, seen_ms, offset in entries:
            hour = seen_ms // HOUR_MS
            if hour not in self._hours:
                self._hours[hour] = self._db.create_column_family(f"{hour:010d}", _options())
                self._hours = dict(sorted(self._hours.items(), reverse=True))
            batch.put(digest, _SEEN.pack(seen_ms, offset), self._db.get_column_family_handle(f"{hour:010d}"))
        batch.put(_OFFSET_KEY, _OFFSET.pack(changelog_offset))
        self._db.write(batch)

    def changelog_offset(self) -> int:
        """Give the changelog offset that the store reflects; 0 for an empty store."""
        value = self._db.get(_OFFSET_KEY)
        return 0 if value is None else int(_OFFSET.unpack(value)[0])

    def expire(self, before_ms: int) -> None:
        """Drop whole hours that ended before a time."""
        for hour in [hour for hour in self._hours if (hour + 1) * HOUR_MS <= before_ms]:
            self._hours.pop(hour).close()
            self._db.drop_column_family(f"{hour:010d}")

    def close(self) -> None:
        """Release the store's files."""
        for family in self._hours.values():
            family.close()
        self._hours = {}
        self._db.close()


def remove_store(path: Path) -> None:
    """Delete a store that is to be rebuilt.

    Args:
        path: Folder of the store; absent is fine.
    """
    shutil.rmtree(path, ignore_errors=True)


def open_rocksdb_store(path: Path) -> RocksDedupStore:
    """Open a store; a damaged or foreign one is deleted and made anew, to be rebuilt from its changelog.

    Args:
        path: Folder of the store.

    Returns:
        The store; its changelog offset is 0 where it was made anew.

    Raises:
        Uncertain: The store is open elsewhere; to be tried again.
    """
    try:
        return RocksDedupStore(path)
    except StoreRefusedError as error:
        _log.warning("%s; it is rebuilt from its changelog.", error)
        remove_store(path)
        return RocksDedupStore(path)
