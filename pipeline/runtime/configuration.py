"""Follows the topic `config`, so that every process judges with the newest version that is good."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from pipeline.declaration import ConfigFold, Parking
from pipeline.model.topics import topic_name
from pipeline.model.workspace import Workspace
from pipeline.ports.broker import Broker, BrokerError

_log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 10.0
"""How long events wait for a version before that is said, again and again."""


class Configuration:
    """The newest good version of what the workspace declares.

    Args:
        broker: Where the topic is.
        prefix: The workspace's name.
        schema: The content of `schemas/workspace.json`.
    """

    def __init__(self, broker: Broker, prefix: str, schema: Mapping[str, Any]) -> None:
        self._broker = broker
        self._topic = topic_name(prefix, "config")
        self._fold = ConfigFold(schema)
        self._changed = asyncio.Condition()
        self._listeners: list[Callable[[Workspace], None]] = []
        self._offset = 0

    @property
    def workspace(self) -> Workspace | None:
        """The newest good version, or None before the first."""
        return self._fold.workspace

    @property
    def parkings(self) -> Mapping[str, Parking]:
        """The last command to park or resume, by destination id."""
        return self._fold.parkings

    def on_change(self, listener: Callable[[Workspace], None]) -> Callable[[], None]:
        """Have a function called with each new version, after each command to park or resume, and at once with the present one if there is one.

        Args:
            listener: The function; it must not wait.

        Returns:
            What takes the listener away.
        """
        self._listeners.append(listener)
        if self._fold.workspace is not None:
            listener(self._fold.workspace)

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
        while not self._knows(version):
            try:
                async with asyncio.timeout(PATIENCE_SECONDS), self._changed:
                    await self._changed.wait_for(lambda: self._knows(version))
            except TimeoutError:
                known = self._fold.workspace.version if self._fold.workspace is not None else 0
                _log.warning("Waiting for version %d of the configuration; %s has %d. Apply the workspace again.", version, self._topic, known)
        workspace = self._fold.workspace
        assert workspace is not None  # noqa: S101 (the condition above)
        return workspace

    def _knows(self, version: int) -> bool:
        return self._fold.workspace is not None and self._reached() >= version

    def _reached(self) -> int:
        # A refused version counts as reached: the last good one stays in force, and events stamped by a process
        # that saw another truth must not wait for ever.
        assert self._fold.workspace is not None  # noqa: S101 (asked only after the first)
        return max(self._fold.workspace.version, max(self._fold.refused, default=0))

    async def run(self) -> None:
        """Follow the topic for ever, through a broker's absence."""
        while True:
            try:
                await self._follow()
            except BrokerError as error:
                _log.warning("The configuration cannot be followed: %s; trying again.", error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self) -> None:
        async for records in self._broker.reader().read(self._topic, start={0: self._offset}, follow=True):
            changed = False
            parkings = self._fold.parkings
            for record in records:
                self._offset = record.offset + 1
                changed = self._fold.take(record.key, record.value) or changed
            if not records:
                continue
            workspace = self._fold.workspace
            if changed and workspace is not None:
                _log.info("Configuration version %d is in force.", workspace.version)
            if (changed or parkings is not self._fold.parkings) and workspace is not None:
                for listener in list(self._listeners):
                    listener(workspace)
            async with self._changed:
                self._changed.notify_all()
