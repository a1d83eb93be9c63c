"""The laws L1 to L10 (reference: reliability, 3), as pure functions over what was sent and what was found.

Sets of a run: A acknowledged, U in doubt, R4 refused (`Sent`); O read as committed, D dead letters, F filtered, X dropped as duplicates,
H accepted by a destination, W rows of a store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from tests.faults.sent import Sent

SHOWN = 5


class Seen(NamedTuple):
    """One record that a reader got.

    Attributes:
        user: Its user.
        seq: Its place in the load.
        message_id: Its id.
        sha256: Digest of what the client had said.
    """

    user: str
    seq: int
    message_id: str
    sha256: str


class Verdict(NamedTuple):
    """What a law says.

    Attributes:
        law: The law and what it was applied to.
        checked: How many cases were looked at.
        violations: Each case that breaks it.
    """

    law: str
    checked: int
    violations: tuple[str, ...]

    def __str__(self) -> str:
        """Say it in a line."""
        shown = f": {', '.join(self.violations[:SHOWN])}{' …' if len(self.violations) > SHOWN else ''}" if self.violations else ""
        return f"{self.law}: {self.checked} checked, {len(self.violations)} violations{shown}"


def no_loss(sent: Sent, *ends: Collection[str], where: str = "") -> Verdict:
    """L1: whatever was acknowledged is found at one of its ends: A ⊆ O + D + F + X."""
    found = set[str]().union(*ends)
    return Verdict(f"L1 no loss{where}", len(sent.acknowledged), tuple(sorted(sent.acknowledged - found)))


def no_duplicate(found: Mapping[str, int], *, where: str = "") -> Verdict:
    """L2: no message id is found twice.

    Args:
        found: How often each id was found.
        where: What they were found in.
    """
    doubled = tuple(f"{message_id} {count} times" for message_id, count in sorted(found.items()) if count > 1)
    return Verdict(f"L2 no duplicate{where}", len(found), doubled)


def no_invention(sent: Sent, *ends: Collection[str], where: str = "") -> Verdict:
    """L3: nothing is found that nobody sent, and nothing that was refused: O + D + F ⊆ A + U."""
    found = set[str]().union(*ends)
    return Verdict(f"L3 no invention{where}", len(found), tuple(sorted(found - sent.acknowledged - sent.unknown)))


def in_order(seen: Iterable[Seen], *, where: str = "") -> Verdict:
    """L4: a user's events are found in the order in which they were sent.

    Args:
        seen: Records in the order of their partition.
        where: What they were found in.
    """
    last: dict[str, int] = {}
    late: list[str] = []
    count = 0
    for one in seen:
        count += 1
        if one.seq < last.get(one.user, -1):
            late.append(f"{one.message_id} after {last[one.user]}")
        last[one.user] = max(one.seq, last.get(one.user, -1))
    return Verdict(f"L4 order{where}", count, tuple(late))


def intact(sent: Sent, seen: Iterable[Seen], *, where: str = "") -> Verdict:
    """L5: what a client said is found as it was said."""
    found = list(seen)
    return Verdict(
        f"L5 integrity{where}",
        len(found),
        tuple(one.message_id for one in found if one.message_id in sent.events and sent.events[one.message_id].sha256 != one.sha256),
    )


def conserved(balances: Iterable[tuple[str, int, int]]) -> Verdict:
    """L6: what goes into a stage comes out of it, filtered, dropped as a duplicate or dead: no residue.

    Args:
        balances: Name, what went in, what came out.
    """
    found = list(balances)
    return Verdict("L6 conservation", len(found), tuple(f"{name}: {left} != {right}" for name, left, right in found if left != right))


def concurrent_reader(sent: Sent, seen: Sequence[Seen], *others: Collection[str]) -> list[Verdict]:
    """L7: a second reader, there while the faults happened, saw L1 to L4 hold.

    Args:
        sent: What was sent.
        seen: What it saw.
        others: Ends that the reader does not see: dead letters, filtered, duplicates.
    """
    where = " (L7, reader during the faults)"
    ids = Counter(one.message_id for one in seen)
    return [
        no_loss(sent, ids, *others, where=where),
        no_duplicate(ids, where=where),
        no_invention(sent, ids, where=where),
        in_order(seen, where=where),
    ]


def recovered(seconds: Mapping[str, float], limit: float) -> Verdict:
    """L8: after each fault everything was back within a limit.

    Args:
        seconds: How long each took.
        limit: Most seconds.
    """
    return Verdict(f"L8 recovery within {limit:g} s", len(seconds), tuple(f"{name} {took:.1f} s" for name, took in seconds.items() if took > limit))


def bounded(figures: Mapping[str, float], caps: Mapping[str, float]) -> Verdict:
    """L9: memory, files, threads stayed under their caps all along.

    Args:
        figures: The highest value of each.
        caps: Most of each.
    """
    return Verdict("L9 bounds", len(caps), tuple(f"{name} {figures[name]:g} > {cap:g}" for name, cap in caps.items() if figures[name] > cap))


def repeated_with_one_id(accepted: Mapping[str, Collection[str]], repeats: int, in_flight: int) -> Verdict:
    """L10: a destination may get a request again, with the same id, and no more often than requests were in flight at the faults.

    Args:
        accepted: For each message id, the request ids with which a destination accepted it.
        repeats: Accepted requests whose id had been accepted before.
        in_flight: Most requests that the faults can have cut.
    """
    several = [f"{message_id}: {len(ids)} ids" for message_id, ids in sorted(accepted.items()) if len(ids) > 1]
    if repeats > in_flight:
        several.append(f"{repeats} repeats, {in_flight} in flight at most")
    return Verdict("L10 repeats keep their id", len(accepted), tuple(several))


def hold(verdicts: Iterable[Verdict]) -> None:
    """Print each law with its counts, and fail if one is broken.

    Args:
        verdicts: What the laws say.

    Raises:
        AssertionError: A law is broken; names each case.
    """
    found = list(verdicts)
    print(*found, sep="\n")
    broken = [str(verdict) for verdict in found if verdict.violations]
    assert broken == [], "\n".join(broken)
