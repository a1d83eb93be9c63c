"""Broken builds of deliver: each undoes one precaution of the product inside a process that delivers.

`tests.faults.deliver_member` takes the name.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from pipeline.deliver import verdicts
from pipeline.deliver.schedule import Later, next_try
from pipeline.deliver.sending import Item, read_item, to_send
from pipeline.deliver.verdicts import Delivered, Disable, Park, Retry, Verdict, classify
from pipeline.model.outcomes import Dead
from pipeline.model.record import Record, TopicPartition
from pipeline.ports.http import Answer, Request
from pipeline.runtime.delivery import order, request, worker, written
from pipeline.runtime.delivery.entry import Entry
from pipeline.runtime.delivery.lane import DeliveryLane
from pipeline.runtime.delivery.order import HeldTopic
from pipeline.runtime.delivery.worker import DeliverWorker
from pipeline.runtime.http import connection
from pipeline.runtime.http.connection import Connection
from pipeline.runtime.http.pooled_client import PooledClient, Target

TRIES: Final = 3
SLOTS: Final = 4
BATCH_SECONDS: Final = 1.0


def _replace(owner: object, **parts: Any) -> None:  # noqa: ANN401 (whatever stands there)
    """Put parts of a broken build in the place of the product's, which are there: a switch that does nothing would break nothing."""
    for name, part in parts.items():
        assert hasattr(owner, name), f"{owner} has no {name}"
        setattr(owner, name, part)


def _judging(change: Callable[[Verdict], Verdict]) -> None:
    """Change what an answer means."""
    _replace(worker, classify=lambda *answer: change(classify(*answer)))


def given_up() -> None:
    """Drop a request after its third try."""

    def broken(*, failures: int, **rest: Any) -> Later | Dead:  # noqa: ANN401 (the function's own)
        return Dead("retries_exhausted", "too soon") if failures >= TRIES else next_try(failures=failures, **rest)

    _replace(written, next_try=broken)


def at_once() -> None:
    """Let all that failed together come back together."""
    _replace(written, jitter_of=lambda _message_id, _failures: 0.0)


def retry_after_ignored() -> None:
    """Wait as usual, whatever the tool asked for."""
    _replace(verdicts, parse_retry_after=lambda _text, _now_ms: 0)


def retry_after_believed() -> None:
    """Wait as long as the tool says, without a cap."""

    def broken(text: str | None, _now_ms: int) -> int:
        return int(text) * 1000 if text and text.isdigit() else 0

    _replace(verdicts, parse_retry_after=broken)


def no_deadline() -> None:
    """Wait for an answer as long as it takes."""
    _replace(request, to_send=lambda item, **rest: to_send(item, **{**rest, "timeout_seconds": 3600.0}))


def no_limit() -> None:
    """Read answers whole, whatever their length."""
    _replace(connection, BODY_BYTES=1 << 40, HEAD_BYTES=1 << 40)


def no_address_check() -> None:
    """Connect to whatever a name leads to."""
    init = PooledClient.__init__
    _replace(PooledClient, __init__=lambda self, **_rest: init(self, private_addresses=True))


def resolved_twice() -> None:
    """Check one answer of the resolver, and connect to the next one."""
    connect_to = PooledClient._connect_to

    async def broken(self: PooledClient, _address: str, target: Target) -> Connection:
        found = await asyncio.get_running_loop().getaddrinfo(target.host, target.port)
        return await connect_to(self, str(found[0][4][0]), target)

    _replace(PooledClient, _connect_to=broken)


def redirects_followed() -> None:
    """Go where a tool sends us."""
    send = PooledClient.send

    async def broken(self: PooledClient, request: Request) -> Answer:
        answer = await send(self, request)
        if 300 <= answer.status < 400 and "location" in answer.headers:
            return await send(self, request._replace(url=answer.headers["location"]))
        return answer

    _replace(PooledClient, send=broken)


def never_probed() -> None:
    """Leave a destination whose circuit has opened alone for ever."""
    _replace(DeliveryLane, _probe_later=lambda _self: None)


def new_ids() -> None:
    """Make an id for each try."""

    def broken(value: bytes) -> Item:
        return read_item(value)._replace(id=uuid.uuid4().hex)

    _replace(worker, read_item=broken)


def any_answer_taken() -> None:
    """Take the last answer that lies on a connection for that of its request."""

    def broken(self: Connection) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(self._reply)

    _replace(Connection, on_message_complete=broken)


def whole_batch() -> None:
    """Take the failure of one request for that of all that were under way with it."""
    failed_at = float("-inf")

    def change(verdict: Verdict) -> Verdict:
        nonlocal failed_at
        now = asyncio.get_running_loop().time()
        if isinstance(verdict, Retry):
            failed_at = now
        return Retry() if isinstance(verdict, Delivered) and now - failed_at < BATCH_SECONDS else verdict

    _judging(change)


def terminal_retried() -> None:
    """Try what a tool has refused for good again and again."""
    _judging(lambda verdict: Retry() if isinstance(verdict, Dead) else verdict)


def locked_is_dead() -> None:
    """Give up every request that finds the door locked."""
    _judging(lambda verdict: Dead("rejected", "locked") if isinstance(verdict, Park | Disable) else verdict)


def ours_is_dead() -> None:
    """Let a fault of our own end a request."""
    _judging(lambda verdict: Dead("rejected", "ours") if verdict == Park("misconfigured") else verdict)


def shared_slots() -> None:
    """Let all destinations share a few senders."""
    slots, attempt = asyncio.Semaphore(SLOTS), DeliverWorker.attempt

    async def broken(self: DeliverWorker, entry: Entry) -> None:
        async with slots:
            await attempt(self, entry)

    _replace(DeliverWorker, attempt=broken)


def no_barrier() -> None:
    """Let the requests of a user pass one that waits for its next try."""
    _replace(DeliverWorker, _ordered=False)


def held_forgotten() -> None:
    """Begin without what the worker before held in order."""

    async def broken(_self: HeldTopic, _partition: TopicPartition, *, ordered: bool) -> list[Record]:
        del ordered
        return []

    _replace(HeldTopic, read=broken)


def endless_chains() -> None:
    """Let one busy key fill the window of its partition."""
    _replace(order, CHAIN_MOST=1 << 30)


BROKEN: Final[Mapping[str, Callable[[], None]]] = {
    build.__name__: build
    for build in (
        given_up,
        at_once,
        retry_after_ignored,
        retry_after_believed,
        no_deadline,
        no_limit,
        no_address_check,
        resolved_twice,
        redirects_followed,
        never_probed,
        new_ids,
        any_answer_taken,
        whole_batch,
        terminal_retried,
        locked_is_dead,
        ours_is_dead,
        shared_slots,
        no_barrier,
        held_forgotten,
        endless_chains,
    )
}
"""Every broken build by its name."""
