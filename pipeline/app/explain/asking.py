"""Asks the processes that keep dedup state where a message was first seen."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import orjson

from pipeline.app.explain.service import AskDedup, Seen
from pipeline.app.processes.probe import read_answer
from pipeline.app.processes.run_file import Run
from pipeline.model.topology import Topology


class Address(NamedTuple):
    """Where a process answers."""

    host: str
    port: int


def addresses_of(run: Run | None, topology: Topology) -> list[Address]:
    """Give the processes of a local run that keep dedup state.

    Args:
        run: The run, or None.
        topology: The topology that it runs.

    Returns:
        Their addresses.
    """
    names = {one.process or one.name for one in topology.processors.values() if "dedup" in one.steps}
    return [Address("127.0.0.1", one.port) for one in run.processes if one.name in names] if run is not None else []


def ask_dedup(addresses: Sequence[Address]) -> AskDedup:
    """Make the question.

    Args:
        addresses: The processes that keep dedup state.

    Returns:
        A function of a digest.
    """

    async def ask(digest: bytes) -> tuple[list[Seen], int]:
        answers = await asyncio.gather(*(read_answer(one.host, one.port, f"/dedup.json?digest={digest.hex()}") for one in addresses))
        seen: list[Seen] = []
        for status, body in answers:
            if status == 200:
                found = orjson.loads(body)
                seen.append(Seen(int(found["partition"]), found["offset"], int(found["first_seen"])))
        # What one process does not know may be known to one that is silent: only a whole answer is an answer.
        whole = all(status in (200, 404) for status, _ in answers)
        return seen, len(answers) if whole else 0

    return ask
