"""What the processes of one collector share beside its port: the rates of sources and the assertions that were used, in files of one folder.

The folder lies on this machine and is the collector's alone. Levels of buckets are kept in mapped pages, so that a request costs no system call for
them; two workers that count in the same microsecond may count one of the two requests only, which a rate bears.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from pipeline.app.collector.limits import Guesses, Limits, SourceRates
from pipeline.app.collector.tokens import Assertions
from pipeline.ingest.rates import Bucket

_LEVEL: Final = struct.Struct("=dd")
_SWEEP_SECONDS: Final = 60


class Shared(NamedTuple):
    """What a worker shares with the others.

    Attributes:
        folder: The folder.
        workers: How many they are.
    """

    folder: Path
    workers: int

    def limits(self) -> Limits:
        """Give the bounds of who sends how much: rates of sources hold for all workers together, and so does what each lets an address guess."""
        return Limits(SourceRates(SharedBuckets(self.folder)), Guesses(self.workers))

    def assertions(self) -> SharedAssertions:
        """Give the assertions that any worker has taken."""
        return SharedAssertions(self.folder)


class SharedBuckets:
    """The bucket of each source, as all workers see it.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pages: dict[str, mmap.mmap] = {}

    def get(self, source: str, full: Bucket, /) -> Bucket:
        """Give a source's bucket.

        Args:
            source: Source id.
            full: What it is before any worker took from it.
        """
        tokens, at = _LEVEL.unpack_from(self._page(source))
        return Bucket(tokens, at) if at else full

    def update(self, after: Mapping[str, Bucket], /) -> None:
        """Write down what is left of some."""
        for source, bucket in after.items():
            _LEVEL.pack_into(self._page(source), 0, *bucket)

    def _page(self, source: str) -> mmap.mmap:
        page = self._pages.get(source)
        if page is None:
            descriptor = os.open(self._folder / f"rate-{sha256(source.encode()).hexdigest()}", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.ftruncate(descriptor, _LEVEL.size)
                page = self._pages[source] = mmap.mmap(descriptor, _LEVEL.size)
            finally:
                os.close(descriptor)
        return page


class SharedAssertions(Assertions):
    """The assertions that any of the workers has taken: a file for each, which only one of them can create.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._swept = 0

    def claim(self, mark: bytes, until: int, now: int) -> bool:
        """Take an assertion, unless one of the workers has; see `Assertions.claim`."""
        if now >= self._swept + _SWEEP_SECONDS:
            self._swept = now
            self._sweep(now)
        path = self._folder / f"used-{mark.hex()}"
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return False
        os.utime(path, (until, until))
        return True

    def _sweep(self, now: int) -> None:
        for path in self._folder.glob("used-*"):
            try:
                if path.stat().st_mtime < now - _SWEEP_SECONDS:
                    path.unlink()
            except FileNotFoundError:  # another worker swept it
                continue
