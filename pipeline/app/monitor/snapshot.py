"""Turns windows into the answer that `status` and the live page read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.app.monitor.volumes import MINUTE_MS, Window, WindowKey
from pipeline.model.ledger import Row


def volumes(windows: Mapping[WindowKey, Window], *, now_minute: int, minutes: int) -> dict[str, Any]:
    """Lay out the last minutes as series.

    Args:
        windows: Windows by key; those outside of the range are left out.
        now_minute: The present minute since the epoch, which is the last of the range and still counted.
        minutes: How many minutes.

    Returns:
        `minutes`: start of each minute in milliseconds since the epoch, oldest first. `series`: one for each processor, source, type, event,
        verdict, reason and destination, with one count for each minute, largest first. An event appears once for each processor that it
        passed, so counts are added up within one processor only. `processors`: by name, how many inputs ended in each minute
        (`withheld` counts beside them and is left out), and inputs a second over the last whole minute.
    """
    first = now_minute - minutes + 1
    series: dict[tuple[str, Row], list[int]] = {}
    inputs: dict[str, list[int]] = {}
    for (minute, processor), window in windows.items():
        index = minute - first
        if not 0 <= index < minutes:
            continue
        ended = inputs.setdefault(processor, [0] * minutes)
        for row, count in window.counts.items():
            series.setdefault((processor, row), [0] * minutes)[index] += count
            if row.verdict != "withheld":
                ended[index] += count
    rows = sorted(series.items(), key=lambda item: (-sum(item[1]), item[0]))
    return {
        "minutes": [minute * MINUTE_MS for minute in range(first, now_minute + 1)],
        "series": [{"processor": processor, **row._asdict(), "counts": counts} for (processor, row), counts in rows],
        "processors": {
            processor: {"counts": counts, "per_second": round(counts[-2] / 60, 3) if minutes > 1 else 0.0}
            for processor, counts in sorted(inputs.items())
        },
    }
