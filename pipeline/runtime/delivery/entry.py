"""A request that deliver has taken up, and whose it is."""

from __future__ import annotations

from typing import Final, Protocol

from pipeline.model.record import Record
from pipeline.runtime.translated_anew import Renewed

REPLAY: Final = 2
"""Rank of what replay jobs send."""


class Entry:
    """A request that is not finished.

    Attributes:
        record: Its record.
        owner: The worker of its partition.
        finished: Whether its outcome is among the outputs of a transaction.
        failures: How many tries have failed.
        first_attempt_ms: When the first try was made; 0 before it.
        not_before_ms: Before this time the next try is not made; 0 for none.
        held: Whether it lies in the held topic.
        loose: Whether it does not wait for others of its key.
        size: Bytes of its value when it was taken; what counts them counts the same when it is translated anew.
        anew: What it became when it was translated anew, or None.
    """

    __slots__ = ("anew", "failures", "finished", "first_attempt_ms", "held", "loose", "not_before_ms", "owner", "record", "size")

    def __init__(self, record: Record, owner: Member, *, finished: bool = False) -> None:
        self.record = record
        self.owner = owner
        self.finished = finished
        self.failures = 0
        self.first_attempt_ms = 0
        self.not_before_ms = 0
        self.held = False
        self.loose = False
        self.size = len(record.value or b"")
        self.anew: Renewed | None = None


class Member(Protocol):
    """A worker whose requests a lane sends."""

    rank: int
    """Which of its requests go first: retries, then live traffic, then replay jobs (`rank_of`)."""

    @property
    def unfinished(self) -> int:
        """How many of its requests it has taken up and not finished; those that are held in order are not among them."""
        ...

    async def attempt(self, entry: Entry) -> None:
        """Send one of its requests and note the outcome; never raises."""
        ...


def rank_of(topic: str) -> int:
    """Rank the requests of a topic.

    Args:
        topic: `requests.<destination>`, its `.retry` or its `.replay`.

    Returns:
        0 for what goes first.
    """
    return 0 if topic.endswith(".retry") else REPLAY if topic.endswith(".replay") else 1
