"""What the process that runs replay jobs says of them, and what the live page asks of a job."""

from __future__ import annotations

from typing import Any, cast

from pipeline.app.jobs import ask
from pipeline.app.processes.probe import read_page
from pipeline.app.processes.run_file import Run
from pipeline.ports.broker import Broker
from pipeline.ports.clock import Clock
from pipeline.replay.jobs import Command, CommandRefused
from pipeline.runtime.replay.jobs import Jobs


async def command_job(broker: Broker, prefix: str, clock: Clock, name: str, command: str) -> str:
    """Ask a job to pause, go on or end.

    Args:
        broker: The cluster.
        prefix: The workspace's name.
        clock: Time.
        name: Id of the job.
        command: `pause`, `resume` or `cancel`.

    Returns:
        The state that it has now.

    Raises:
        LookupError: There is no such job.
        ValueError: It has ended; says so.
        BrokerError: The broker does not answer.
    """
    jobs = Jobs(broker, prefix, clock)
    board = await jobs.read()
    try:
        return await ask(jobs, board, board.jobs[name], cast("Command", command), clock)
    except CommandRefused as error:
        raise ValueError(str(error)) from error


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
