"""Points at which a member process ends itself, as abruptly as kill -9 would: inside a transaction, a hand-over, a restore."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Collection, Mapping
from typing import Final

from pipeline.model.record import TopicPartition
from pipeline.ports.broker import Membership
from pipeline.runtime.brokers.kafka_transactional_producer import TransactionalProducer
from pipeline.runtime.dedup_state import DedupState
from pipeline.runtime.partitions import PartitionHost


def _exit_at(number: int) -> Callable[[], None]:
    """Make what ends the process at its nth call, without a word to anybody."""
    calls = 0

    def point() -> None:
        nonlocal calls
        calls += 1
        if calls >= number:
            os.kill(os.getpid(), signal.SIGKILL)

    return point


def after_produce(number: int) -> None:
    """All records are stored, the offsets are not part of the transaction yet."""
    point, send_offsets = _exit_at(number), TransactionalProducer.send_offsets

    async def wrapped(self: TransactionalProducer, positions: Mapping[TopicPartition, tuple[int, str]], member: Membership) -> None:
        point()
        await send_offsets(self, positions, member)

    TransactionalProducer.send_offsets = wrapped  # type: ignore[method-assign]  # a failpoint


def after_offsets(number: int) -> None:
    """Records and offsets are part of the transaction; EndTxn is not sent."""
    point, commit = _exit_at(number), TransactionalProducer.commit

    async def wrapped(self: TransactionalProducer) -> None:
        point()
        await commit(self)

    TransactionalProducer.commit = wrapped  # type: ignore[method-assign]  # a failpoint


def during_end(number: int) -> None:
    """EndTxn is on its way, its answer is not here."""
    point, commit = _exit_at(number), TransactionalProducer.commit

    async def wrapped(self: TransactionalProducer) -> None:
        committing = asyncio.ensure_future(commit(self))
        for _ in range(3):
            await asyncio.sleep(0)
        point()
        await committing

    TransactionalProducer.commit = wrapped  # type: ignore[method-assign]  # a failpoint


def after_end(number: int) -> None:
    """The transaction is committed; the local state does not know yet."""
    point, commit = _exit_at(number), TransactionalProducer.commit

    async def wrapped(self: TransactionalProducer) -> None:
        await commit(self)
        point()

    TransactionalProducer.commit = wrapped  # type: ignore[method-assign]  # a failpoint


def after_flush(number: int) -> None:
    """The local state was written."""
    point, committed = _exit_at(number), DedupState.committed

    def wrapped(self: DedupState, ends: Mapping[TopicPartition, int]) -> None:
        committed(self, ends)
        point()

    DedupState.committed = wrapped  # type: ignore[method-assign]  # a failpoint


def in_restore(number: int) -> None:
    """Part of the changelog has been read into the local state."""
    point, restore = _exit_at(max(1, number // 8)), DedupState.restore

    async def wrapped(self: DedupState, *, resumed: bool) -> None:
        restoring = asyncio.ensure_future(restore(self, resumed=resumed))
        await asyncio.wait({restoring}, timeout=0.05)
        point()
        await restoring

    DedupState.restore = wrapped  # type: ignore[method-assign]  # a failpoint


def in_revoke(number: int) -> None:
    """Partitions are being taken away, and work is in flight."""
    point, revoked = _exit_at(min(1, number)), PartitionHost._revoked

    async def wrapped(self: PartitionHost, partitions: Collection[TopicPartition]) -> None:
        if partitions:
            point()
        await revoked(self, partitions)

    PartitionHost._revoked = wrapped  # type: ignore[method-assign]  # a failpoint


FAILPOINTS: Final[Mapping[str, Callable[[int], None]]] = {
    point.__name__: point for point in (after_produce, after_offsets, during_end, after_end, after_flush, in_restore, in_revoke)
}
"""Every failpoint by its name; called with the number of the hit at which the process ends."""
