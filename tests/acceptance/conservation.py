"""Conservation from the metrics of a run: each processor ends every input once, and each arrow loses and doubles nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

ENDS = ("passed", "dropped", "dead", "blocked")


class Counts(NamedTuple):
    """What all processes of a run counted.

    Attributes:
        inputs: Records read, by processor.
        ends: Records that passed, were dropped, died or were blocked, by processor and how they ended.
        outputs: Records written, by processor and lane.
        accepted: Events that the collector took.
        dead: Bad items of batches that the collector wrote to dead letters.
        reasons: Records that were dropped, died or were blocked, by processor and reason.
        rows: Rows committed to lakes.
    """

    inputs: Counter[str]
    ends: Counter[tuple[str, str]]
    outputs: Counter[tuple[str, str]]
    accepted: int
    dead: int
    reasons: Counter[tuple[str, str]]
    rows: int


def read_counts(pages: Iterable[str]) -> Counts:
    """Add up the metrics pages of all processes.

    Args:
        pages: Texts of `/metrics`.

    Returns:
        The counts.
    """
    inputs: Counter[str] = Counter()
    ends: Counter[tuple[str, str]] = Counter()
    outputs: Counter[tuple[str, str]] = Counter()
    reasons: Counter[tuple[str, str]] = Counter()
    taken: Counter[str] = Counter()
    for page in pages:
        for family in text_string_to_metric_families(page):
            for name, labels, value, *_ in family.samples:
                end = name.removeprefix("headrace_records_").removesuffix("_total")
                if name == "headrace_records_in_total":
                    inputs[labels["processor"]] += int(value)
                elif name == "headrace_records_out_total":
                    outputs[labels["processor"], labels["lane"]] += int(value)
                elif name.startswith("headrace_records_") and end in ENDS:
                    ends[labels["processor"], end] += int(value)
                    reasons[labels["processor"], labels.get("reason", "")] += int(value)
                elif name == "headrace_ingest_events_total":
                    taken[labels["outcome"]] += int(value)
                elif name == "headrace_lake_rows_total":
                    taken["rows"] += int(value)
    return Counts(inputs, ends, outputs, taken["accepted"], taken["dead"], reasons, taken["rows"])


class Law(NamedTuple):
    """Two figures that have to be equal."""

    name: str
    left: int
    right: int


def laws(counts: Counts, *, foreign: int) -> list[Law]:
    """State conservation for a drained run without kills.

    Args:
        counts: What its processes counted.
        foreign: Records that were written to `raw` by others than the collector.

    Returns:
        The laws: one for each processor, one for each arrow.
    """
    found = [
        Law(f"{processor}: in = passed + dropped + dead + blocked", taken, sum(counts.ends[processor, end] for end in ENDS))
        for processor, taken in sorted(counts.inputs.items())
    ]
    chain = [name for name in ("validate", "enrich", "filter", "prepare") if name in counts.inputs]
    first, last = chain[0], chain[-1]
    found.append(
        Law(f"raw: collector + foreign + rekeyed = {first} in", counts.accepted + foreign + counts.outputs[first, "raw"], counts.inputs[first])
    )
    for upper, lower in pairwise(chain):
        found.append(Law(f"{upper} main = {lower} in", counts.outputs[upper, "main"], counts.inputs[lower]))
    readers = [processor for processor in sorted(counts.inputs) if processor.startswith(("translate", "lake"))]
    found += [Law(f"{last} main = {reader} in", counts.outputs[last, "main"], counts.inputs[reader]) for reader in readers]
    made = sum(count for (processor, lane), count in counts.outputs.items() if lane == "requests" and processor.startswith("translate"))
    handed_back = sum(count for (processor, _), count in counts.outputs.items() if processor == "retry")
    failed = sum(count for (processor, lane), count in counts.outputs.items() if lane == "retry" and processor.startswith("deliver"))
    delivering = sum(count for processor, count in counts.inputs.items() if processor.startswith("deliver"))
    found.append(Law("requests + handed back by retry = deliver in", made + handed_back, delivering))
    found.append(Law("deliver's retries = retry in = handed back", failed, handed_back))
    return found
