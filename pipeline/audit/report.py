"""Draws the conclusion: the residue of each processor and each arrow, and what was found in the chains of offsets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal, NamedTuple

from pipeline.audit.accounts import Account, Accounts, Chain
from pipeline.audit.arrows import Arrow, Readers, arrows
from pipeline.model.topology import Topology

END: Final = 2**63 - 1
"""The end of a partition, wherever that is."""


Place = tuple[str, str, int]
"""Consumer group, input topic and partition, without prefix."""


class Span(NamedTuple):
    """A range of offsets whose committed records somebody has to count.

    Attributes:
        topic: Topic without prefix.
        partition: Partition.
        start: First offset.
        end: Offset after the last one.
    """

    topic: str
    partition: int
    start: int
    end: int


Kind = Literal["unaccounted input", "counted twice", "read again", "expired"]
FAULTS: Final = frozenset[Kind](("unaccounted input", "counted twice"))
"""What nobody can account for; the others are known for what they are."""


class Finding(NamedTuple):
    """Something about the offsets that a processor took.

    Attributes:
        processor: Consumer group.
        span: Where.
        kind: `unaccounted input`: records that no transaction took. `counted twice`: a transaction that repeats the one before it.
            `read again`: the group's offset was set back, which is no fault. `expired`: retention took them before the group had read them.
        records: How many; of what has expired only the offsets are known, markers of transactions among them.
    """

    processor: str
    span: Span
    kind: Kind
    records: int


class Balance(NamedTuple):
    """An arrow and what is left of it.

    Attributes:
        arrow: The arrow.
        taken: What its readers took, without what they read again, and what ended on the way.
        under_way: Of what was written, how many lie in the topics where no reader has come yet.
        expired: Of what was written, how many retention took before a reader had come; where that cannot be known, as many offsets as it took.
        residue: Written, but neither taken, nor under way, nor expired; below 0: taken, but never written. 0 where that cannot be known.
        exact: Whether it can: not for a part of the ledger. Where anybody writes, only what lies there can be held against what was taken.
    """

    arrow: Arrow
    taken: int
    under_way: int
    expired: int
    residue: int
    exact: bool


class Report(NamedTuple):
    """The accounts of a range of time.

    Attributes:
        processors: Accounts by processor, in the order of the topology.
        balances: The arrows, first to last topic.
        findings: What was found about offsets.
        whole: Whether the range is the whole ledger from the first record on; else the arrows are approximate.
    """

    processors: Mapping[str, Account]
    balances: tuple[Balance, ...]
    findings: tuple[Finding, ...]
    whole: bool

    def expired(self, processor: str) -> int:
        """Count the offsets that retention took before a processor had read them."""
        return sum(finding.records for finding in self.findings if finding.kind == "expired" and finding.processor == processor)

    @property
    def residue(self) -> int:
        """How many inputs are not accounted for, each loss counted once: where an arrow and a chain both miss it, the larger number counts."""
        lost = sum(abs(account.residue) for account in self.processors.values())
        faults = [finding for finding in self.findings if finding.kind in FAULTS]
        for balance in self.balances:
            pairs = (*balance.arrow.readers, *balance.arrow.through)
            own = [finding for finding in faults if (finding.processor, finding.span.topic) in pairs]
            faults = [finding for finding in faults if finding not in own]
            lost += max(abs(balance.residue), sum(finding.records for finding in own))
        return lost + sum(finding.records for finding in faults)


def questions(accounts: Accounts, topology: Topology, readers: Readers, *, whole: bool) -> set[Span]:
    """Ask for the counts that `report` needs.

    Args:
        accounts: What the ledger says.
        topology: The topology.
        readers: Every group and what it reads.
        whole: Whether the range is the whole ledger.

    Returns:
        Ranges of offsets.
    """
    asked: set[Span] = set()
    for (processor, topic, partition), chain in accounts.chains.items():
        asked |= {Span(topic, partition, *jump.mixed) for jump in chain.jumps if jump.mixed}
        if _is_checked(processor, topology, whole=whole) and _may_miss(chain):
            asked.add(Span(topic, partition, chain.start, chain.end))
        asked |= {Span(topic, partition, *gap) for gap in chain.gaps}
    if whole:
        for group, topics in readers.items():
            for topic in topics:
                asked |= set(_ahead(group, topic, accounts, topology.partitions))
    return asked


def report(
    accounts: Accounts, topology: Topology, readers: Readers, counted: Mapping[Span, int], lags: Mapping[Place, int], *, whole: bool
) -> Report:
    """Draw the conclusion.

    Args:
        accounts: What the ledger says.
        topology: The topology.
        readers: Every group and what it reads.
        counted: Committed records in the ranges that `questions` asked for. A range that a topic no longer keeps counts nothing, and so
            never looks like a loss.
        lags: How many offsets each group has not committed, by input partition, if nothing was done since the ledger was read; else none.
            What lies ahead of the last transaction in the ledger, but is committed, was taken without a word in the ledger.
        whole: Whether the range is the whole ledger from its first record on.

    Returns:
        The report.
    """
    order = {name: place for place, name in enumerate(topology.processors)}
    names = sorted(accounts.processors, key=lambda name: (order.get(name.partition(".")[0], len(order)), name))
    findings = [
        finding
        for (processor, topic, partition), chain in sorted(accounts.chains.items())
        for finding in (
            *(Finding(processor, Span(topic, partition, *lost), "expired", lost[1] - lost[0]) for lost in chain.expired),
            *_jumps(processor, topic, partition, chain, counted),
            *(_missing(processor, topic, partition, chain, counted) if _is_checked(processor, topology, whole=whole) else ()),
        )
    ]
    balances = [
        _balance(arrow, accounts, findings, *_ahead_of(arrow, accounts, counted, lags, topology.partitions), whole=whole)
        for arrow in arrows(topology, readers, accounts)
    ]
    markers = {
        pair
        for one in balances
        if one.exact and one.arrow.written is not None and not one.expired
        for pair in (*one.arrow.readers, *one.arrow.through)
    }
    kept = [one for one in findings if one.kind != "expired" or (one.processor, one.span.topic) not in markers]
    return Report({name: accounts.processors[name] for name in names}, tuple(balances), tuple(kept), whole)


def _is_checked(processor: str, topology: Topology, *, whole: bool) -> bool:
    """Deliver ends requests out of order, so a part of its ledger may say of offsets less than was done with them."""
    known = topology.processors.get(processor.partition(".")[0])
    return whole or known is None or known.kind != "deliver"


def _may_miss(chain: Chain) -> bool:
    return bool(chain.jumps) or chain.taken < chain.end - chain.start


def _ahead(group: str, topic: str, accounts: Accounts, partitions: int) -> Iterator[Span]:
    """Give what lies beyond the last input that a group took of each partition: all of one that it has not begun."""
    chains = dict(accounts.chains_of(group, topic))
    for number in range(partitions):
        yield Span(topic, number, chains[number].end if number in chains else 0, END)


def _jumps(processor: str, topic: str, partition: int, chain: Chain, counted: Mapping[Span, int]) -> Iterator[Finding]:
    for jump in chain.jumps:
        mixed = counted.get(Span(topic, partition, *jump.mixed), 0) if jump.mixed else 0
        kind: Kind = "counted twice" if jump.twice else "read again"
        yield Finding(processor, Span(topic, partition, jump.start, jump.end), kind, jump.taken + mixed)


def _missing(processor: str, topic: str, partition: int, chain: Chain, counted: Mapping[Span, int]) -> Iterator[Finding]:
    whole = Span(topic, partition, chain.start, chain.end)
    again = sum(finding.records for finding in _jumps(processor, topic, partition, chain, counted))
    missing = counted.get(whole, 0) - (chain.taken - again)
    for gap in chain.gaps:
        span = Span(topic, partition, *gap)
        if count := counted.get(span, 0):
            missing -= count
            yield Finding(processor, span, "unaccounted input", count)
    if missing > 0:
        yield Finding(processor, whole, "unaccounted input", missing)


def _ahead_of(arrow: Arrow, accounts: Accounts, counted: Mapping[Span, int], lags: Mapping[Place, int], partitions: int) -> tuple[int, int]:
    """Count what lies ahead of the last transactions of an arrow's readers, and how much of it they have yet to come to."""
    ahead = waiting = 0
    for group, topic in dict.fromkeys((*arrow.readers, *arrow.through)):
        for span in _ahead(group, topic, accounts, partitions):
            records = counted.get(span, 0)
            ahead += records
            waiting += min(records, lags.get((group, topic, span.partition), records))  # a lag may count transaction markers too
    return ahead, waiting


def _balance(arrow: Arrow, accounts: Accounts, findings: list[Finding], ahead: int, waiting: int, *, whole: bool) -> Balance:
    pairs = {*arrow.readers, *arrow.through}
    own = [finding for finding in findings if (finding.processor, finding.span.topic) in pairs]
    again = sum(finding.records for finding in own if finding.kind == "read again")
    expired = sum(finding.records for finding in own if finding.kind == "expired")
    taken = sum(accounts.processors[group].topics[topic] for group, topic in arrow.readers if group in accounts.processors) + arrow.ended - again
    if arrow.written is None:
        return Balance(arrow, taken, waiting, expired, ahead - waiting if whole else 0, whole)
    left = arrow.written - taken
    under_way = min(max(left, 0), waiting)
    if whole:  # the offsets that are gone held markers too; how many records, is what is missing
        expired = min(max(left - under_way, 0), expired)
    return Balance(arrow, taken, under_way, expired, left - under_way - expired if whole else 0, whole)
