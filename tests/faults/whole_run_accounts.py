"""The accounts of a run after faults, from the ledger, and the balances that they are held to."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from tests.acceptance.conservation import ENDS, Law


class Ledger(NamedTuple):
    """The ledger, added up.

    Attributes:
        inputs: Inputs, by processor.
        ends: How they ended, by processor and end.
        lanes: Records written, by processor and lane.
        reasons: Inputs by processor and reason.
        overlaps: Transactions that took offsets which another one of the same partition had taken.
    """

    inputs: Counter[str]
    ends: Counter[tuple[str, str]]
    lanes: Counter[tuple[str, str]]
    reasons: Counter[tuple[str, str]]
    overlaps: list[str]


def read_ledger(records: Iterable[Mapping[str, Any]]) -> Ledger:
    """Add up the records of the ledger.

    Args:
        records: Their values.

    Returns:
        The sums.
    """
    inputs: Counter[str] = Counter()
    ends: Counter[tuple[str, str]] = Counter()
    lanes: Counter[tuple[str, str]] = Counter()
    reasons: Counter[tuple[str, str]] = Counter()
    ranges: defaultdict[tuple[str, str, int], list[tuple[int, int]]] = defaultdict(list)
    for record in records:
        processor = record["processor"]
        inputs[processor] += record["in"]
        for end in ENDS:
            ends[processor, end] += record[end]
        for lane, count in record["lanes"].items():
            lanes[processor, lane] += count
        for *_, verdict, reason, _destination, count in record["rows"]:
            if verdict != "withheld" and reason:
                reasons[processor, reason] += count
        if record["in"]:
            ranges[processor, record["topic"], record["partition"]].append((record["from"], record["to"]))
    overlaps = [
        f"{'/'.join(map(str, place))}: {before} and {after}"
        for place, taken in ranges.items()
        if not place[0].startswith(("deliver", "retry"))  # these finish out of order, and say so in their offset's metadata
        for before, after in pairwise(sorted(taken))
        if after[0] < before[1]
    ]
    return Ledger(inputs, ends, lanes, reasons, overlaps)


def ledger_laws(ledger: Ledger, *, raw: int) -> list[Law]:
    """State conservation for a drained run, whatever happened to it.

    Args:
        ledger: The ledger.
        raw: Committed records of `raw`.

    Returns:
        The laws: one for each processor, one for each arrow.
    """
    found = [
        Law(f"{processor}: in = passed + dropped + dead + blocked", taken, sum(ledger.ends[processor, end] for end in ENDS))
        for processor, taken in sorted(ledger.inputs.items())
    ]
    main = {processor: ledger.lanes[processor, "main"] for processor in ("validate", "enrich", "filter")}
    found.append(Law("records of raw = validate in", raw, ledger.inputs["validate"]))
    found.append(Law("validate main = enrich in", main["validate"], ledger.inputs["enrich"]))
    found.append(Law("enrich main = filter in", main["enrich"], ledger.inputs["filter"]))
    found += [
        Law(f"filter main = {reader} in", main["filter"], taken)
        for reader, taken in sorted(ledger.inputs.items())
        if reader.startswith(("translate", "lake"))
    ]
    handed_back = sum(count for (processor, _), count in ledger.lanes.items() if processor == "retry")
    requests = sum(count for (processor, lane), count in ledger.lanes.items() if lane == "requests" and processor.startswith("translate"))
    retried = sum(count for (processor, lane), count in ledger.lanes.items() if lane == "retry" and processor.startswith("deliver"))
    delivering = sum(taken for processor, taken in ledger.inputs.items() if processor.startswith("deliver"))
    found.append(Law("requests + handed back by retry = deliver in", requests + handed_back, delivering))
    found.append(Law("deliver's retries = handed back by retry", retried, handed_back))
    return found
