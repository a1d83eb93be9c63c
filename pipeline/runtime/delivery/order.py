"""Which requests of one partition may be sent: those of one key one after another, and with `order: user` also through retries."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import AsyncIterable, Callable, Sequence
from typing import Protocol

from pipeline.deliver.holding import CHAIN_MOST, HELD_BYTES, HELD_MOST, waiting
from pipeline.model import headers as names
from pipeline.model.headers import number_in
from pipeline.model.record import Record, TopicPartition
from pipeline.ports.broker import Broker
from pipeline.runtime.delivery.entry import Entry, Member


class Chain:
    """The requests of one key: one that is sent or waits for its next try, and those behind it.

    Attributes:
        waiting: Those behind it, in order.
        held: How many of them all lie in the held topic.
    """

    __slots__ = ("held", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Entry] = deque()
        self.held = 0


class Holder(Protocol):
    """Where held requests lie, in outputs of a transaction."""

    def hold(self, entry: Entry) -> None:
        """Write a request, or what has changed about it, to the held topic."""
        ...


class KeyOrder:
    """The chains of one partition.

    Args:
        put: Hands a request to the lane.
        holder: Writes what waits to the held topic.
        waived: Called for each request of a busy key that does not wait, because its destination does not keep the order of users.
    """

    def __init__(self, put: Callable[[Entry], None], holder: Holder, waived: Callable[[], None]) -> None:
        self._put = put
        self._holder = holder
        self._waived = waived
        self._chains: dict[bytes, Chain] = {}
        self._restored: dict[int, Entry] = {}
        self._due: list[tuple[int, int, Entry]] = []
        self.held = 0
        self._held_bytes = 0

    @property
    def full(self) -> bool:
        """Whether so much is held that no more may be taken."""
        return self.held >= HELD_MOST or self._held_bytes >= HELD_BYTES

    def restore(self, records: Sequence[Record], owner: Member, start: int) -> None:
        """Take up what a worker before this one held.

        Args:
            records: What waits, in the order of the offsets.
            owner: The worker.
            start: Offset that the live partition is read from. What was held beyond it takes its place when reading comes by,
                behind what is sent again before it.
        """
        for record in records:
            entry = Entry(record, owner, finished=True)
            headers = dict(record.headers)
            entry.failures = number_in(headers, names.ATTEMPT, 0)
            entry.first_attempt_ms = number_in(headers, names.FIRST_ATTEMPT, 0)
            entry.not_before_ms = number_in(headers, names.NOT_BEFORE, 0)
            entry.held = True
            self.held += 1
            self._held_bytes += entry.size
            if record.offset < start:
                self._append(entry)
            else:
                self._restored[record.offset] = entry

    def come_by(self, offset: int) -> bool:
        """Say whether the record at an offset is held already, and give it its place."""
        entry = self._restored.pop(offset, None) if self._restored else None
        if entry is None:
            return False
        self._append(entry)
        return True

    def _append(self, entry: Entry) -> None:
        key = entry.record.key or b""
        chain = self._chains.get(key)
        if chain is None:
            self._chains[key] = chain = Chain()
            heapq.heappush(self._due, (entry.not_before_ms, entry.record.offset, entry))
        else:
            chain.waiting.append(entry)
        chain.held += 1

    def enter(self, entry: Entry, key: bytes, *, ordered: bool) -> None:
        """Take a new request of a key.

        Args:
            entry: The request.
            key: Its key.
            ordered: Whether its destination keeps the order of users.
        """
        chain = self._chains.get(key)
        if chain is None:
            self._chains[key] = Chain()
            self._put(entry)
        elif chain.held or (ordered and len(chain.waiting) >= CHAIN_MOST):
            chain.waiting.append(entry)
            self._hold_all(chain)
        elif len(chain.waiting) >= CHAIN_MOST:
            entry.loose = True
            self._waived()
            self._put(entry)
        else:
            chain.waiting.append(entry)

    def failed(self, entry: Entry) -> None:
        """Hold a request that has to be tried again, and all behind it; `entry.not_before_ms` says when."""
        chain = self._chains[entry.record.key or b""]
        self._hold(entry, chain)
        self._hold_all(chain)
        heapq.heappush(self._due, (entry.not_before_ms, entry.record.offset, entry))

    def _hold_all(self, chain: Chain) -> None:
        for entry in reversed(chain.waiting):
            if entry.held:
                break  # those before it are held as well
            self._hold(entry, chain)

    def _hold(self, entry: Entry, chain: Chain) -> None:
        if not entry.held:
            chain.held += 1
            self.held += 1
            self._held_bytes += entry.size
        self._holder.hold(entry)
        entry.held = True

    def finish(self, entry: Entry) -> Entry | None:
        """Note that a request has ended.

        Args:
            entry: The request.

        Returns:
            The next one of its key, or None.
        """
        key = entry.record.key
        if key is None or entry.loose:
            return None
        chain = self._chains[key]
        if entry.held:
            chain.held -= 1
            self.held -= 1
            self._held_bytes -= entry.size
        if chain.waiting:
            return chain.waiting.popleft()
        del self._chains[key]
        return None

    def wait_ms(self, now_ms: int) -> int | None:
        """Give the time until a held request is due, at least 0; None where none waits for a time."""
        return max(0, self._due[0][0] - now_ms) if self._due else None

    def release_due(self, now_ms: int) -> None:
        """Hand to the lane what is due."""
        due = self._due
        while due and due[0][0] <= now_ms:
            self._put(heapq.heappop(due)[2])


class HeldTopic:
    """Reads what the workers of a destination hold.

    Args:
        broker: Where the topic is.
        topic: `requests.<destination>` with prefix.
    """

    def __init__(self, broker: Broker, topic: str) -> None:
        self._broker = broker
        self._topic = topic
        self.name = f"{topic}.held"
        self._exists: bool | None = None

    async def read(self, partition: TopicPartition, *, ordered: bool) -> list[Record]:
        """Read what waits in a partition.

        Args:
            partition: Partition of `requests.<destination>`, whose producer is fenced.
            ordered: Whether the destination keeps the order of users; where it does not any more, there may be no topic.

        Returns:
            What waits, in the order of the offsets.

        Raises:
            BrokerError: The topic cannot be read.
        """
        if self._exists is None and not ordered:
            self._exists = self.name in await self._broker.admin().describe([self.name])
        if not ordered and not self._exists:
            return []
        batches: AsyncIterable[Sequence[Record]] = self._broker.reader().read(self.name, partitions=(partition.partition,), settled=True)
        return waiting([record async for batch in batches for record in batch], topic=self._topic)
