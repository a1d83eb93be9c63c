"""What was found of one event in the topics, and how its way is run again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from pipeline.model.record import Output, Record
from pipeline.model.workspace import Workspace

Verdict = Literal["passed", "dropped", "dead", "blocked"]


class Judged(NamedTuple):
    """What steps made of one record.

    Attributes:
        verdict: How it ended.
        reason: Registered reason; empty for `passed`.
        outputs: What the transaction would write, in order, topics with prefix; for `passed` the last one on `main` goes on.
        withheld: Where it does not go, as (destination, reason).
    """

    verdict: Verdict
    reason: str
    outputs: tuple[Output, ...] = ()
    withheld: tuple[tuple[str, str], ...] = ()


class Taken(NamedTuple):
    """The transaction that took a record, as the ledger tells it.

    Attributes:
        at: When the broker stored it, milliseconds since the epoch.
        reasons: Reasons of inputs that did not pass, or were withheld from a destination, as (verdict, reason, destination).
    """

    at: int
    reasons: tuple[tuple[str, str, str], ...] = ()


class Recomputation(Protocol):
    """Runs the steps of a version of the configuration on a record again. Pure: the same record gives the same outputs."""

    def versions(self) -> Sequence[int]:
        """Give the versions that are known, ascending."""
        ...

    def workspace(self, version: int) -> Workspace:
        """Give a version.

        Raises:
            KeyError: It is not known.
        """
        ...

    def version_at(self, at_ms: int) -> int:
        """Give the version that was in force at a time (milliseconds since the epoch); the first known one before that."""
        ...

    def judge(self, step: str, record: Record, version: int, *, instance: str = "", enrichments: Sequence[str] | None = None) -> Judged:
        """Run one step on one record.

        Args:
            step: Name of the step; not `dedup`, which depends on what came before.
            record: The input.
            version: Version of the configuration.
            instance: Id of the destination, for `translate`.
            enrichments: The only enrichments to run; None for those of the topology.

        Returns:
            What became of it.

        Raises:
            KeyError: The version is not known, or has no such destination.
            ValueError: The version's steps cannot be built on this machine.
        """
        ...


@dataclass(slots=True)
class Evidence:
    """What was found of one event.

    Attributes:
        message_id: What was asked for: its message id, or the place of a record.
        source: Its source, or empty.
        now_ms: When it was looked for, milliseconds since the epoch.
        raw: Its records in `raw`; the one that dedup let through first.
        records: What the stages wrote of it, by topic without prefix.
        dead: Its dead letters, and what was blocked.
        taken: The transactions that took it, by group without prefix.
        behind: Groups that have not come to it yet.
        expired: Topics without prefix in which its place is no longer kept.
        requests: Requests that were made of it, live topics only.
        replays: Requests that replay jobs made of it.
        retries: Where it waited, or waits, for another try: `retry.*` and `requests.*.retry`.
        attempts: Records of `deliveries`.
        rows: Whether it is in a storage: `stored`, `missing`, or why that cannot be said; by storage.
        searched: What was looked through, a sentence each.
        given_up: What was not looked through to its end, a sentence each.
        first_seen: Where dedup saw the message first, when that is another record than the one that was asked for by its place.
    """

    message_id: str
    source: str = ""
    now_ms: int = 0
    raw: list[Record] = field(default_factory=list)
    records: dict[str, Record] = field(default_factory=dict)
    dead: list[Record] = field(default_factory=list)
    taken: dict[str, Taken] = field(default_factory=dict)
    behind: set[str] = field(default_factory=set)
    expired: set[str] = field(default_factory=set)
    requests: list[Record] = field(default_factory=list)
    replays: list[Record] = field(default_factory=list)
    retries: list[Record] = field(default_factory=list)
    attempts: list[Record] = field(default_factory=list)
    rows: dict[str, str] = field(default_factory=dict)
    searched: list[str] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    first_seen: str = ""

    @property
    def found(self) -> bool:
        """Whether anything was found."""
        return bool(self.raw or self.records or self.dead or self.requests or self.attempts)


def header(record: Record, name: str) -> str:
    """Read a header as text.

    Args:
        record: The record.
        name: Name of the header; where it is repeated, the last counts.

    Returns:
        The text; empty where there is none.
    """
    return (dict(record.headers).get(name) or b"").decode("utf-8", "replace")


def number(record: Record, name: str) -> int:
    """Read a header as a number; 0 where it is none."""
    text = header(record, name)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def short_topic(topic: str, prefix: str) -> str:
    """Give a topic's name without the workspace's prefix."""
    return topic.removeprefix(f"{prefix}.")
