"""The collector as a server: its connections, what answers their requests and what stores, in one event loop, which is also the broker client's."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Final

from pipeline.app.collector.bodies import Bodies
from pipeline.app.collector.checking import Checking
from pipeline.app.collector.connections import Connections
from pipeline.app.collector.counts import Counts
from pipeline.app.collector.listener import listen, most_connections
from pipeline.app.collector.outbox import Outbox
from pipeline.app.collector.requests import Application
from pipeline.app.collector.routes import Routes
from pipeline.app.collector.shared import Shared
from pipeline.app.collector.tokens import Tokens
from pipeline.app.settings import is_loopback
from pipeline.ingest import WriteKeys
from pipeline.ingest.webhook import Hook
from pipeline.model.addresses import Network
from pipeline.model.workspace import DEMO_WRITE_KEY, Workspace
from pipeline.ports.broker import Producer
from pipeline.ports.clock import Clock
from pipeline.ports.metrics import Metrics

_TICK_SECONDS: Final = 0.25
"""How often late requests are looked for and counts are handed on."""
_LOOK_SECONDS: Final = 1.0
"""How often a broker that was away is asked whether it is back."""
_STOP_SECONDS: Final = 10.0
"""How long requests under way have to end when the collector stops; longer than a request waits for the broker."""


class DemoKeyExposed(Exception):
    """The listener is open to other machines while a source has the demo write key."""


async def serve_collector(  # noqa: PLR0913 (what it works on, passed one by one)
    *,
    host: str,
    port: int,
    producer: Producer,
    workspace: Callable[[], Workspace],
    keys: Callable[[], WriteKeys],
    metrics: Metrics,
    clock: Clock,
    routes: Routes,
    stop: asyncio.Event,
    tokens: Tokens | None = None,
    checking: Checking | None = None,
    trusted_proxies: Sequence[Network] = (),
    hook: Callable[[str], Hook | None] = lambda _source: None,
    listening: Callable[[int], None] | None = None,
    troubled: Callable[[str], None] = lambda _trouble: None,
    shared: Shared | None = None,
) -> None:
    """Take events over HTTP until told to stop; then finish the requests under way, store what they brought, and return.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.
        producer: Where events are stored; started, and stopped by the caller afterwards.
        workspace: Gives the workspace as it is now; asked for each request.
        keys: Gives the write keys as they are now; asked for each request.
        metrics: Where is counted.
        clock: Clock.
        routes: Further pages on the same port.
        stop: Set by the caller to stop.
        tokens: Issues and reads access tokens, where there is one.
        checking: Runs validate for clients that ask for it, where it is at hand.
        trusted_proxies: Networks of the proxies whose X-Forwarded-For is believed.
        hook: Gives the webhook source with an id as it is now, or None; asked for each delivery.
        listening: Told the port once connections are accepted.
        troubled: Told again and again why events are not taken now; an empty text where they are.
        shared: What this process shares with others behind the same port, where there are any.

    Raises:
        DemoKeyExposed: `host` is open to other machines while a source has the write key `demo` (design: one machine). A later
            configuration that brings the key doesn't stop the collector: the key is unknown to it.
        PortTaken: The address cannot be listened on.
    """
    if not is_loopback(host):
        _refuse_demo_key(host, keys())
        keys = _WithoutDemoKey(keys)
    listener = listen(host, port, shared=shared is not None)
    bound_port = listener.getsockname()[1]
    outbox = Outbox(producer, clock)
    counts = Counts(metrics)
    application = Application(
        outbox=outbox,
        counts=counts,
        workspace=workspace,
        keys=keys,
        clock=clock,
        routes=routes,
        nonce=secrets.token_hex(16),
        tokens=tokens,
        checking=checking,
        trusted_proxies=trusted_proxies,
        hook=hook,
        limits=None if shared is None else shared.limits(),
    )
    connections = Connections(listener, most_connections(), application.handle, Bodies(outbox), clock)

    def told(trouble: str) -> None:
        troubled("the collector stops" if stop.is_set() else trouble)

    ticking = asyncio.create_task(_tick(connections, outbox, counts, clock, told))
    looking = asyncio.create_task(_look(outbox, clock))
    stopping = asyncio.create_task(stop.wait())
    try:
        if listening is not None:
            listening(bound_port)
        await asyncio.wait((stopping, ticking, outbox.crashed), return_when=asyncio.FIRST_COMPLETED)
        troubled("the collector stops")
        application.end_streams()
        await connections.stop(_STOP_SECONDS)
        await outbox.drain()
        counts.publish()
        for ended in (outbox.crashed, ticking):
            if ended.done():
                ended.result()
    finally:
        await connections.stop(0.0)
        for task in (stopping, ticking, looking):
            task.cancel()
        await asyncio.gather(stopping, ticking, looking, return_exceptions=True)


def _refuse_demo_key(host: str, keys: WriteKeys) -> None:
    holder = keys.of(DEMO_WRITE_KEY)
    if holder is not None and holder.enabled:
        raise DemoKeyExposed(
            f"Refusing to listen on {host}: source {holder.source} has the write key '{DEMO_WRITE_KEY}', which works on this machine only. "
            "Give the source a key of its own, or listen on 127.0.0.1."
        )


class _WithoutDemoKey:
    """The write keys for a listener that other machines reach, whatever a later configuration brings."""

    def __init__(self, keys: Callable[[], WriteKeys]) -> None:
        self._keys = keys
        self._seen: WriteKeys | None = None
        self._shown = WriteKeys({})

    def __call__(self) -> WriteKeys:
        keys = self._keys()
        if keys is not self._seen:
            self._seen, self._shown = keys, keys.without(DEMO_WRITE_KEY)
        return self._shown


async def _tick(connections: Connections, outbox: Outbox, counts: Counts, clock: Clock, troubled: Callable[[str], None]) -> None:
    while True:
        await clock.sleep(_TICK_SECONDS)
        outbox.give_up_on_late()
        connections.look()
        troubled(outbox.trouble)
        counts.publish()


async def _look(outbox: Outbox, clock: Clock) -> None:
    while True:
        await clock.sleep(_LOOK_SECONDS)
        await outbox.look()
