"""Follows the topic `config`, so that every process judges with the newest version that is good."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from pipeline.declaration import ConfigFold, Parking
from pipeline.model.record import Record
from pipeline.model.topics import topic_name
from pipeline.model.workspace import Workspace
from pipeline.ports.broker import Broker, BrokerError

_log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 10.0
"""How long events wait for a version before that is said, again and again."""
SETTLE_SECONDS: Final = 1.0
"""Shortest time between two versions that are put to work; one that is waited for does not wait for it."""
LARGE_BYTES: Final = 64 * 1024
"""Size from which on a version is read and built beside the loop: some 10 ms of CPU lie below it, seconds above."""


class _Good(NamedTuple):
    """What was read last: the newest good version, the commands to park or resume, and the version's size in bytes."""

    workspace: Workspace | None
    parkings: Mapping[str, Parking]
    size: int


class Configuration:
    """The newest good version of what the workspace declares.

    Versions that come fast are put to work once a second, the newest of them; each costs every process its plans and its members.

    Args:
        broker: Where the topic is.
        prefix: The workspace's name.
        schema: The content of `schemas/workspace.json`.

    Attributes:
        workspace: The version in force, or None before the first.
        parkings: The last command to park or resume, by destination id.
        is_large: Whether the version in force is too large to be worked on in a turn of the loop.
    """

    def __init__(self, broker: Broker, prefix: str, schema: Mapping[str, Any]) -> None:
        self._broker = broker
        self._topic = topic_name(prefix, "config")
        self._fold = ConfigFold(schema)
        self._good = _Good(None, {}, 0)
        self._listeners: list[Callable[[Workspace], None]] = []
        self._offset = 0
        self._changed = asyncio.Condition()
        self._news = asyncio.Event()
        self._hurry = asyncio.Event()
        self._wanted = 0
        self._read = 0
        """Highest version that was read to its end, good or refused."""
        self._reached = 0
        """Highest version that the one in force stands for: a refused one counts, or events stamped by a process that saw another
        truth would wait for ever."""
        self.workspace: Workspace | None = None
        self.parkings: Mapping[str, Parking] = {}
        self.is_large = False

    def on_change(self, listener: Callable[[Workspace], None]) -> Callable[[], None]:
        """Have a function called with each version put to work, after each command to park or resume, and at once with the present one.

        Args:
            listener: The function; it must not wait.

        Returns:
            What takes the listener away.
        """
        self._listeners.append(listener)
        if self.workspace is not None:
            listener(self.workspace)

        def leave() -> None:
            with suppress(ValueError):
                self._listeners.remove(listener)

        return leave

    async def at_least(self, version: int) -> Workspace:
        """Wait until a version, or a newer one, is in force; a wait that lasts is said, because it may be for a version that never comes.

        Args:
            version: The version.

        Returns:
            The workspace in force.
        """
        while self.workspace is None or self._reached < version:
            self._wanted = max(self._wanted, version)
            if self._read >= version:
                self._hurry.set()
            try:
                async with asyncio.timeout(PATIENCE_SECONDS), self._changed:
                    await self._changed.wait_for(lambda: self.workspace is not None and self._reached >= version)
            except TimeoutError:
                known = self.workspace.version if self.workspace is not None else 0
                _log.warning("Waiting for version %d of the configuration; %s has %d. Apply the workspace again.", version, self._topic, known)
        return self.workspace

    async def run(self) -> None:
        """Follow the topic for ever, through a broker's absence."""
        applying = asyncio.create_task(self._apply())
        following = asyncio.create_task(self._follow())
        try:
            await asyncio.wait([applying, following], return_when=asyncio.FIRST_COMPLETED)
            for task in (applying, following):
                if task.done():
                    task.result()
        finally:
            applying.cancel()
            following.cancel()
            await asyncio.gather(applying, following, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            try:
                async for records in self._broker.reader().read(self._topic, start={0: self._offset}, follow=True):
                    if records:
                        await self._take(records)
            except BrokerError as error:
                _log.warning("The configuration cannot be followed: %s; trying again.", error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _take(self, records: Sequence[Record]) -> None:
        if sum(len(record.value or b"") for record in records) > LARGE_BYTES or self._fold.open_bytes > LARGE_BYTES:
            await asyncio.to_thread(self._fold_in, records)
        else:
            self._fold_in(records)
        self._offset = records[-1].offset + 1
        fold = self._fold
        self._good = _Good(fold.workspace, fold.parkings, fold.bytes)
        self._read = max(fold.workspace.version if fold.workspace is not None else 0, max(fold.refused, default=0))
        self._news.set()
        if self._wanted > self._reached and self._read >= self._wanted:
            self._hurry.set()

    def _fold_in(self, records: Sequence[Record]) -> None:
        known = set(self._fold.refused)
        for record in records:
            self._fold.take(record.key, record.value)
        for version in self._fold.refused.keys() - known:
            _log.error("Version %d of the configuration is refused, the last good one stays in force: %s", version, self._fold.refused[version])

    async def _apply(self) -> None:
        """Put to work what was read: at once after a quiet time, else once a second, or when somebody waits for it."""
        while True:
            await self._news.wait()
            self._news.clear()
            self._hurry.clear()
            workspace, parkings, size = self._good
            changed = workspace is not self.workspace
            if workspace is not None and (changed or parkings is not self.parkings):
                self.workspace, self.parkings, self.is_large = workspace, parkings, size > LARGE_BYTES
                if changed:
                    _log.info("Configuration version %d is in force.", workspace.version)
                self._tell(workspace)
            self._reached = self._read
            async with self._changed:
                self._changed.notify_all()
            if changed:
                with suppress(TimeoutError):
                    async with asyncio.timeout(SETTLE_SECONDS):
                        await self._hurry.wait()

    def _tell(self, workspace: Workspace) -> None:
        for listener in list(self._listeners):
            try:
                listener(workspace)
            except Exception:  # noqa: BLE001 (one that cannot take a version keeps the last that it took; the others, and the events, go on)
                _log.exception("Version %d of the configuration cannot be taken over by a part of this process.", workspace.version)
