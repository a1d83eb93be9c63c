"""What the process that runs replay jobs says of them."""

from __future__ import annotations

from typing import Any

from pipeline.app.processes.probe import read_page
from pipeline.app.processes.run_file import Run


async def job_lines(run: Run | None) -> list[dict[str, Any]] | None:
    """Ask for the newest jobs.

    Args:
        run: The local run.

    Returns:
        Id, state, targets, range, rate, offsets and how many of them are left, newest first; None where no process that runs jobs answers.
    """
    for process in run.processes if run is not None else ():
        answer = await read_page(process.port) if process.name == "replay" else None
        if answer is not None and "jobs" in answer:
            return list(answer["jobs"])
    return None
