"""The process of the collector, which also serves the live page, health and metrics on its port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import uvloop

from pipeline.app.browser import AnalyticsLibrary, Served, browser_routes, demo_routes, read_plugins
from pipeline.app.collector import Checking, Reply, RouteRequest, Routes, Tokens, serve_collector
from pipeline.app.explain import Explainer
from pipeline.app.explain.asking import addresses_of, ask_dedup
from pipeline.app.live.feed import LiveFeed
from pipeline.app.live.routes import live_routes
from pipeline.app.live.setup import Setup
from pipeline.app.live.standing import Standing, standing
from pipeline.app.processes.admission import Admission
from pipeline.app.processes.options import ProcessOptions, judges, prepare_process
from pipeline.app.processes.probe import read_page
from pipeline.app.processes.replays import command_job, job_lines
from pipeline.app.processes.run_file import Run, read_run
from pipeline.app.processes.volumes import volume_lines
from pipeline.app.processes.work import until_stopped
from pipeline.app.processes.workers import Said, Worker, metrics_of, trouble_of
from pipeline.app.settings import read_schema
from pipeline.explain import as_data
from pipeline.model.topics import topic_name
from pipeline.model.workspace import DEMO_WRITE_KEY, Workspace
from pipeline.runtime.brokers.kafka import KafkaBroker
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.configuration import Configuration
from pipeline.runtime.loop_turns import LoopTurns
from pipeline.runtime.metrics.prometheus import PrometheusMetrics

EXPLAIN_SECONDS: Final = 20.0
"""Longest that the live page lets an explanation take; the command has no such bound."""
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


def collect(options: ProcessOptions, worker: Worker | None = None) -> None:
    """Take events over HTTP until told to stop (SIGTERM, SIGINT).

    On loopback the live page is served too, and `/health/ready` speaks for the whole local run where there is one.

    Args:
        options: How the process finds its work; its port is the collector's.
        worker: What it is told where it is one of several behind that port.
    """
    prepare_process()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_Collecting(options, worker).run())


async def _while_it_works(task: asyncio.Task[None]) -> None:
    """Wait for a task that ends with an exception only: whoever awaits this learns of it."""
    await task


class _Collecting:
    """The parts of the process."""

    def __init__(self, options: ProcessOptions, worker: Worker | None) -> None:
        self._options = options
        self._worker = worker
        self._broker = KafkaBroker(options.bootstrap, "headrace-collector")
        self._metrics, self._clock = PrometheusMetrics(), SystemClock()
        self._configuration = Configuration(self._broker, options.prefix, read_schema("workspace"))
        self._resolve = judges(options).resolve
        self._admission = Admission(self._resolve)
        self._trouble = ""

    async def run(self) -> None:
        """Serve until stopped."""
        following = asyncio.create_task(self._configuration.run())
        await self._configuration.at_least(1)
        self._configuration.on_change(self._admission.take)
        producer = self._broker.producer()
        await producer.start()
        stop = asyncio.Event()
        feed = LiveFeed(
            self._broker, self._options.prefix, self._options.topology, workspace=self._workspace, clock=self._clock, processes=self._processes()
        )
        shared = None if self._worker is None else self._worker.shared
        telling = None if self._worker is None else await self._worker.tell(lambda: Said(self._trouble, self._metrics.text().decode()))
        serving = serve_collector(
            host=self._options.host,
            port=self._options.port,
            producer=producer,
            workspace=self._workspace,
            keys=lambda: self._admission.keys,
            tokens=Tokens(lambda: self._admission.clients, self._admission.token_secret(), None if shared is None else shared.assertions()),
            checking=Checking(judges(self._options).call_schemas),
            trusted_proxies=self._options.trusted_proxies,
            hook=self._admission.hook,
            metrics=self._metrics,
            clock=self._clock,
            routes=self._routes(feed),
            stop=stop,
            troubled=self._note_trouble,
            shared=shared,
        )
        try:
            turns = LoopTurns(self._clock, self._metrics, process="collector")
            await until_stopped([serving], [feed.run(), _while_it_works(following), turns.run()], stop.set)
        finally:
            following.cancel()
            await producer.stop()
            if telling is not None:
                telling.close()

    def _note_trouble(self, trouble: str) -> None:
        self._trouble = trouble

    async def _all_trouble(self) -> str:
        return self._trouble if self._worker is None else trouble_of(await self._worker.ask())

    def _known_keys(self) -> Mapping[str, str]:
        """Give the keys that this listener knows: off loopback, the demo's is none of them."""
        if self._options.host in LOOPBACK:
            return self._admission.shown
        return {key: source for key, source in self._admission.shown.items() if key != DEMO_WRITE_KEY}

    def _workspace(self) -> Workspace:
        current = self._configuration.workspace
        assert current is not None  # noqa: S101 (awaited before anything is served)
        return current

    def _local_run(self) -> Run | None:
        run = read_run(self._options.home)
        return run if run is not None and run.collector == self._options.port else None

    def _routes(self, feed: LiveFeed) -> Routes:
        async def live(_request: RouteRequest) -> Reply:
            return Reply(200, b"ok\n", "text/plain")

        async def ready(_request: RouteRequest) -> Reply:
            run = self._local_run()
            trouble = await self._all_trouble() or ("" if run is None or run.ready else "not ready")
            return Reply(503, f"{trouble}\n".encode(), "text/plain") if trouble else Reply(200, b"ok\n", "text/plain")

        async def exposition(_request: RouteRequest) -> Reply:
            text = self._metrics.text() if self._worker is None else metrics_of(await self._worker.ask())
            return Reply(200, text, "text/plain; version=0.0.4; charset=utf-8")

        library = AnalyticsLibrary(self._options.home, self._clock)
        served = Served(self._workspace, self._known_keys, library, read_plugins(), self._resolve)
        own: Routes = {("GET", "/health/live"): live, ("GET", "/health/ready"): ready, ("GET", "/metrics"): exposition}
        routes = {**browser_routes(served), **own}
        if self._options.host not in LOOPBACK:
            return routes

        async def volumes(minutes: int) -> list[dict[str, Any]] | None:
            return await volume_lines(self._local_run(), minutes)

        async def jobs() -> list[dict[str, Any]] | None:
            return await job_lines(self._local_run())

        demo = demo_routes(lambda: self._setup().write_key, served)
        return {**live_routes(feed, self._setup, volumes, self._explain, jobs, self._command_job), **demo, **routes}

    async def _command_job(self, name: str, command: str) -> str:
        return await command_job(self._broker, self._options.prefix, self._clock, name, command)

    async def _explain(self, wanted: str, source: str) -> dict[str, Any] | None:
        """Explain an event in a thread with a loop of its own: this one takes events in."""
        options, run = self._options, self._local_run()
        explainer = Explainer(
            KafkaBroker(options.bootstrap, "headrace-explain"),
            options.prefix,
            judges(options),
            clock=self._clock,
            ask_dedup=ask_dedup(addresses_of(run, options.topology)),
            lake_root=lambda text: Path(self._resolve(text)),
        )

        async def bounded() -> dict[str, Any] | None:
            try:
                async with asyncio.timeout(EXPLAIN_SECONDS):
                    return as_data(await explainer.explain(wanted, source))
            except TimeoutError:
                return None

        return await asyncio.to_thread(asyncio.run, bounded())

    def _setup(self) -> Setup:
        key, source = next(iter(self._admission.shown.items()), ("", ""))
        sources: dict[str, str] = {}
        for one_key, its_source in self._admission.shown.items():
            sources.setdefault(its_source, one_key)
        run = self._local_run()
        address = f"http://127.0.0.1:{self._options.port}"
        links = {"A website with analytics.js": f"{address}/demo"}
        if run is not None and run.receiver:
            links["Receipts of the local receiver"] = f"http://127.0.0.1:{run.receiver}/receipts"
        raw = topic_name(self._options.prefix, "raw")
        return Setup(key, source, address, self._options.bootstrap, raw, links, sources, self._admission.webhooks)

    def _processes(self) -> Callable[[], Awaitable[Standing]] | None:
        """Let the live page ask the processes of a local run about themselves; elsewhere it asks the cluster for their lag."""
        if read_run(self._options.home) is None:
            return None

        async def processes() -> Standing:
            run = self._local_run()
            ports = [process.port for process in run.processes if process.name not in ("kafka", "collector")] if run is not None else []
            answers = await asyncio.gather(*(read_page(port) for port in ports))
            return standing(answer for answer in answers if answer is not None)

        return processes
