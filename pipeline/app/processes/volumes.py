"""What the monitor of a local run counted, for `headrace status` and the live page."""

from __future__ import annotations

from typing import Any, Final

from pipeline.app.processes.probe import read_page
from pipeline.app.processes.run_file import Run

FIRST: Final = ("validate", "prepare")
"""The processors that see every event first, in the topologies that come with the product: counting more of them would count events twice."""


async def volume_lines(run: Run | None, minutes: int) -> list[dict[str, Any]] | None:
    """Ask the monitor what came in, and what became of it at the first processor.

    Args:
        run: The local run.
        minutes: How many minutes back, 1 to 1440.

    Returns:
        A line for each source, event, verdict and reason, with counts by minute, oldest first; the largest line first. None where no monitor answers.
    """
    monitor = next((process for process in run.processes if process.name == "monitor"), None) if run is not None else None
    answer = await read_page(monitor.port, f"/volumes.json?minutes={minutes}") if monitor is not None else None
    if answer is None:
        return None
    lines: dict[tuple[str, str, str, str], list[int]] = {}
    for one in answer["series"]:
        if one["processor"] in FIRST and one["verdict"] != "withheld":
            counts = lines.setdefault((one["source"], one["event"] or one["type"], one["verdict"], one["reason"]), [0] * minutes)
            for index, count in enumerate(one["counts"]):
                counts[index] += count
    return [
        {"source": source, "event": event, "verdict": verdict, "reason": reason, "counts": counts}
        for (source, event, verdict, reason), counts in sorted(lines.items(), key=lambda item: -sum(item[1]))
    ]
