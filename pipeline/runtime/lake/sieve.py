"""Lets only those records become rows whose source and message id the lake does not hold."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from pipeline.lake.gathering import FileKey, Gathering
from pipeline.lake.manifest import ManifestRecord
from pipeline.model.record import Record
from pipeline.ports.broker import Uncertain
from pipeline.runtime.lake.stored import alone, stored_ids

_log = logging.getLogger(__name__)

_OF_REPLAY: Final = re.compile(r".*\.replay-\d+(?:\.\d+)?")


def is_of_replay(topic: str) -> bool:
    """Say whether a topic holds what replay jobs write for a store."""
    return topic.endswith(".replay")


class Sieve:
    """Stands before a gathering; all its looks and writes happen while nobody else looks.

    Live rows need no look: a job waits until they are stored before it writes its own. So what comes by a job is held against all of the lake, and
    live rows that are written again only against what came by jobs.

    Args:
        root: The lake's folder.
        chain: Name of the chain that is written.
        gathering: Takes the records.
    """

    def __init__(self, root: Path, chain: str, gathering: Gathering) -> None:
        self._root = root
        self._chain = chain
        self._gathering = gathering
        self._merges = _OF_REPLAY.fullmatch(chain) is not None
        self._seen: set[tuple[FileKey, str]] = set()
        self._turn: AsyncExitStack | None = None

    async def take_turn(self) -> None:
        """Wait until nobody else looks or writes, unless it is our turn already.

        Raises:
            Uncertain: The lake cannot be written.
        """
        if self._turn is None:
            turn = AsyncExitStack()
            try:
                await turn.enter_async_context(alone(self._root))
            except OSError as error:
                raise Uncertain(f"the lake {self._root} cannot be written: {error}") from error
            self._turn = turn

    async def give_turn(self) -> None:
        """Let others look and write."""
        turn, self._turn = self._turn, None
        self._seen.clear()
        if turn is not None:
            await turn.aclose()

    def add(self, records: Sequence[Record], target: ManifestRecord | None) -> None:
        """Add records; blocks, and belongs in a thread.

        Args:
            records: Records in order.
            target: The record of our chain that they replace, whose rows do not count as stored.

        Raises:
            OSError: A file of the lake cannot be read.
        """
        gathering = self._gathering
        places = [_place(gathering, record) for record in records]
        wanted: defaultdict[FileKey, set[str]] = defaultdict(set)
        for place in places:
            if place is not None:
                wanted[place[0]].add(place[1])

        def counts(chain: str, record: ManifestRecord) -> bool:
            if chain == self._chain and (not self._merges or (target is not None and record.start == target.start)):
                return False
            return self._merges or _OF_REPLAY.fullmatch(chain) is not None

        found = stored_ids(self._root, wanted, counts)
        for record, place in zip(records, places, strict=True):
            if place is not None and (place[1] in found.get(place[0], ()) or (self._merges and place in self._seen)):
                gathering.skip(record)
                continue
            if place is not None and self._merges:
                self._seen.add(place)
            add_or_end(gathering, record)


def _place(gathering: Gathering, record: Record) -> tuple[FileKey, str] | None:
    try:
        return gathering.place(record)
    except Exception:  # noqa: BLE001 (a bug ends this record only, where it is added)
        return None


def add_or_end(gathering: Gathering, record: Record) -> None:
    """Add a record to a gathering; a bug ends that record only, and must not stop the others."""
    try:
        gathering.add(record)
    except Exception as error:  # noqa: BLE001 (as said)
        _log.exception("The lake failed on %s-%d at offset %d.", record.topic, record.partition, record.offset)
        gathering.end(record, "crashed", type(error).__name__)
