"""Kafka as the runtime needs it: fenced transactions, explicit positions, topics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from pipeline.model.record import Output, Record, TopicPartition
from pipeline.model.topics import Declared


class Position(NamedTuple):
    """A committed offset and its metadata.

    Attributes:
        offset: Offset of the next record to read.
        metadata: Text stored beside it.
        topic_id: Id of the topic that the offset belongs to. Read it; it is written by the broker's own adapter, for topics that a
            consumer of the group has pinned. Empty where nobody had pinned it: the position was set by hand.
    """

    offset: int
    metadata: str = ""
    topic_id: str = ""


class TopicState(NamedTuple):
    """What a topic is.

    Attributes:
        partitions: How many it has.
        topic_id: What tells it from another topic of the same name, before or after it (KIP-516); empty where a broker does not know.
    """

    partitions: int
    topic_id: str = ""


class GroupMember(NamedTuple):
    """A member of a consumer group.

    Attributes:
        client_id: The name that it gives itself.
        host: Where it connects from.
        partitions: What it was assigned.
    """

    client_id: str
    host: str
    partitions: tuple[TopicPartition, ...] = ()


class Membership(NamedTuple):
    """A member's part in its group, as it was when partitions were assigned; a commit under it is refused once the group has gone on.

    Attributes:
        group: Consumer group with prefix.
        generation: Number of the assignment; negative where the group has lost sight of the member already.
        member_id: The name that the group's coordinator gave it.
        instance_id: Its static name, or empty.
    """

    group: str
    generation: int
    member_id: str
    instance_id: str = ""


class Committed(NamedTuple):
    """What a commit has written.

    Attributes:
        ends: For each partition written to, the offset after the transaction's last record there.
        joined: Whether it went with others in one transaction, and is not the one of them that counts it.
    """

    ends: Mapping[TopicPartition, int]
    joined: bool = False


class BrokerError(Exception):
    """The broker could not do what was asked; the message says what, where and what to do.

    Attributes:
        joined: Whether it is about a transaction of several callers, and this is not the one of them that counts it.
    """

    joined = False


class Fenced(BrokerError):
    """Another instance has taken over this transactional id; what was under way here is void."""


class Uncertain(BrokerError):
    """It is unknown whether a transaction was committed; the producer must be thrown away and positions read anew."""


class RecordRefused(BrokerError):
    """The broker refused a record for what it is (too large); the transaction was aborted."""


class Blocked(BrokerError):
    """Something around us must be mended first (a right, a disk, a topic made anew); to wait is right, to start again helps nothing."""


class Transactions(Protocol):
    """What one input partition commits with: all or nothing. Those of one membership share transactions: whoever waits goes in the next one."""

    async def start(self) -> None:
        """Take over the transactional id: fence a stale owner and end what it left open.

        Only what is read after it, by `Consumer.committed` and with `settled`, is sure to have all that an earlier owner committed.

        Raises:
            BrokerError: The broker did not answer in time.
        """
        ...

    async def commit(self, outputs: Sequence[Output], positions: Mapping[TopicPartition, Position], group: str) -> Committed:
        """Write records and a group's positions, all or nothing.

        Args:
            outputs: Records in order.
            positions: Input positions to commit with them.
            group: The consumer group that they belong to.

        Returns:
            Where what was written ends.

        Raises:
            Fenced: Another instance has taken over, or the group has gone on without this member.
            RecordRefused: A record of these was refused; nothing was written.
            Blocked: A right is missing; nothing was written.
            Uncertain: The outcome is unknown.
        """
        ...

    async def stop(self) -> None:
        """Abort what is open and close the connections; never raises."""
        ...


Assigned = Callable[[Collection[TopicPartition]], Awaitable[None]]
Revoked = Callable[[Collection[TopicPartition]], Awaitable[None]]


class Consumer(Protocol):
    """A member of a consumer group that reads committed records only, at positions that it is told."""

    async def start(self, topics: Collection[str], assigned: Assigned, revoked: Revoked) -> None:
        """Join the group.

        Args:
            topics: Topics to read.
            assigned: Called with the partitions of each new assignment; they are paused until resumed.
            revoked: Called before partitions are taken away.
        """
        ...

    async def fetch(self, timeout_seconds: float) -> Mapping[TopicPartition, Sequence[Record]]:
        """Wait for records of the partitions that are not paused.

        Args:
            timeout_seconds: Longest wait.

        Returns:
            Records by partition; empty when none came.
        """
        ...

    def pause(self, partition: TopicPartition) -> None:
        """Stop fetching a partition."""
        ...

    def resume(self, partition: TopicPartition) -> None:
        """Fetch a partition again."""
        ...

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Set the offset that is read next."""
        ...

    def membership(self) -> Membership:
        """Give the membership under which the present partitions were assigned; to be asked for while `assigned` is called."""
        ...

    async def committed(self, partition: TopicPartition) -> Position | None:
        """Read the group's committed position, or None where there is none; a transaction that is about to decide it is waited for."""
        ...

    async def bounds(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, tuple[int, int]]:
        """Read first and end offset (read_committed) of partitions."""
        ...

    async def behind(self, partition: TopicPartition) -> int:
        """Give how many committed records of an assigned partition have not been fetched yet, as far as is known without asking the broker.

        A partition that is not assigned (any more) counts as 0.
        """
        ...

    async def position(self, partition: TopicPartition) -> int:
        """Give the offset of an assigned partition that is fetched next."""
        ...

    async def describe(self, topics: Collection[str]) -> Mapping[str, TopicState]:
        """Ask the broker, also before `start`, what topics are now; those that do not exist are left out.

        Raises:
            BrokerError: It does not answer.
        """
        ...

    def pin(self, topic_ids: Mapping[str, str]) -> None:
        """Say which topics the group works on: from now on its committed positions carry the ids of theirs.

        Args:
            topic_ids: Ids by topic.
        """
        ...

    async def commit(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Commit the group's positions outside a transaction, for readers whose own store says where they are."""
        ...

    async def stop(self) -> None:
        """Leave the group."""
        ...


class Producer(Protocol):
    """An idempotent producer outside transactions, for the collector."""

    async def start(self) -> None:
        """Connect."""
        ...

    async def send(self, outputs: Sequence[Output]) -> None:
        """Write records and wait until the broker has stored all of them (acks=all).

        Args:
            outputs: Records in order.

        Raises:
            RecordRefused: A record of these was refused; others may be stored.
            BrokerError: Some of them may not be stored.
        """
        ...

    async def stop(self) -> None:
        """Flush and disconnect."""
        ...


class Reader(Protocol):
    """Reads committed records without a group."""

    def read(
        self,
        topic: str,
        *,
        start: Mapping[int, int] | None = None,
        partitions: Collection[int] | None = None,
        follow: bool = False,
        settled: bool = False,
    ) -> AsyncIterator[Sequence[Record]]:
        """Read a topic from given offsets to its present end, or for ever.

        Args:
            topic: Topic with prefix.
            start: Offset by partition; a negative one counts back from the present end: -1 is the end, -11 ten offsets before it (or the
                beginning, if that is nearer). Partitions not named start at the beginning.
            partitions: The partitions to read, or None for all.
            follow: Whether to go on after the present end, with an empty sequence about every half second without records.
            settled: Whether to wait first until all that has been written there is committed or aborted: for who takes up another's state.

        Yields:
            Records in the order of their partition.

        Raises:
            BrokerError: The topic does not exist, the broker does not answer, or what is open there does not end.
        """
        ...


class Lookup(Protocol):
    """Looks at single places of many topics over one connection, committed records only, without a group; one look at a time."""

    async def start(self, topics: Collection[str]) -> Mapping[TopicPartition, tuple[int, int]]:
        """Connect.

        Args:
            topics: Topics with prefix that will be looked at; those that do not exist are passed over.

        Returns:
            First and end offset (read_committed) of each of their partitions.

        Raises:
            BrokerError: The broker does not answer.
        """
        ...

    async def offset_at(self, partition: TopicPartition, time_ms: int) -> int:
        """Find a time in a partition.

        Args:
            partition: A partition of the topics.
            time_ms: Broker append time, milliseconds since the epoch.

        Returns:
            The first offset that was written then or later (it may be a transaction's marker); the end offset where there is none.
        """
        ...

    def read(self, partition: TopicPartition, start: int, end: int, *, most: int = 500) -> AsyncIterator[Sequence[Record]]:
        """Read a range of a partition.

        Args:
            partition: A partition of the topics.
            start: First offset; what is no longer there is passed over.
            end: Offset to end before; no further than the end offset at the start.
            most: Most records at once, for who looks at the first few only.

        Yields:
            Records in order.

        Raises:
            BrokerError: The broker does not answer.
        """
        ...

    async def stop(self) -> None:
        """Disconnect; never raises."""
        ...


class Admin(Protocol):
    """Topics and offsets of a cluster."""

    async def topics(self) -> Mapping[str, int]:
        """Give every topic with its number of partitions; who needs to know of a few asks for those."""
        ...

    async def describe(self, topics: Collection[str]) -> Mapping[str, TopicState]:
        """Say what topics are now; those that do not exist are left out.

        Raises:
            BrokerError: The broker does not say.
        """
        ...

    async def create(self, topics: Iterable[Declared]) -> None:
        """Create topics that do not exist yet.

        Raises:
            BrokerError: A topic could not be created; names it.
        """
        ...

    async def lags(self, group: str, topics: Collection[str]) -> Mapping[TopicPartition, int]:
        """Give how many records a group has not read yet, by partition."""
        ...

    async def groups(self) -> Collection[str]:
        """Give the names of the consumer groups that have members or committed positions."""
        ...

    async def members(self, group: str) -> Sequence[GroupMember]:
        """Give the members of a group; none for a group that is stopped or does not exist."""
        ...

    async def positions(self, group: str) -> Mapping[TopicPartition, Position]:
        """Give all committed positions of a group."""
        ...

    async def set_positions(self, group: str, positions: Mapping[TopicPartition, Position]) -> None:
        """Commit positions for a group that has no members.

        Raises:
            BrokerError: It has members, which would not notice.
        """
        ...


class Broker(Protocol):
    """A Kafka cluster, or the one in memory."""

    def transactions(self, transactional_id: str, membership: Membership | None = None) -> Transactions:
        """Make what commits, not started.

        Args:
            transactional_id: Id that encodes group and input partition.
            membership: The membership whose partitions commit together and are fenced by their group, or None for who commits alone.
        """
        ...

    def consumer(self, group: str) -> Consumer:
        """Make a group member, not started."""
        ...

    def pinned(self, group: str, topic: str) -> str:
        """Give the id of the topic that a group works on; empty where none of its consumers has pinned it, or the broker knows no ids."""
        ...

    def producer(self) -> Producer:
        """Make an idempotent producer, not started."""
        ...

    def reader(self) -> Reader:
        """Make a reader without a group."""
        ...

    def lookup(self) -> Lookup:
        """Make what looks at single places, not started."""
        ...

    def admin(self) -> Admin:
        """Make an admin client."""
        ...
