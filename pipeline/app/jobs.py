"""Replay jobs as commands see them: made, rehearsed, asked to pause, and how far they have come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from pipeline.app.cli.errors import CommandError
from pipeline.assembly import Judges, replay_plan
from pipeline.audit import read_transaction
from pipeline.model.record import Record, TopicPartition
from pipeline.model.topics import topic_name
from pipeline.model.topology import Topology
from pipeline.model.workspace import Workspace
from pipeline.ports.broker import Broker
from pipeline.ports.clock import Clock
from pipeline.replay.board import Board, group_of, wanted_record
from pipeline.replay.jobs import Command, Job, State, after
from pipeline.replay.routing import ROWS
from pipeline.replay.stores import event_topic
from pipeline.runtime.judgement import Judged, judge
from pipeline.runtime.replay.barrier import record_end
from pipeline.runtime.replay.jobs import Jobs


class Wish(NamedTuple):
    """What a person asks for.

    Attributes:
        start_ms: From when on, milliseconds since the epoch.
        end_ms: Before when, or None for now.
        sources: Ids of the only sources.
        events: Names of the only track events.
        destinations: Ids of destinations.
        storages: Ids of storages.
        rate: Most events a second.
        from_raw: Whether it begins at `raw`.
    """

    start_ms: int
    end_ms: int | None
    sources: tuple[str, ...]
    events: tuple[str, ...]
    destinations: tuple[str, ...]
    storages: tuple[str, ...]
    rate: float
    from_raw: bool


@dataclass(slots=True)
class Counts:
    """What becomes of a job's events.

    Attributes:
        events: How many were read.
        requests: Requests by destination.
        rows: Events offered to stores, by storage; they add those that they lack.
        ended: Events that went nowhere, and parts that did not, by reason.
        first: Time, type, name and message id of the first event that goes somewhere, or None.
        last: The same of the last.
    """

    events: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    first: dict[str, Any] | None = None
    last: dict[str, Any] | None = None


class Progressed(NamedTuple):
    """A job, its state, and how many offsets it has yet to read."""

    job: Job
    state: State
    left: int


async def make_job(broker: Broker, prefix: str, topology: Topology, wish: Wish, clock: Clock) -> Job:
    """Turn a wish into a job: times into offsets, which stay what they are however long the job takes.

    Args:
        broker: The cluster.
        prefix: The workspace's name.
        topology: The topology that is run.
        wish: What is asked for.
        clock: Time.

    Returns:
        The job, not started.

    Raises:
        CommandError: The topology runs no jobs, or the range ends before it begins.
    """
    events = event_topic(topology)
    if not events:
        raise CommandError(f"the topology {topology.name} runs no replay jobs", "add a processor of kind replay to it")
    now = clock.now_ms()
    end_ms = now if wish.end_ms is None else min(wish.end_ms, now)
    if end_ms <= wish.start_ms:
        raise CommandError("the range ends before it begins", "give a --from that lies before --to and before now", status=2)
    topic = topic_name(prefix, "raw" if wish.from_raw else events)
    lookup = broker.lookup()
    spans: dict[int, tuple[int, int]] = {}
    try:
        for partition in sorted(await lookup.start([topic])):
            start = await lookup.offset_at(partition, wish.start_ms)
            spans[partition.partition] = start, await record_end(lookup, partition, start, await lookup.offset_at(partition, end_ms))
    finally:
        await lookup.stop()
    return Job(
        "raw" if wish.from_raw else events,
        wish.start_ms,
        end_ms,
        spans,
        wish.sources,
        wish.events,
        wish.destinations,
        wish.storages,
        wish.rate,
        now,
    )


async def ask(jobs: Jobs, board: Board, job: Job, command: Command, clock: Clock) -> State:
    """Ask a job to pause, go on or end.

    Args:
        jobs: The topic.
        board: What stands there.
        job: The job.
        command: What is asked.
        clock: Time.

    Returns:
        The state that it has now.

    Raises:
        CommandRefused: It has ended.
    """
    state = board.state(job.id)
    wanted = after(state, command)
    if wanted not in (state, "done"):
        await jobs.write(*wanted_record(job.id, wanted, clock.now_ms()))
    return wanted


async def progress_of(broker: Broker, prefix: str, board: Board, job: Job) -> Progressed:
    """Say how far a job has come."""
    positions = await broker.admin().positions(topic_name(prefix, group_of(job.id)))
    return Progressed(job, board.state(job.id), job.left({partition.partition: position.offset for partition, position in positions.items()}))


async def rehearse(broker: Broker, job: Job, workspace: Workspace, judges: Judges, progress: Callable[[int], None]) -> Counts:
    """Judge a job's events as it would, and write nothing.

    Args:
        broker: The cluster.
        job: The job.
        workspace: What is in force.
        judges: What steps need beside it.
        progress: Told how many offsets have been read.

    Returns:
        What would become of them.
    """
    plan = replay_plan(job, workspace, judges)
    topic = topic_name(workspace.name, job.input)
    counts = Counts()
    read = 0
    lookup = broker.lookup()
    try:
        await lookup.start([topic])
        for number, (start, end) in job.spans.items():
            async for records in lookup.read(TopicPartition(topic, number), start, end):
                for record in records:
                    judged = Judged()
                    judge([record], plan, judged, at_ms=record.timestamp)
                    _note(counts, record, judged, workspace.name)
                progress(read + records[-1].offset - start)
            read += end - start
    finally:
        await lookup.stop()
    return counts


def _note(counts: Counts, record: Record, judged: Judged, prefix: str) -> None:
    counts.events += 1
    goes = False
    for output in judged.outputs:
        kind, _, name = output.topic.removeprefix(f"{prefix}.").removesuffix(".replay").partition(".")
        if kind in ("requests", "routed"):
            (counts.requests if kind == "requests" else counts.rows)[name] += 1
            goes = True
    for row, count in judged.tally.rows.items():
        if row.verdict != "passed":
            counts.ended[row.reason] += count
    if not goes:
        return
    body = orjson.loads(record.value or b"{}")
    found = {"at": record.timestamp, "type": body.get("type", ""), "event": body.get("event", ""), "message_id": body.get("messageId", "")}
    if counts.first is None or found["at"] < counts.first["at"]:
        counts.first = found
    if counts.last is None or found["at"] >= counts.last["at"]:
        counts.last = found


async def count_job(broker: Broker, prefix: str, job: Job) -> Counts:
    """Add up what the ledger says a job has done.

    Args:
        broker: The cluster.
        prefix: The workspace's name.
        job: The job.

    Returns:
        Its counts; requests and rows of several targets are told apart by what was written for one alone.
    """
    counts = Counts()
    topic = TopicPartition(topic_name(prefix, "ledger"), 0)
    lookup = broker.lookup()
    try:
        bounds = await lookup.start([topic.topic])
        if topic not in bounds:
            return counts
        async for records in lookup.read(topic, await lookup.offset_at(topic, job.created_ms), bounds[topic][1]):
            for record in records:
                done = read_transaction(record.value) if (record.key or b"").startswith(f"{group_of(job.id)}/".encode()) else None
                if done is not None:
                    counts.events += done.taken
                    counts.requests[", ".join(job.destinations)] += done.lanes.get("requests", 0)
                    counts.rows[", ".join(job.storages)] += done.lanes.get(ROWS, 0)
                    for _, _, _, verdict, reason, _, count in done.rows:
                        if verdict != "passed":
                            counts.ended[reason] += count
    finally:
        await lookup.stop()
    for each in (counts.requests, counts.rows):
        each.pop("", None)
    return counts
