"""The faust app: one agent over the ledger, one table of windows, one page on loopback.

faust is held to what it does well (reference: reliability, faust-streaming): at_least_once, one agent of concurrency 1, no table web pages, no
pickle, and an agent that fails ends the process instead of passing over what it failed on.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections import defaultdict
from pathlib import Path
from typing import Any, Final, cast

import faust
import faust.exceptions
import orjson
from aiohttp import web
from faust.streams import Stream, _current_event
from faust.types import TableT

from pipeline.app.monitor.snapshot import volumes
from pipeline.app.monitor.transport import LedgerConsumer, LedgerTransport
from pipeline.app.monitor.volumes import MINUTE_MS, MINUTES_KEPT, Window, WindowKey, fold, is_kept, read_entry
from pipeline.model.topics import topic_name
from pipeline.ports.clock import Clock
from pipeline.runtime.metrics.prometheus import PrometheusMetrics

CHANGELOG: Final = "monitor-volumes-changelog"
"""Topic of the table's changes, without prefix; faust makes the name of the app's and the table's."""

_BATCH: Final = 1000
"""Most ledger records that are counted at once."""
_BATCH_SECONDS: Final = 1.0
"""How long ledger records are gathered; each changed window is written once for them all."""
_COMMIT_SECONDS: Final = 5.0
_SESSION_SECONDS: Final = 6.0
"""How long a monitor that was killed holds the ledger against the next one."""
_REBALANCE_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 4.0
_HOSTS: Final = frozenset({"127.0.0.1", "localhost"})
_STORE: Final = {"write_buffer_size": 4 * 1024**2, "max_write_buffer_number": 2, "block_cache_size": 8 * 1024**2, "max_open_files": 64}


class StoreUnusable(Exception):
    """The local store is damaged, or is of another cluster; it can be deleted, and is restored from the changelog."""


class Monitor:
    """Counts the ledger, and serves the counts.

    Args:
        bootstrap: `host:port` of a broker.
        prefix: The workspace's name.
        state: Folder of its local store; whatever it holds can be deleted, and is restored from the changelog.
        clock: Clock.
    """

    def __init__(self, *, bootstrap: str, prefix: str, state: Path, clock: Clock) -> None:
        self._clock = clock
        self._metrics = PrometheusMetrics()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._processors: defaultdict[int, set[str]] = defaultdict(set)
        state.mkdir(parents=True, exist_ok=True)
        self._app = _app(bootstrap, topic_name(prefix, "monitor"), state)
        self._app.transport = LedgerTransport(self._app.conf.broker_consumer, self._app)
        self._windows: TableT[bytes, bytes] = self._app.Table("volumes", partitions=1, key_type=bytes, value_type=bytes, options=dict(_STORE))
        ledger = self._app.topic(topic_name(prefix, "ledger"), key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
        self._app.agent(ledger, name="volumes", concurrency=1)(self._count)  # type: ignore[arg-type]  # faust's StreamT leaves out take_events

    async def run(self, *, port: int, stop: asyncio.Event) -> None:
        """Restore the table, then count and serve until told to stop.

        Args:
            port: Port on 127.0.0.1.
            stop: Set by the caller to stop.

        Raises:
            OSError: The port is taken.
            StoreUnusable: The local store must go first.
        """
        page = web.AppRunner(self._page(), access_log=None, handle_signals=False)
        waiting = asyncio.create_task(stop.wait())
        starting = asyncio.create_task(self._app.start())
        try:
            await asyncio.wait((starting, waiting), return_when=asyncio.FIRST_COMPLETED)
            if starting.done() and not self._app.crashed:
                starting.result()
                self._index()
                await page.setup()
                await web.TCPSite(page, "127.0.0.1", port).start()
                crashed = asyncio.create_task(self._app.wait_until_stopped())
                await asyncio.wait((waiting, self._failed, crashed), return_when=asyncio.FIRST_COMPLETED)
                crashed.cancel()
        finally:
            waiting.cancel()
            starting.cancel()
            await self._end(page, starting, told=stop.is_set())
        if self._failed.done():
            self._failed.result()
        reason = self._app.crash_reason
        if reason is not None:
            raise StoreUnusable(str(reason)) if _is_of_store(reason) else reason

    async def _end(self, page: web.AppRunner, starting: asyncio.Task[Any], *, told: bool) -> None:
        stopping = asyncio.create_task(self._stop(page, starting))
        if not (await asyncio.wait((stopping,), timeout=_STOP_SECONDS))[0]:
            # With the broker away faust waits for it without end, and takes no cancellation. Nothing is lost: whatever is
            # not committed is read again.
            os._exit(0 if told else 1)
        stopping.result()

    async def _stop(self, page: web.AppRunner, starting: asyncio.Task[Any]) -> None:
        await asyncio.gather(starting, return_exceptions=True)
        await page.cleanup()
        await self._app.stop()

    def _now_minute(self) -> int:
        return self._clock.now_ms() // MINUTE_MS

    def _index(self) -> None:
        for key in self._windows:
            minute, processor = WindowKey.from_bytes(key)
            self._processors[minute].add(processor)

    async def _count(self, stream: Stream[bytes]) -> None:
        try:
            async for events in stream.take_events(_BATCH, within=_BATCH_SECONDS):
                # A table takes the partition that it writes to from the event under way, which gathering leaves unset.
                _current_event.set(weakref.ref(events[-1]))
                self._take([event.value for event in events])
        except Exception as error:  # faust would pass over the records; the process ends instead, and reads them again
            cast(LedgerConsumer, self._app.consumer).hold()
            if not self._failed.done():
                self._failed.set_exception(error)
            raise

    def _take(self, values: list[bytes]) -> None:
        entries = [entry for entry in map(read_entry, values) if entry is not None]
        self._metrics.add("headrace_records_in_total", len(values), processor="monitor")
        self._metrics.add("headrace_records_passed_total", len(entries), processor="monitor")
        if len(entries) < len(values):
            self._metrics.add("headrace_records_dropped_total", len(values) - len(entries), processor="monitor", reason="not_a_ledger_record")
        now = self._now_minute()
        for key, window in fold(entries, self._load, now).items():
            self._windows[key.to_bytes()] = window.to_bytes()
            self._processors[key.minute].add(key.processor)
        for minute in [minute for minute in self._processors if not is_kept(minute, now)]:
            for processor in self._processors.pop(minute):
                self._windows.pop(WindowKey(minute, processor).to_bytes(), None)

    def _load(self, key: WindowKey) -> Window | None:
        value = self._windows.get(key.to_bytes())
        return None if value is None else Window.from_bytes(value)

    def _page(self) -> web.Application:
        page = web.Application()
        page.router.add_get("/volumes.json", self._volumes)
        page.router.add_get("/metrics", self._exposition)
        return page

    async def _exposition(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _volumes(self, request: web.Request) -> web.Response:
        if request.url.host not in _HOSTS:  # a page of another site, whose name was made to point here
            raise web.HTTPForbidden
        asked = request.query.get("minutes", "60")
        if not asked.isdecimal() or not 1 <= int(asked) <= MINUTES_KEPT:
            raise web.HTTPBadRequest(text=f"minutes: a number from 1 to {MINUTES_KEPT}\n")
        minutes, now = int(asked), self._now_minute()
        keys = [WindowKey(minute, name) for minute in range(now - minutes + 1, now + 1) for name in self._processors.get(minute, ())]
        windows = {key: window for key in keys if (window := self._load(key)) is not None}
        return web.Response(body=orjson.dumps(volumes(windows, now_minute=now, minutes=minutes)), content_type="application/json")


def _is_of_store(reason: BaseException) -> bool:
    # rocksdict has no exceptions of its own: RocksDB's status is the beginning of the text.
    return isinstance(reason, faust.exceptions.ConsistencyError) or str(reason).startswith("Corruption:")


def _app(bootstrap: str, name: str, state: Path) -> faust.App:
    return faust.App(
        name,
        broker=f"kafka://{bootstrap}",
        store="rocksdb://",
        datadir=str(state),
        processing_guarantee="at_least_once",
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=_COMMIT_SECONDS,
        broker_session_timeout=_SESSION_SECONDS,
        broker_heartbeat_interval=_SESSION_SECONDS / 3,
        broker_rebalance_timeout=_REBALANCE_SECONDS,
        topic_partitions=1,
        topic_disable_leader=True,
        web_enabled=False,
        autodiscover=False,
        reply_create_topic=False,
    )
