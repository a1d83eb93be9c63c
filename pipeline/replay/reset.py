"""Where a consumer group is set back, or forward, to."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple

from pipeline.model.record import TopicPartition
from pipeline.model.times import parse_time
from pipeline.model.topology import Processor, Topology

_SHIFT: Final = re.compile(r"[+-]\d{1,18}", re.ASCII)
_OFFSET: Final = re.compile(r"\d{1,18}", re.ASCII)
_DIGITS: Final = 16


class Target(NamedTuple):
    """Where a group is to read on.

    Attributes:
        kind: `earliest` and `latest`: what the topic still has, and its end. `time`: the first record of that broker time or later.
            `shift`: so many offsets on or back. `offset`: that offset in each partition.
        value: Milliseconds since the epoch, how many offsets, or the offset.
    """

    kind: Literal["earliest", "latest", "time", "shift", "offset"]
    value: int = 0


class Move(NamedTuple):
    """One partition of a reset.

    Attributes:
        partition: Topic with prefix, and partition.
        before: The committed offset; None where the group has none, and so begins at the first.
        after: The offset that it gets.
        first: First offset that the partition still has.
        end: Its end.
    """

    partition: TopicPartition
    before: int | None
    after: int
    first: int
    end: int

    @property
    def again(self) -> tuple[int, int]:
        """Offsets that will be read again; an empty range where none are."""
        return self.after, max(self.after, min(self._known, self.end))

    @property
    def skipped(self) -> tuple[int, int]:
        """Offsets that will never be read; an empty range where none are."""
        return self._known, max(self._known, self.after)

    @property
    def _known(self) -> int:
        return self.first if self.before is None else max(self.before, self.first)


def parse_target(text: str, now_ms: int) -> Target:
    """Read what `--to` says.

    Args:
        text: earliest, latest, `+N`, `-N`, an offset, or a time.
        now_ms: The present, milliseconds since the epoch.

    Returns:
        The target.

    Raises:
        ValueError: It is none of these.
    """
    if text == "earliest":
        return Target("earliest")
    if text == "latest":
        return Target("latest")
    if _SHIFT.fullmatch(text):
        return Target("shift", int(text))
    if _OFFSET.fullmatch(text):
        return Target("offset", int(text))
    return Target("time", parse_time(text, now_ms))


def plan_reset(
    target: Target,
    committed: Mapping[TopicPartition, int],
    bounds: Mapping[TopicPartition, tuple[int, int]],
    at_time: Mapping[TopicPartition, int],
) -> list[Move]:
    """Work out where each partition is set to; never outside of what it holds.

    Args:
        target: Where to.
        committed: Committed offsets of the group; partitions without one are left out.
        bounds: First and end offset of every partition that the group reads.
        at_time: Offset of the target's time by partition, for a time.

    Returns:
        A move for each partition, in order; one that changes nothing among them.
    """
    moves = []
    for partition, (first, end) in sorted(bounds.items()):
        before = committed.get(partition)
        known = first if before is None else before
        wanted = {
            "earliest": first,
            "latest": end,
            "shift": known + target.value,
            "offset": target.value,
            "time": at_time.get(partition, end),
        }[target.kind]
        moves.append(Move(partition, before, min(max(wanted, first), end), first, end))
    return moves


def checksum(positions: Mapping[TopicPartition, int]) -> str:
    """Give a short text that is equal for equal positions.

    Args:
        positions: Offset by partition.

    Returns:
        The first half of SHA-256 over the lines `topic/partition/offset`, sorted.
    """
    lines = sorted(f"{topic}/{number}/{offset}\n" for (topic, number), offset in positions.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:_DIGITS]


def yields_only_duplicates(processor: Processor) -> bool:
    """Say whether what a processor reads again ends as a duplicate: its own dedup has seen all of it."""
    return "dedup" in processor.steps


def doubled_stores(topology: Topology, name: str, storages: Iterable[str]) -> list[str]:
    """Name the stores that would get rows twice if a processor read its topic again.

    What it writes again are new records to whoever reads them. A store knows what it has by offsets, so it would keep both, unless a dedup on the way
    drops the copy (docs/adr/0010).

    Args:
        topology: The topology.
        name: The processor.
        storages: Ids of the declared storages.

    Returns:
        Groups without prefix, sorted; empty where nothing is doubled.
    """
    written: set[str] = set()
    found: set[str] = set()
    ways = [topology.processors[name]]
    while ways:
        one = ways.pop()
        if one.kind == "lake" and one.name != name:
            found.add(one.name)
        if one.kind != "steps" or "dedup" in one.steps:
            continue
        topics = set(one.lanes.values()) - written
        written |= topics
        ways += [reader for reader in topology.processors.values() if reader.input in topics]
    return sorted(f"{store}.{storage}" for store in found for storage in storages)
