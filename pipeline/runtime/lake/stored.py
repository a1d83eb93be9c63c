"""Which message ids a lake holds already: read from the files that its manifest lists, for the hours that are asked about."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.lake.gathering import FileKey
from pipeline.lake.manifest import ManifestRecord
from pipeline.runtime.lake.chain import MANIFEST, hour_of, read_chain

_LOCK: Final = "_lock"
_TURN_SECONDS: Final = 0.05

Counts = Callable[[str, ManifestRecord], bool]
"""Says of a record of a chain whether its rows count as stored."""


def stored_ids(root: Path, wanted: Mapping[FileKey, Collection[str]], counts: Counts) -> dict[FileKey, set[str]]:
    """Find out which of some ids a lake holds.

    Args:
        root: The lake's folder.
        wanted: Message ids by source, call and hour.
        counts: Which records are looked at.

    Returns:
        Those that are there, in the same form. One file's ids are in memory at a time.

    Raises:
        OSError: A file cannot be read.
    """
    found: defaultdict[FileKey, set[str]] = defaultdict(set)
    values = {key: pa.array(sorted(ids), pa.string()) for key, ids in wanted.items() if ids}
    for chain in sorted((root / MANIFEST).iterdir()) if (root / MANIFEST).is_dir() else ():
        for record in read_chain(chain) if chain.is_dir() else ():
            if not counts(chain.name, record):
                continue
            for file in record.files:
                key = file.source, file.call, hour_of(file.path)
                if key in values:
                    ids = pq.ParquetFile(root / file.path).read(["id"])["id"]
                    found[key].update(ids.filter(pc.is_in(ids, values[key])).to_pylist())
    return found


def _open(root: Path) -> int:
    root.mkdir(parents=True, exist_ok=True)
    return os.open(root / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)


@asynccontextmanager
async def alone(root: Path) -> AsyncIterator[None]:
    """Be the only one who looks for what a lake lacks and writes it, in all processes of this machine.

    Args:
        root: The lake's folder.
    """
    descriptor = await asyncio.to_thread(_open, root)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(_TURN_SECONDS)
        yield
    finally:
        os.close(descriptor)  # which lets it go, as the end of a process does
