"""The arrows between processors that a topology draws, each with what went in and what came out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from pipeline.audit.accounts import Accounts
from pipeline.model.topology import Processor, Topology

Readers = Mapping[str, Sequence[str]]
"""Input topics by consumer group, both without prefix."""

RETRIED: Final = ".retry"
"""What the name of a topic ends with that gives a destination's requests back to it."""


REPLAYED: Final = ".replay"
"""What the name of a topic ends with that holds what replay jobs write."""


class Arrow(NamedTuple):
    """What some processors write, and others read.

    Attributes:
        writers: Consumer groups; none where anybody writes, as to `raw`.
        lane: Lane of the writers, or empty.
        written: Records written, with those that were redriven from dead letters; None where anybody writes.
        readers: Groups and topics that take them.
        ended: Of what was written, what ended on the way (a retry whose destination is gone).
        through: Groups and topics that only hold what is on its way, between the writers and the readers.
    """

    writers: tuple[str, ...]
    lane: str
    written: int | None
    readers: tuple[tuple[str, str], ...]
    ended: int = 0
    through: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """What a person calls it."""
        start = f"{_together(self.writers)} {self.lane}" if self.writers else self.readers[0][1]
        middle = f" → {_together(tuple(dict.fromkeys(group for group, _ in self.through)))}" if self.through else ""
        return f"{start}{middle} → {_together(tuple(dict.fromkeys(group for group, _ in self.readers)))}"


def arrows(topology: Topology, readers: Readers, accounts: Accounts) -> list[Arrow]:
    """Find the arrows.

    Args:
        topology: The topology.
        readers: Every group and what it reads.
        accounts: What the ledger says.

    Returns:
        The arrows in the order of the topology's processors, each under its reader.
    """
    found: list[Arrow] = []
    for reader in topology.processors.values():
        if reader.kind == "replay":
            found += _replays(reader, topology, readers, accounts)
        else:
            found += _retries(reader, topology, readers, accounts) if reader.kind == "retry" else _inputs(reader, topology, readers, accounts)
    return found


def _replays(replay: Processor, topology: Topology, readers: Readers, accounts: Accounts) -> Iterator[Arrow]:
    """What jobs write, and retries of it that come back: what a job reads is a range that a person chose, so there is no arrow into it."""
    jobs = _groups(replay, readers)
    for lane, kind, returned in (("requests", "deliver", "retry"), ("rows", "lake", "")):
        taken = [
            (group, topic)
            for one in topology.processors.values()
            if one.kind == kind
            for group in _groups(one, readers)
            for topic in readers[group]
            if topic.endswith(REPLAYED)
        ]
        back = [group for one in topology.processors.values() if returned and one.kind == returned for group in _groups(one, readers)]
        if jobs and taken:
            written = sum(_lane(accounts, group, lane) for group in jobs) + sum(_lane(accounts, group, "replay") for group in back)
            yield Arrow(tuple(jobs), lane, written, tuple(taken))


def _inputs(reader: Processor, topology: Topology, readers: Readers, accounts: Accounts) -> Iterator[Arrow]:
    writers = [
        (one, lane) for one in topology.processors.values() for lane, topic in one.lanes.items() if topic == reader.input and one.input != topic
    ]
    groups = _groups(reader, readers)
    if "{destination}" in reader.input and not all(writer.for_each for writer, _ in writers):
        # One writer for all destinations: its ledger says how many requests it made, not for whom.
        yield _arrow(writers, "", tuple((group, _live(readers[group])) for group in groups), readers, accounts)
        return
    for group in groups:
        instance = group.partition(".")[2] if "{destination}" in reader.input else ""
        yield _arrow(writers, instance, ((group, _live(readers[group])),), readers, accounts)


def _arrow(
    writers: Sequence[tuple[Processor, str]], instance: str, pairs: tuple[tuple[str, str], ...], readers: Readers, accounts: Accounts
) -> Arrow:
    own = [(group, lane) for writer, lane in writers for group in _groups(writer, readers) if not instance or group == f"{writer.name}.{instance}"]
    if not writers:
        return Arrow((), "", None, pairs)
    redriven = sum(accounts.redriven(topic) for topic in {topic for _, topic in pairs})
    return Arrow(tuple(group for group, _ in own), writers[0][1], redriven + sum(_lane(accounts, group, lane) for group, lane in own), pairs)


def _retries(retry: Processor, topology: Topology, readers: Readers, accounts: Accounts) -> Iterator[Arrow]:
    """One arrow for the whole loop: retry may hand a long wait on to another of its own topics, which its ledger counts like any other."""
    delivering = [group for one in topology.processors.values() if one.kind == "deliver" for group in _groups(one, readers)]
    if not delivering:
        return
    taken = tuple((group, topic) for group in delivering for topic in readers[group] if topic.endswith(RETRIED))
    holding = _groups(retry, readers)
    ended = sum(
        accounts.processors[group].ends["dead"].total() + _lane(accounts, group, "replay") for group in holding if group in accounts.processors
    )
    through = tuple((group, topic) for group in holding for topic in readers[group])
    written = sum(_lane(accounts, group, "retry") for group in delivering) + sum(accounts.redriven(topic) for _, topic in taken)
    yield Arrow(tuple(delivering), "retry", written, taken, ended, through)


def _groups(processor: Processor, readers: Readers) -> list[str]:
    return [group for group in readers if group.partition(".")[0] == processor.name]


def _live(topics: Sequence[str]) -> str:
    return next((topic for topic in topics if not topic.endswith((RETRIED, REPLAYED))), topics[0])


def _lane(accounts: Accounts, group: str, lane: str) -> int:
    account = accounts.processors.get(group)
    return account.lanes[lane] if account else 0


def _together(groups: Sequence[str]) -> str:
    """Write `deliver.a` and `deliver.b` as `deliver.*`."""
    if len(groups) == 1:
        return groups[0]
    return ", ".join(dict.fromkeys(f"{group.partition('.')[0]}.*" if "." in group else group for group in groups))
