"""A replay job: what it reads, for whom, and how far it may go from one state to another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

import orjson

State = Literal["running", "paused", "cancelled", "done"]
"""`running`: also while it waits for a store's live events. `cancelled` and `done` are for ever."""
Command = Literal["pause", "resume", "cancel"]

RATE: Final = 500.0
"""Events a second that a job passes on unless it is told otherwise: a tenth of what a tool usually takes, so that live traffic hardly notices."""
_ID_DIGITS: Final = 8
_AFTER: Final[Mapping[Command, State]] = MappingProxyType({"pause": "paused", "resume": "running", "cancel": "cancelled"})


class CommandRefused(Exception):
    """A job cannot take this command in its state; the message says why."""


@dataclass(frozen=True, slots=True)
class Job:
    """What was asked for, for ever.

    Attributes:
        input: Topic that it reads, without prefix.
        start_ms: Broker time of its first event, milliseconds since the epoch.
        end_ms: Broker time before which its last event lies.
        spans: First offset and offset after the last record, by partition.
        sources: Ids of the only sources; empty for all.
        events: Names of the only track events; empty for every call.
        destinations: Ids of the destinations that it sends to.
        storages: Ids of the storages that it writes to.
        rate: Most events a second that it passes on.
        created_ms: When it was made, milliseconds since the epoch.
    """

    input: str
    start_ms: int
    end_ms: int
    spans: Mapping[int, tuple[int, int]]
    sources: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    storages: tuple[str, ...] = ()
    rate: float = RATE
    created_ms: int = 0
    id: str = field(init=False)

    def __post_init__(self) -> None:
        """Name the job after what it does, so that the same one asked for twice is one job."""
        what = [
            self.input,
            self.start_ms,
            self.end_ms,
            *(sorted(each) for each in (self.sources, self.events, self.destinations, self.storages)),
        ]
        object.__setattr__(self, "id", hashlib.sha256(orjson.dumps(what)).hexdigest()[:_ID_DIGITS])

    @property
    def offsets(self) -> int:
        """How many offsets it covers; markers of transactions count too."""
        return sum(end - start for start, end in self.spans.values())

    def left(self, positions: Mapping[int, int]) -> int:
        """Count the offsets that are still to be read.

        Args:
            positions: Committed offset by partition; partitions that have none were not begun.

        Returns:
            0 where the job has come to its end.
        """
        return sum(max(0, end - max(start, positions.get(number, start))) for number, (start, end) in self.spans.items())


def after(state: State, command: Command) -> State:
    """Give the state that a command leads to.

    Args:
        state: The present state.
        command: What is asked.

    Returns:
        The new state; the same one where the command has nothing to do.

    Raises:
        CommandRefused: The job has ended.
    """
    wanted = _AFTER[command]
    if state in ("done", "cancelled"):
        if state == wanted:
            return state
        raise CommandRefused(f"it is {state}, and that is for ever")
    return wanted


def encode_job(job: Job) -> bytes:
    """Write a job as it stands in its topic."""
    return orjson.dumps({**asdict(job), "spans": {str(number): span for number, span in job.spans.items()}})


def decode_job(body: Mapping[str, Any]) -> Job:
    """Read a job.

    Raises:
        ValueError: It is none.
    """
    try:
        return Job(
            input=str(body["input"]),
            start_ms=int(body["start_ms"]),
            end_ms=int(body["end_ms"]),
            spans={int(number): (int(start), int(end)) for number, (start, end) in body["spans"].items()},
            sources=_texts(body["sources"]),
            events=_texts(body["events"]),
            destinations=_texts(body["destinations"]),
            storages=_texts(body["storages"]),
            rate=float(body["rate"]),
            created_ms=int(body["created_ms"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a job: {error!r}") from error


def _texts(values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)
