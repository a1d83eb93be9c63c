"""Adds up the ledger: by processor how inputs ended, by input partition which offsets were taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import orjson

from pipeline.model.ledger import DEAD_LETTERS

ENDS: Final = ("dropped", "dead", "blocked")
"""How an input ends, other than by passing, with a reason."""


class Transaction(NamedTuple):
    """One record of the ledger (`schemas/ledger.json`).

    Attributes:
        processor: Consumer group without prefix.
        topic: Input topic without prefix.
        partition: Input partition.
        start: Offset of the first input.
        end: Offset after the last input.
        taken: How many inputs ended.
        lanes: Records written, by lane.
        rows: Source, type, event, verdict, reason, destination, count.
        expired: Offsets, half open, that retention took before the processor had read them, or None.
    """

    processor: str
    topic: str
    partition: int
    start: int
    end: int
    taken: int
    lanes: Mapping[str, int]
    rows: Sequence[Sequence[Any]]
    expired: tuple[int, int] | None = None


def read_transaction(value: bytes | None) -> Transaction | None:
    """Read a record of the ledger.

    Args:
        value: Its value.

    Returns:
        The transaction, or None where the value is none.
    """
    try:
        body = orjson.loads(value or b"")
        expired = body.get("expired")
        return Transaction(
            str(body["processor"]),
            str(body["topic"]),
            int(body["partition"]),
            int(body["from"]),
            int(body["to"]),
            int(body["in"]),
            {str(lane): int(count) for lane, count in body["lanes"].items()},
            [(*row[:6], int(row[6])) for row in body["rows"]],
            (int(expired[0]), int(expired[1])) if expired else None,
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None


class Account:
    """What one processor did.

    Attributes:
        taken: Inputs.
        passed: Inputs that went on.
        ends: Inputs that did not, by how they ended (`dropped`, `dead`, `blocked`) and reason.
        lanes: Records written, by lane.
        topics: Inputs by topic.
    """

    __slots__ = ("ends", "lanes", "passed", "taken", "topics")

    def __init__(self) -> None:
        self.taken = 0
        self.passed = 0
        self.ends: dict[str, Counter[str]] = {end: Counter() for end in ENDS}
        self.lanes: Counter[str] = Counter()
        self.topics: Counter[str] = Counter()

    @property
    def residue(self) -> int:
        """Inputs whose end is unknown: in - passed - dropped - dead - blocked."""
        return self.taken - self.passed - sum(reasons.total() for reasons in self.ends.values())

    def add(self, transaction: Transaction) -> None:
        """Add a transaction; its rows are counted, not its own sums, so that the two are held against each other."""
        self.taken += transaction.taken
        self.topics[transaction.topic] += transaction.taken
        self.lanes.update(transaction.lanes)
        for _, _, _, verdict, reason, _, count in transaction.rows:
            if verdict == "passed":
                self.passed += count
            elif verdict in self.ends:
                self.ends[verdict][reason] += count


class Jump(NamedTuple):
    """Offsets that a processor took though it had taken them before.

    Attributes:
        start: First offset taken again.
        end: Offset after the last one taken again.
        taken: Inputs of the transactions that took nothing new.
        mixed: The part of a last transaction that was taken before, where it went on to new offsets: its inputs are not in `taken`.
        twice: Whether it repeats the transaction before it, which exactly-once forbids; else somebody set the group's offset back.
    """

    start: int
    end: int
    taken: int
    mixed: tuple[int, int] | None
    twice: bool


class Chain:
    """The offsets that a processor took of one input partition, in the order of its transactions.

    Args:
        start: First offset.

    Attributes:
        start: First offset taken.
        end: Offset after the last one taken.
        taken: Inputs, those that were read again among them.
        jumps: Ranges that were taken again.
        expired: Ranges that were never taken, because retention was there first.
    """

    __slots__ = ("_last_end", "_last_start", "_skipped", "end", "expired", "jumps", "start", "taken")

    def __init__(self, start: int) -> None:
        self.start = start
        self.end = start
        self.taken = 0
        self.jumps: list[Jump] = []
        self.expired: list[tuple[int, int]] = []
        self._skipped: list[tuple[int, int]] = []
        self._last_start = self._last_end = start

    def add(self, start: int, end: int, taken: int, *, on_purpose: bool = False) -> None:
        """Add the next transaction.

        Args:
            start: Offset of its first input.
            end: Offset after its last one.
            taken: How many inputs it ended.
            on_purpose: Whether somebody is known to have set the group's offset between the last transaction and this one.
        """
        if start > self.end:
            self._skipped.append((self.end, start))
        elif start < self.end:
            self._again(start, end, taken, on_purpose=on_purpose)
        self.start = min(self.start, start)
        self.end = max(self.end, end)
        self.taken += taken
        self._last_start, self._last_end = start, end

    def expire(self, start: int, end: int) -> None:
        """Add offsets that retention took; what of them had been taken before the group was set back is no loss.

        Args:
            start: First offset.
            end: Offset after the last one.
        """
        if start > self.end:
            self._skipped.append((self.end, start))
        elif start < self.end:
            self.jumps.append(Jump(start, min(end, self.end), 0, None, twice=False))
        self._last_start = self._last_end = end
        if end > self.end:
            self.expired.append((max(start, self.end), end))
            self.end = end

    def _again(self, start: int, end: int, taken: int, *, on_purpose: bool) -> None:
        known = min(end, self.end)
        mixed = (max(start, self.start), self.end) if end > self.end else None
        new = 0 if mixed else taken
        if start < self._last_end or not self.jumps:
            self.jumps.append(Jump(start, known, new, mixed, twice=start >= self._last_start and not on_purpose))
        else:  # goes on after a jump, through what is known
            before = self.jumps[-1]
            self.jumps[-1] = before._replace(end=known, taken=before.taken + new, mixed=mixed)

    @property
    def gaps(self) -> list[tuple[int, int]]:
        """Ranges that no transaction took, not even later: transaction markers, unless something was lost."""
        return [gap for gap in self._skipped if not any(jump.start <= gap[0] and gap[1] <= jump.end for jump in self.jumps)]


class Accounts:
    """The ledger of a range of time, added up.

    Args:
        resets: When offsets were set on purpose, in milliseconds since the epoch, by processor.

    Attributes:
        processors: Accounts by processor.
        chains: Chains by processor, input topic and partition.
        transactions: How many were added.
    """

    def __init__(self, resets: Mapping[str, Sequence[int]] = MappingProxyType({})) -> None:
        self.processors: dict[str, Account] = {}
        self.chains: dict[tuple[str, str, int], Chain] = {}
        self.transactions = 0
        self._resets = resets
        self._last_at: dict[tuple[str, str, int], int] = {}

    def add(self, transaction: Transaction, at_ms: int = 0) -> None:
        """Add a transaction; those of one input partition in the order of the ledger.

        Args:
            transaction: What it did.
            at_ms: Broker time of its record, milliseconds since the epoch.
        """
        self.transactions += 1
        self.processors.setdefault(transaction.processor, Account()).add(transaction)
        if transaction.processor == DEAD_LETTERS:
            return  # a person chooses which of them are taken, and in which order
        place = transaction.processor, transaction.topic, transaction.partition
        last_at = self._last_at.get(place, 0)
        self._last_at[place] = at_ms
        on_purpose = any(last_at <= reset <= at_ms for reset in self._resets.get(transaction.processor, ()))
        expired = transaction.expired
        chain = self.chains.setdefault(place, Chain(expired[0] if expired else transaction.start))
        if expired:
            chain.expire(*expired)
        chain.add(transaction.start, transaction.end, transaction.taken, on_purpose=on_purpose)

    def redriven(self, topic: str) -> int:
        """Count the dead letters that went back to a topic (without prefix)."""
        account = self.processors.get(DEAD_LETTERS)
        return account.lanes[topic] if account else 0

    def chains_of(self, processor: str, topic: str) -> list[tuple[int, Chain]]:
        """Give the chains of one processor over one topic, with their partitions."""
        return [(place[2], chain) for place, chain in sorted(self.chains.items()) if place[:2] == (processor, topic)]
