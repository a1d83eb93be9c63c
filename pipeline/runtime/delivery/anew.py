"""Translates anew the requests of a worker's window, many at a time, when the first of them is to be sent."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

from pipeline.ports.metrics import Metrics
from pipeline.runtime.delivery.entry import Entry
from pipeline.runtime.translated_anew import Renewal, Renewed

RENEW_MOST: Final = 250
"""Most requests whose events are read together."""


async def renew(entry: Entry, window: Iterable[Entry], renewal: Renewal, metrics: Metrics, destination: str) -> Renewed:
    """Say what a request became, and find it out for those that wait behind it too where that is not known yet.

    Args:
        entry: The request that is to be sent.
        window: Those of its partition.
        renewal: What translates them anew.
        metrics: Counts.
        destination: Destination id.

    Returns:
        What it became. The entries themselves stay as they are until their turn comes.

    Raises:
        BrokerError: The events cannot be read.
    """
    if entry.anew is None or entry.anew.by is not renewal:
        waiting = (one for one in window if one is not entry and not one.finished and _is_new(one, renewal))
        entries = [entry, *islice(waiting, RENEW_MOST - 1)]
        for one, anew in zip(entries, await renewal.renew([one.record for one in entries]), strict=True):
            one.anew = anew
            metrics.add("headrace_translated_anew_total", 1, destination=destination, outcome=anew.how.replace(" ", "_"))
    assert entry.anew is not None  # noqa: S101 (it was, or is now)
    return entry.anew


def _is_new(entry: Entry, renewal: Renewal) -> bool:
    return (entry.anew is None or entry.anew.by is not renewal) and renewal.means(entry.record)
