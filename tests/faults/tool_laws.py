"""The laws as a tool sees them, as pure functions over the requests that it got (reference: reliability, 3: L1, L2, L4, L10)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence

import orjson

from tests.faults.hostile_tool import Seen
from tests.faults.laws import Verdict


def arrived(sent: Collection[str], *ends: Collection[str]) -> Verdict:
    """L1: each request was accepted, or came to another of its ends.

    Args:
        sent: Ids of requests.
        ends: Ids that the tool accepted; ids of dead letters.
    """
    return Verdict("L1 no loss", len(sent), tuple(sorted(set(sent) - set[str]().union(*ends))))


def once(accepted: Sequence[str]) -> Verdict:
    """L2: nothing is sent again after its success.

    Args:
        accepted: Ids that the tool accepted, in order.
    """
    counts = Counter(accepted)
    return Verdict("L2 nothing again after its success", len(counts), tuple(f"{ident} {count} times" for ident, count in counts.items() if count > 1))


def ascending(accepted: Iterable[str]) -> Verdict:
    """L4: the first successes of each user ascend.

    Args:
        accepted: Ids that the tool accepted, in order, each `user-number`.
    """
    last: dict[str, int] = {}
    late: list[str] = []
    distinct = dict.fromkeys(accepted)
    for ident in distinct:
        user, _, number = ident.rpartition("-")
        if int(number) < last.get(user, -1):
            late.append(f"{ident} after {last[user]}")
        last[user] = max(int(number), last.get(user, -1))
    return Verdict("L4 order by user", len(distinct), tuple(late))


def repeated_alike(seen: Iterable[Seen]) -> Verdict:
    """L10: a request that comes again has the same id, and the same bytes.

    Args:
        seen: Requests as they came; the body's `id` says which one each is, whatever the id in its headers.
    """
    forms: dict[str, set[tuple[str, bytes]]] = defaultdict(set)
    for one in seen:
        forms[orjson.loads(one.body)["id"]].add((one.id, one.body))
    changed = tuple(f"{ident} in {len(found)} forms" for ident, found in forms.items() if len(found) > 1)
    return Verdict("L10 repeats keep id and body", len(forms), changed)


def alike(law: str, wanted: object, found: object) -> Verdict:
    """Hold what was found to what was wanted, in the words of a law."""
    return Verdict(law, 1, () if wanted == found else (f"{found}, not {wanted}",))


def percentile(values: Collection[float], share: float) -> float:
    """Give the value that a share of some values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def latencies_ms(seen: Iterable[Seen]) -> list[float]:
    """Give how long each request took from its making to its tool, in ms; the clock is the machine's."""
    return [(one.at - orjson.loads(one.body)["sent"]) * 1000 for one in seen]
