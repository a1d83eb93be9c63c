"""A process that runs processors of the topology."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import uvloop

from pipeline.app.processes.endpoint import Endpoint, FirstSeen
from pipeline.app.processes.health import Health
from pipeline.app.processes.options import ProcessOptions, judges, prepare_process
from pipeline.app.settings import make_home, read_schema
from pipeline.assembly import HostMaker, Outside
from pipeline.runtime.brokers.kafka import KafkaBroker
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.configuration import Configuration
from pipeline.runtime.http.pooled_client import PooledClient
from pipeline.runtime.loop_turns import LoopTurns
from pipeline.runtime.loop_watch import LoopWatch
from pipeline.runtime.metrics.prometheus import PrometheusMetrics
from pipeline.runtime.processors import ProcessorRunner
from pipeline.runtime.replay.jobs import Jobs
from pipeline.runtime.replay.runner import JobsRunner
from pipeline.runtime.stores.sorted_runs import SortedRunsStore

_log = logging.getLogger(__name__)

STOP_SECONDS: Final = 15.0
"""Longest that work may take to finish once it was asked to; then it is cancelled. Two waits for workers (4 s each) and a goodbye fit."""
LOOK_UP_SECONDS: Final = 2.0
"""Longest that a page waits for the loop."""
CANCEL_SECONDS: Final = 3.0
FAILED_SECONDS: Final = 10.0
"""Longest that the rest may take to finish where one piece of work failed."""


def work(options: ProcessOptions, name: str, processors: Sequence[str], started: Callable[[int], None]) -> None:
    """Run processors until told to stop (SIGTERM, SIGINT).

    Args:
        options: How the process finds its work.
        name: Name of the process; its local state lies under it.
        processors: Names of the processors.
        started: Called with the port of health and metrics.
    """
    prepare_process()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_work(options, name, processors, started))


async def _work(options: ProcessOptions, name: str, processors: Sequence[str], started: Callable[[int], None]) -> None:
    broker = KafkaBroker(options.bootstrap, f"headrace-{name}")
    metrics, clock, http = PrometheusMetrics(), SystemClock(), PooledClient(private_addresses=options.private_destinations)
    configuration = Configuration(broker, options.prefix, read_schema("workspace"))
    state = options.home / "state" / name

    def open_store(group: str, partition: int, max_ids: int) -> SortedRunsStore:
        make_home(options.home)
        return SortedRunsStore(state / group / str(partition), max_ids)

    outside = Outside(broker, clock, metrics, http, open_store, options.time_scale)
    judging = judges(options)
    maker = HostMaker(judging, configuration, outside)
    jobs = Jobs(broker, options.prefix, clock)
    declared = [options.topology.processors[each] for each in processors]
    runners: list[ProcessorRunner | JobsRunner] = [
        JobsRunner(each, options.topology, configuration, jobs, maker.for_job, broker, clock)
        if each.kind == "replay"
        else ProcessorRunner(each, configuration, maker, jobs)
        for each in declared
    ]

    def folders() -> dict[str, Path]:
        workspace = configuration.workspace
        lakes = workspace.storage.values() if workspace is not None and any(each.processor.kind == "lake" for each in runners) else ()
        found = {"state": state}
        for storage in lakes:
            with suppress(ValueError):  # a secret in its path is missing: its member says so
                found[storage.id] = judging.folder_of(storage)
        return found

    health = Health(runners, configuration, clock=clock, metrics=metrics, folders=folders)
    endpoint = Endpoint(
        options.host,
        options.port,
        metrics=metrics.text,
        live=health.live,
        ready=health.ready,
        status=lambda: {**health.status(name), "destinations": _destinations(maker), **_jobs(runners)},
        first_seen=_first_seen(maker, asyncio.get_running_loop()),
    )
    started(endpoint.port)
    watch, turns = LoopWatch(clock, metrics, process=name), LoopTurns(clock, metrics, process=name)

    def stop() -> None:
        for each in runners:
            each.stop()

    try:
        await until_stopped([each.run() for each in runners], [configuration.run(), jobs.run(), health.run(), watch.run(), turns.run()], stop)
    finally:
        await http.close()
        endpoint.close()


def _destinations(maker: HostMaker) -> list[dict[str, Any]]:
    return [
        {"destination": one, "state": lane.state, "reason": lane.reason, "held": lane.held, "unfinished": lane.unfinished}
        for one, lane in sorted(maker.lanes.items())
    ]


def _jobs(runners: Sequence[ProcessorRunner | JobsRunner]) -> dict[str, Any]:
    found = [job for each in runners if isinstance(each, JobsRunner) for job in each.summary()]
    return {"jobs": found} if any(isinstance(each, JobsRunner) for each in runners) else {}


def _first_seen(maker: HostMaker, loop: asyncio.AbstractEventLoop) -> Callable[[bytes], FirstSeen | None]:
    async def look_up(digest: bytes) -> FirstSeen | None:
        found = maker.first_seen(digest)
        return None if found is None else FirstSeen(found[0], found[1].offset, found[1].at_ms)

    # The endpoint asks in a thread of its own, and state belongs to the loop.
    return lambda digest: asyncio.run_coroutine_threadsafe(look_up(digest), loop).result(LOOK_UP_SECONDS)


async def until_stopped(
    work_to_do: Sequence[Coroutine[Any, Any, None]], beside: Sequence[Coroutine[Any, Any, None]], stop: Callable[[], None]
) -> None:
    """Run coroutines until SIGTERM or SIGINT, then let them finish within a bound.

    Args:
        work_to_do: What is asked to stop and awaited.
        beside: What runs beside it and is cancelled at the end.
        stop: Asks the work to stop.

    Raises:
        Exception: What ended one of them: the process ends with it.
    """
    asked = asyncio.Event()

    def ask() -> None:
        asked.set()
        stop()

    async def be_patient() -> None:
        await asked.wait()
        await asyncio.sleep(STOP_SECONDS)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask)
    tasks = [asyncio.create_task(each) for each in work_to_do]
    patience = asyncio.create_task(be_patient())
    others = [patience, *(asyncio.create_task(each) for each in beside)]
    try:
        pending = set(tasks)
        while pending and not patience.done():
            done, _ = await asyncio.wait([*pending, *others], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            pending -= done
        if pending:
            _log.warning("Not everything came to its end within %g s after the process was told to stop; it is cut off.", STOP_SECONDS)
    except BaseException:
        stop()
        await asyncio.wait(tasks, timeout=FAILED_SECONDS)
        raise
    finally:
        for task in (*tasks, *others):
            task.cancel()
        await asyncio.wait([*tasks, *others], timeout=CANCEL_SECONDS)
