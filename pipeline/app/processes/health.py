"""What a process that runs processors says of its health, and what ends it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pipeline.ports.clock import Clock
from pipeline.ports.metrics import Metrics
from pipeline.runtime.configuration import Configuration
from pipeline.runtime.partitions import PartitionHost
from pipeline.runtime.processors import ProcessorRunner
from pipeline.runtime.replay.runner import JobsRunner

_log = logging.getLogger(__name__)

TURN_SECONDS: Final = 1.0
LOOK_TURNS: Final = 5
"""Every so many turns it is looked whether partitions move; that asks the broker three small questions for each group."""
END_SECONDS: Final = 10.0
"""How long a process that stands still answers 503 under `/health/live` before it ends itself."""
FREE_BYTES: Final = 256 * 1024 * 1024
"""Room below which a disk counts as full: what is under way still fits, and nobody should send more."""


class StandsStillError(Exception):
    """A partition has stood still for too long though nothing is in its way: the process ends, to be started again."""


class Health:
    """Looks at the group members of a process now and then.

    Args:
        runners: Its processors.
        configuration: What is declared.
        clock: Time.
        metrics: Gauges.
        folders: Gives the folders that are written to, by name.
        free_bytes: Room below which a disk counts as full.
    """

    def __init__(
        self,
        runners: Sequence[ProcessorRunner | JobsRunner],
        configuration: Configuration,
        *,
        clock: Clock,
        metrics: Metrics,
        folders: Callable[[], Mapping[str, Path]],
        free_bytes: int = FREE_BYTES,
    ) -> None:
        self._runners = runners
        self._configuration = configuration
        self._clock = clock
        self._metrics = metrics
        self._folders = folders
        self._free_bytes = free_bytes
        self._lags: dict[str, int] = {}
        self._full = ""
        self._still: list[str] = []
        self._still_since = 0.0

    @property
    def _version(self) -> int:
        return self._configuration.workspace.version if self._configuration.workspace is not None else 0

    @property
    def _members(self) -> list[tuple[str, PartitionHost]]:
        return [member for each in self._runners for member in each.members]

    @property
    def _stopped(self) -> dict[str, str]:
        """Why the breaker has stopped groups; such a member has left its group and is not looked at."""
        return {group: why for each in self._runners for group, why in each.stopped.items()}

    def live(self) -> str:
        """Say what keeps the process from making progress, or nothing."""
        return "; ".join(self._still)

    def ready(self) -> str:
        """Say what keeps it from taking records, or nothing."""
        if not self._version:
            return "no configuration has been read yet"
        stopped = self._stopped
        troubles = [
            self._full,
            *stopped.values(),
            *(f"{group}: {why}" for each in self._runners if isinstance(each, ProcessorRunner) for group, why in each.unmade.items()),
            *(f"{group}: {host.trouble}" for group, host in self._members if host.trouble and group not in stopped),
        ]
        told = "; ".join(trouble for trouble in troubles if trouble)
        return told or ("" if all(each.ready for each in self._runners) else "not every partition takes records yet, or the broker does not answer")

    def status(self, name: str) -> dict[str, Any]:
        """Say what the process works on.

        Args:
            name: Its name.

        Returns:
            The page `/status.json`.
        """
        stopped = self._stopped
        groups = [
            {
                "group": group,
                "ready": host.ready and group not in stopped,
                "stopped": group in stopped,
                "trouble": stopped.get(group) or host.trouble,
                "topics": host.topics,
                "partitions": [f"{one.topic}-{one.partition}" for one in host.assigned],
                "lag": self._lags.get(group, 0),
            }
            for group, host in self._members
        ]
        return {"name": name, "pid": os.getpid(), "config": self._version, "groups": groups}

    async def run(self) -> None:
        """Look until cancelled.

        Raises:
            StandsStillError: Something has stood still for too long.
        """
        turn = 0
        while True:
            for each in self._runners:
                self._metrics.set("headrace_config_version", self._version, processor=each.processor.name)
            stopped = self._stopped
            for group, host in self._members:
                self._metrics.set("headrace_processor_stopped", int(group in stopped), processor=group)
                if group in stopped:
                    continue  # the lag that it had is kept, and grows
                self._lags[group] = await host.lag()
                self._metrics.set("headrace_lag_records", self._lags[group], processor=group)
                self._metrics.set("headrace_partitions_blocked", host.blocked, processor=group)
            self._look_at_disks()
            if turn % LOOK_TURNS == 0:
                await self._look()
            turn += 1
            await self._clock.sleep(TURN_SECONDS)

    async def _look(self) -> None:
        still: list[str] = []
        stopped = self._stopped
        for group, host in self._members:
            if group in stopped:
                continue
            lines = await host.look(self._clock.monotonic())
            self._metrics.set("headrace_standing_still", int(bool(lines)), processor=group)
            still += lines
        now = self._clock.monotonic()
        if still and not self._still:
            self._still_since = now
            _log.error("No progress: %s. The process ends in %g s, to be started again.", "; ".join(still), END_SECONDS)
        self._still = still
        if still and now - self._still_since >= END_SECONDS:
            raise StandsStillError("; ".join(still))

    def _look_at_disks(self) -> None:
        full = []
        for name, folder in self._folders().items():
            free = free_bytes(folder)
            self._metrics.set("headrace_disk_free_bytes", free, folder=name)
            if free < self._free_bytes:
                full.append(f"only {free // 1024**2} MiB are free on the disk of {name} ({folder}); {self._free_bytes // 1024**2} are needed")
        said = "; ".join(full)
        if said != self._full:
            _log.log(logging.ERROR if said else logging.INFO, "%s", said or "There is room on the disks again.")
        self._full = said


def free_bytes(folder: Path) -> int:
    """Measure the room on the disk of a folder.

    Args:
        folder: The folder; one that does not exist yet lies on the disk of its next parent that does.

    Returns:
        Bytes that may be written.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
