"""Where consumer groups stand, and how one is set to another place while its processes run.

A group with members cannot be set: they would go on from where they are. So the command writes to the topic `jobs` that the group is held back; every
process that has a member of it lets it finish and leave; the offsets are set; the hold is taken away, and the members come back and begin there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from pipeline.app.cli.errors import CommandError
from pipeline.app.live.graph import groups
from pipeline.model.record import TopicPartition
from pipeline.model.topics import topic_name
from pipeline.model.topology import Topology
from pipeline.model.workspace import Workspace
from pipeline.ports.broker import Admin, Broker, GroupMember, Position
from pipeline.ports.clock import Clock
from pipeline.replay.board import HOLD_MS, hold_record, reset_record
from pipeline.replay.reset import Move, Target, plan_reset
from pipeline.runtime.replay.jobs import Jobs

LEAVE_SECONDS: Final = 30.0
"""Longest wait until a held group has no members: a member has 4 s for what is in flight, and one that is dead is given up after 6."""
RETURN_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 0.5
COUNTED_MOST: Final = 1_000_000
"""Most offsets whose records are counted one by one; a range with more is given as its offsets."""


class Place(NamedTuple):
    """One partition of a group.

    Attributes:
        partition: Topic with prefix, and partition.
        committed: Committed offset, or None.
        first: First offset that the partition still has.
        end: Its end.
    """

    partition: TopicPartition
    committed: int | None
    first: int
    end: int

    @property
    def lag(self) -> int:
        """How many offsets are not committed; markers of transactions count too."""
        return max(0, self.end - (self.first if self.committed is None else self.committed))


class Group(NamedTuple):
    """A consumer group.

    Attributes:
        name: Its name, without prefix.
        places: Its partitions, in order.
        members: Who reads for it now.
    """

    name: str
    places: tuple[Place, ...]
    members: tuple[GroupMember, ...]


async def read_groups(broker: Broker, prefix: str, topology: Topology, workspace: Workspace | None) -> list[Group]:
    """Read where every group of a workspace stands: those that the topology declares, then those that the cluster knows besides.

    Args:
        broker: The cluster.
        prefix: The workspace's name.
        topology: The topology that is run.
        workspace: What is declared, or None where nothing was applied yet.

    Returns:
        The groups.
    """
    admin = broker.admin()
    declared: Mapping[str, Sequence[str]] = groups(topology, workspace) if workspace is not None else {}
    found = [name.removeprefix(f"{prefix}.") for name in await admin.groups() if name.startswith(f"{prefix}.")]
    names = [*declared, *(name for name in found if name not in declared)]
    return list(await asyncio.gather(*(read_group(broker, prefix, name, declared.get(name, ())) for name in names)))


async def read_group(broker: Broker, prefix: str, name: str, topics: Iterable[str]) -> Group:
    """Read where a group stands.

    Args:
        broker: The cluster.
        prefix: The workspace's name.
        name: The group, without prefix.
        topics: Topics that it is declared to read, without prefix; those that it has offsets of come besides.

    Returns:
        The group.
    """
    admin = broker.admin()
    group = topic_name(prefix, name)
    members, positions = await asyncio.gather(admin.members(group), admin.positions(group))
    bounds = await _bounds(broker, {topic_name(prefix, topic) for topic in topics} | {partition.topic for partition in positions})
    places = (Place(one, positions[one].offset if one in positions else None, *bound) for one, bound in sorted(bounds.items()))
    return Group(name, tuple(places), tuple(members))


async def _bounds(broker: Broker, topics: Iterable[str]) -> Mapping[TopicPartition, tuple[int, int]]:
    lookup = broker.lookup()
    try:
        return await lookup.start(list(topics))
    finally:
        await lookup.stop()


async def plan(broker: Broker, group: Group, target: Target) -> list[Move]:
    """Work out where a reset leads, without changing anything.

    Args:
        broker: The cluster.
        group: The group.
        target: Where to.

    Returns:
        A move for each partition.
    """
    committed = {place.partition: place.committed for place in group.places if place.committed is not None}
    at_time: dict[TopicPartition, int] = {}
    lookup = broker.lookup()
    try:
        bounds = await lookup.start({place.partition.topic for place in group.places})
        if target.kind == "time":
            at_time = {partition: await lookup.offset_at(partition, target.value) for partition in bounds}
    finally:
        await lookup.stop()
    return plan_reset(target, committed, bounds, at_time)


async def count_records(broker: Broker, ranges: Mapping[TopicPartition, tuple[int, int]]) -> dict[TopicPartition, int]:
    """Count the committed records of ranges of offsets.

    Args:
        broker: The cluster.
        ranges: First offset and offset after the last, by partition.

    Returns:
        Records by partition; where there are more than a million offsets, the offsets instead, which markers of transactions are among.
    """
    if sum(end - start for start, end in ranges.values()) > COUNTED_MOST:
        return {partition: end - start for partition, (start, end) in ranges.items()}
    lookup = broker.lookup()
    counts = dict.fromkeys(ranges, 0)
    try:
        await lookup.start({partition.topic for partition, (start, end) in ranges.items() if end > start})
        for partition, (start, end) in ranges.items():
            if end > start:
                async for records in lookup.read(partition, start, end):
                    counts[partition] += len(records)
    finally:
        await lookup.stop()
    return counts


async def set_back(
    broker: Broker, prefix: str, group: Group, moves: Sequence[Move], clock: Clock, say: Callable[[str], None]
) -> tuple[dict[TopicPartition, int], bool]:
    """Set a group's offsets; one that is at work is held back meanwhile.

    Args:
        broker: The cluster.
        prefix: The workspace's name.
        group: The group as it was read.
        moves: Where each partition is set to.
        clock: Time.
        say: Says what is being done.

    Returns:
        The offsets that the broker has now, and whether the group's members came back; True for a group that had none.

    Raises:
        CommandError: Somebody does not leave the group; nothing was changed.
        BrokerError: The broker did not do it.
    """
    admin, name = broker.admin(), topic_name(prefix, group.name)
    jobs = Jobs(broker, prefix, clock)
    positions = {move.partition: Position(move.after) for move in moves}
    if not await admin.members(name):
        await admin.set_positions(name, positions)
        await jobs.write(*reset_record(group.name, clock.now_ms()))
        return await _offsets(broker, name), True
    async with _held(jobs, group.name, clock):
        say(f"holding {group.name} back")
        if stay := await _members(admin, name, wanted=False, seconds=LEAVE_SECONDS):
            who = ", ".join(f"{member.client_id} at {member.host}" for member in stay)
            raise CommandError(
                f"{group.name} is still read by {who}: nothing was changed",
                "stop that process, or give it this version of Headrace and try again",
            )
        say("setting its offsets")
        await admin.set_positions(name, positions)
        await jobs.write(*reset_record(group.name, clock.now_ms()))
    say("letting it go on")
    return await _offsets(broker, name), bool(await _members(admin, name, wanted=True, seconds=RETURN_SECONDS))


@asynccontextmanager
async def _held(jobs: Jobs, group: str, clock: Clock) -> AsyncIterator[None]:
    await jobs.write(*hold_record(group, clock.now_ms() + HOLD_MS))
    try:
        yield
    finally:
        await jobs.write(*hold_record(group, None))


async def _members(admin: Admin, group: str, *, wanted: bool, seconds: float) -> Sequence[GroupMember]:
    """Wait until a group has members, or has none; gives those that it has in the end."""
    end = asyncio.get_running_loop().time() + seconds
    while True:
        members = await admin.members(group)
        if bool(members) == wanted or asyncio.get_running_loop().time() > end:
            return members
        await asyncio.sleep(LOOK_SECONDS)


async def _offsets(broker: Broker, group: str) -> dict[TopicPartition, int]:
    return {partition: position.offset for partition, position in (await broker.admin().positions(group)).items()}
