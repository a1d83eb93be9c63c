"""`run.json`: what a local run has started, for `headrace status` and other commands of the same home."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

NAME: Final = "run.json"
READY_PATHS: Final = {"collector": "/health/live", "receiver": "/receipts", "monitor": "/volumes.json"}
"""Pages that say that a process is ready, where it is not `/health/ready`: the collector's own speaks for the whole run."""


class StartedProcess(NamedTuple):
    """One process of a run.

    Attributes:
        name: Its name.
        pid: Its process id.
        port: Port of health, metrics and status; the collector's own for the collector.
    """

    name: str
    pid: int
    port: int


class Run(NamedTuple):
    """A local run.

    Attributes:
        pid: Process id of `headrace up`.
        bootstrap: Kafka's address.
        workspace: The workspace's name.
        topology: Name or path of the topology.
        collector: Port of the collector.
        receiver: Port of the local receiver, 0 where there is none.
        ready: Whether the whole run takes events through.
        processes: What was started.
    """

    pid: int
    bootstrap: str
    workspace: str
    topology: str
    collector: int
    receiver: int
    ready: bool
    processes: tuple[StartedProcess, ...]


def write_run(home: Path, run: Run) -> None:
    """Write what runs, in one step.

    Args:
        home: Home of the run.
        run: What runs.
    """
    body: dict[str, Any] = {**run._asdict(), "processes": [process._asdict() for process in run.processes]}
    part = home / f"{NAME}.part"
    part.write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2))
    part.replace(home / NAME)


def read_run(home: Path) -> Run | None:
    """Read what runs.

    Args:
        home: Home of the run.

    Returns:
        The run, or None where none is alive.
    """
    try:
        body = orjson.loads((home / NAME).read_bytes())
        os.kill(body["pid"], 0)
    except (OSError, ValueError, KeyError):
        return None
    return Run(**{**body, "processes": tuple(StartedProcess(**process) for process in body["processes"])})


def remove_run(home: Path) -> None:
    """Say that nothing runs any more."""
    (home / NAME).unlink(missing_ok=True)
