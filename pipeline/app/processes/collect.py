"""The process of the collector, which also serves the live page, health and metrics on its port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import uvloop

from pipeline.app.collector import Reply, RouteRequest, Routes, serve_collector
from pipeline.app.processes.options import ProcessOptions, judges, prepare_process
from pipeline.app.processes.work import until_stopped
from pipeline.app.settings import read_schema
from pipeline.assembly import write_keys
from pipeline.model.workspace import Workspace
from pipeline.runtime.brokers.kafka import KafkaBroker
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.configuration import Configuration
from pipeline.runtime.metrics.prometheus import PrometheusMetrics

MakePages = Callable[[KafkaBroker, Configuration, ProcessOptions], tuple[Routes, Callable[[], asyncio.Future[None]]]]


def collect(options: ProcessOptions, *, whole_run_ready: Callable[[], bool], pages: bool = True) -> None:
    """Take events over HTTP until told to stop (SIGTERM, SIGINT).

    Args:
        options: How the process finds its work; its port is the collector's.
        whole_run_ready: Whether everything behind the collector is ready too.
        pages: Whether the live page is served.
    """
    prepare_process()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_collect(options, whole_run_ready, pages=pages))


class Keys:
    """Write keys of the newest configuration, resolved once for each version.

    Args:
        configuration: What is declared, followed.
        resolve: Fills in references to secrets.
    """

    def __init__(self, configuration: Configuration, resolve: Callable[[str], str]) -> None:
        self._keys: Mapping[str, str] = {}
        self._resolve = resolve
        configuration.on_change(self._changed)

    def _changed(self, workspace: Workspace) -> None:
        self._keys = write_keys(workspace, self._resolve)

    def __call__(self) -> Mapping[str, str]:
        """Give source ids by write key."""
        return self._keys


async def _collect(options: ProcessOptions, whole_run_ready: Callable[[], bool], *, pages: bool) -> None:
    broker = KafkaBroker(options.bootstrap, "headrace-collector")
    metrics, clock, producer = PrometheusMetrics(), SystemClock(), broker.producer()
    configuration = Configuration(broker, options.prefix, read_schema("workspace"))
    following = asyncio.create_task(configuration.run())
    await configuration.at_least(1)
    keys = Keys(configuration, judges(options).resolve)
    await producer.start()
    stop = asyncio.Event()

    def workspace() -> Workspace:
        current = configuration.workspace
        assert current is not None  # noqa: S101 (awaited above)
        return current

    async def live(_request: RouteRequest) -> Reply:
        return Reply(200, b"ok\n", "text/plain")

    async def ready(_request: RouteRequest) -> Reply:
        return Reply(200, b"ok\n", "text/plain") if whole_run_ready() else Reply(503, b"not ready\n", "text/plain")

    async def exposition(_request: RouteRequest) -> Reply:
        return Reply(200, metrics.text(), "text/plain; version=0.0.4; charset=utf-8")

    routes: dict[tuple[str, str], Callable[[RouteRequest], object]] = {
        ("GET", "/health/live"): live,
        ("GET", "/health/ready"): ready,
        ("GET", "/metrics"): exposition,
    }
    del pages
    serving = serve_collector(
        host=options.host,
        port=options.port,
        producer=producer,
        workspace=workspace,
        keys=keys,
        metrics=metrics,
        clock=clock,
        routes=routes,  # type: ignore[arg-type]
        stop=stop,
    )
    try:
        await until_stopped([serving], [], stop.set)
    finally:
        following.cancel()
        await producer.stop()
