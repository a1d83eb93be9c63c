"""Turns what a transaction did into metrics, once for each transaction."""

from __future__ import annotations

from collections import Counter
from typing import Final

from pipeline.model import headers as names
from pipeline.model.ledger import Tally
from pipeline.model.record import Record
from pipeline.ports.broker import Committed
from pipeline.ports.metrics import Metrics

_TIME_DIGITS: Final = 15
"""Digits of the largest time in milliseconds that is one."""


def count_committed(metrics: Metrics, processor: str, committed: Committed) -> None:
    """Count a transaction, once however many partitions went in it.

    Args:
        metrics: Where it is counted.
        processor: Consumer group without prefix.
        committed: What one partition's commit has written.
    """
    if not committed.joined:
        metrics.add("headrace_transactions_total", 1, processor=processor, outcome="committed")


def count_transaction(metrics: Metrics, processor: str, tally: Tally, last: Record, now_ms: int) -> None:
    """Count what a committed transaction did.

    Args:
        metrics: Where it is counted.
        processor: Consumer group without prefix.
        tally: What the transaction did.
        last: Its last input, whose age stands for all of them.
        now_ms: Wall time, milliseconds since the epoch.
    """
    totals = tally.totals()
    inputs = sum(totals.values())
    metrics.add("headrace_records_in_total", inputs, processor=processor)
    metrics.observe("headrace_batch_records", inputs, processor=processor)
    if totals["passed"]:
        metrics.add("headrace_records_passed_total", totals["passed"], processor=processor)
    by_reason: Counter[tuple[str, str, str]] = Counter()
    for row, count in tally.rows.items():
        if row.verdict != "passed":
            by_reason[(row.verdict, row.reason, row.destination if row.verdict == "withheld" else "")] += count
    for (verdict, reason, destination), count in by_reason.items():
        if verdict == "withheld":
            metrics.add("headrace_records_withheld_total", count, processor=processor, destination=destination, reason=reason)
        else:
            metrics.add(f"headrace_records_{verdict}_total", count, processor=processor, reason=reason)
    for lane, count in tally.lanes.items():
        metrics.add("headrace_records_out_total", count, processor=processor, lane=lane)
    for name, value in last.headers:
        if name == names.RECEIVED_AT and value and len(value) <= _TIME_DIGITS and value.isdigit():  # in raw it is anyone's, or null
            metrics.observe("headrace_end_to_end_seconds", max(0, now_ms - int(value)) / 1000, processor=processor)
