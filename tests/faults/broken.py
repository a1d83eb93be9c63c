"""Broken builds: each undoes one precaution of the product inside a member process, so that a test can show that it would notice.

`tests.faults.member --broken NAME` takes the name.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import orjson
from aiokafka import AIOKafkaConsumer

from pipeline.app.collector.outbox import Outbox
from pipeline.model.ledger import Tally, ledger_value
from pipeline.model.record import Output, Record, TopicPartition
from pipeline.ports.broker import Committed, Position, Transactions
from pipeline.runtime import dedup_state, partitions, step_worker
from pipeline.runtime.brokers import kafka_admin, kafka_consumer, kafka_joint_committer
from pipeline.runtime.brokers.kafka import KafkaBroker
from pipeline.runtime.brokers.kafka_batches import batches_of
from pipeline.runtime.brokers.kafka_joint_committer import Call, JointCommitter
from pipeline.runtime.brokers.kafka_transactional_producer import BatchFailed, TransactionalProducer
from pipeline.runtime.dedup_state import DedupState
from pipeline.runtime.inbox import Inbox
from pipeline.runtime.judgement import Judged, judge
from pipeline.runtime.replay.worker import ReplayWorker
from pipeline.runtime.stores.sorted_runs import SortedRunsStore
from pipeline.translate import step as translate_step

GAP_SECONDS: Final = float(os.environ.get("HEADRACE_BROKEN_GAP", "0.05"))
"""How long two transactions lie apart that should be one. The fewer the kills, the longer it must be for one to hit it."""
Ends = Mapping[TopicPartition, int]
Positions = Mapping[TopicPartition, Position]


def _replace(owner: object, **parts: Any) -> None:  # noqa: ANN401 (whatever stands there)
    """Put parts of a broken build in the place of the product's."""
    for name, part in parts.items():
        setattr(owner, name, part)


def _part(call: Call, outputs: Sequence[Output], positions: Positions) -> Call:
    """Give part of what a caller wants committed."""
    return Call(call.transactional_id, outputs, positions, call.group)


def offsets_first() -> None:
    """Commit the offsets in a transaction of their own, before the outputs."""
    commit = JointCommitter._commit

    async def broken(self: JointCommitter, producer: TransactionalProducer, calls: Sequence[Call]) -> Sequence[Ends]:
        await commit(self, producer, [_part(call, (), call.positions) for call in calls])
        await asyncio.sleep(GAP_SECONDS)
        return await commit(self, producer, [_part(call, call.outputs, {}) for call in calls])

    _replace(JointCommitter, _commit=broken)


def outputs_first() -> None:
    """Commit the outputs in a transaction of their own, before the offsets."""
    commit = JointCommitter._commit

    async def broken(self: JointCommitter, producer: TransactionalProducer, calls: Sequence[Call]) -> Sequence[Ends]:
        # Without what dedup remembers: it would hide the second copy of an event behind its first.
        kept = [_part(call, [output for output in call.outputs if not output.topic.endswith(".changelog")], {}) for call in calls]
        ends = await commit(self, producer, kept)
        await asyncio.sleep(GAP_SECONDS)
        state = [_part(call, [output for output in call.outputs if output.topic.endswith(".changelog")], call.positions) for call in calls]
        return [{**one, **other} for one, other in zip(ends, await commit(self, producer, state), strict=True)]

    _replace(JointCommitter, _commit=broken)


def unfenced() -> None:
    """Take a random transactional id, no membership, no deadline of a commit, and the client's default timeout, as many guides have it.

    A stale owner is never fenced, and goes on with what it had begun; the next one does not wait for it with its state, which would hide that.
    """
    long_transaction()
    _replace(kafka_joint_committer, DEADLINE_SECONDS=60.0)
    _replace(kafka_admin, settled_ends=kafka_admin.last_stable_ends)
    transactions = KafkaBroker.transactions
    _replace(KafkaBroker, transactions=lambda self, transactional_id, _membership: transactions(self, f"{transactional_id}-{uuid.uuid4().hex}"))


def state_first() -> None:
    """Write the state to the local store before the transaction is committed."""
    changes = DedupState.changes

    def broken(self: DedupState) -> list[Output]:
        if self._store is not None:
            self._store.add(self._overlay, self._store.changelog_offset())
            self._store.flush()
        return changes(self)

    _replace(DedupState, changes=broken)


def unrestored() -> None:
    """Begin with an empty store after a hand-over, without reading the changelog."""

    async def broken(self: DedupState, *, resumed: bool) -> None:
        del resumed
        self._overlay.clear()
        self._store = self._open_store()
        self._store.clear()

    _replace(DedupState, restore=broken)


def unrewound() -> None:
    """Go on at the end of the partition after a failure, instead of rewinding to the committed offset."""

    def broken(committed: Position | None, bounds: tuple[int, int]) -> int:
        return bounds[0] if committed is None else bounds[1]

    _replace(step_worker, start_offset=broken)


def failure_ignored() -> None:
    """Commit although a batch was refused: only its future knows."""

    async def broken(self: JointCommitter, producer: TransactionalProducer, calls: Sequence[Call]) -> Sequence[Ends]:
        found: list[Ends] = []
        for call in calls:
            ends: dict[TopicPartition, int] = {}
            for partition, records in (await self._placement.placed(producer, call.outputs)).items():
                with suppress(BatchFailed):
                    ends |= await producer.produce([(partition, batch) for batch in batches_of(producer.create_batch, records)])
            found.append(ends)
        await self._send_offsets(producer, calls)
        await producer.commit()
        return found

    _replace(JointCommitter, _commit=broken)


def reused() -> None:
    """Keep a producer after a doubtful outcome, and go on with it."""

    async def keep(_self: JointCommitter) -> None:
        return

    _replace(JointCommitter, _discard=keep)


def wall_clock() -> None:
    """Let dedup go by the member's own clock instead of the broker's time."""
    seen = DedupState.seen
    _replace(DedupState, seen=lambda self, digest, _at_ms, *rest: seen(self, digest, time.time_ns() // 1_000_000, *rest))


def long_transaction() -> None:
    """Let a transaction be open for a minute, as the client's default has it."""
    _replace(kafka_joint_committer, TRANSACTION_TIMEOUT_MS=60_000)


def uncommitted_read() -> None:
    """Read what was aborted as well, as the client's default has it."""
    _replace(kafka_consumer, AIOKafkaConsumer=lambda **settings: AIOKafkaConsumer(**{**settings, "isolation_level": "read_uncommitted"}))


def foreign_skipped() -> None:
    """Pass over what is no message, without a word."""

    def broken(records: Sequence[Record], *arguments: Any, **options: Any) -> None:  # noqa: ANN401 (the product's)
        judge([record for record in records if (record.value or b"").startswith(b'{"')], *arguments, **options)

    _replace(step_worker, judge=broken)


def offsets_counted() -> None:
    """Take the distance of two offsets for the number of records between them."""

    def broken(tally: Tally, *, start: int, end: int, **options: Any) -> bytes:  # noqa: ANN401 (the product's)
        body = orjson.loads(ledger_value(tally, start=start, end=end, **options))
        return orjson.dumps({**body, "in": end - start})

    _replace(step_worker, ledger_value=broken)


def unbounded() -> None:
    """Take whatever the broker has, however much waits already."""
    put = Inbox.put

    def broken(self: Inbox, records: Sequence[Record]) -> bool:
        put(self, records)
        return False

    _replace(Inbox, put=broken)


def write_errors_swallowed() -> None:
    """Go on when the disk takes nothing, as if it had."""
    flush = SortedRunsStore._flush

    def broken(self: SortedRunsStore) -> None:
        with contextlib.suppress(OSError):
            flush(self)
        self._groups = [group for group in self._groups if group.segments]  # the one that was begun for what could not be written

    _replace(SortedRunsStore, _flush=broken)


def silently_reset() -> None:
    """Begin at the beginning where the topic is not the one that was worked on, and take it for the same."""

    def start(committed: Position | None, bounds: tuple[int, int]) -> int:
        return bounds[0] if committed is None or committed.offset > bounds[1] else max(committed.offset, bounds[0])

    _replace(step_worker, start_offset=start)
    _replace(partitions, topic_fault=lambda *_arguments, **_options: "", position_fault=lambda *_arguments: "")


def ids_anew() -> None:
    """Give a request another id each time that it is made."""
    _replace(translate_step, idempotency_id=lambda *_parts: uuid.uuid4().hex)


def topic_nameless() -> None:
    """Know a topic by its name only."""
    _replace(KafkaBroker, pinned=lambda *_arguments: "")


class _WithoutPositions:
    """Writes records and no positions.

    Args:
        inner: The product's.
    """

    def __init__(self, inner: Transactions) -> None:
        self._inner = inner

    async def commit(self, outputs: Sequence[Output], _positions: Positions, group: str) -> Committed:
        """Commit the records alone."""
        return await self._inner.commit(outputs, {}, group)


def progress_forgotten() -> None:
    """Commit how far a replay job is only at its end: killed, it begins anew."""
    commit = ReplayWorker._commit

    async def broken(self: ReplayWorker, judged: Judged, first: int, last: Record) -> None:
        whole = self._transactions
        if last.offset + 1 < self._end:
            self._transactions = _WithoutPositions(whole)  # type: ignore[assignment]  # commit is all that is called
        try:
            await commit(self, judged, first, last)
        finally:
            self._transactions = whole

    _replace(ReplayWorker, _commit=broken)


def deaf() -> None:
    """Take no notice of SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def answers_early() -> None:
    """Answer what is still to be stored."""
    give = Outbox.give

    def broken(self: Outbox, outputs: Sequence[Output], size: int, told: Callable[[bool], None]) -> None:
        asyncio.get_running_loop().call_later(10 * GAP_SECONDS, give, self, outputs, size, lambda _stored: None)
        told(True)  # noqa: FBT003 (as the outbox tells it)

    _replace(Outbox, give=broken)


def forgets_ids() -> None:
    """Take no message for a duplicate."""
    _replace(dedup_state, is_duplicate=lambda *_: False)


BROKEN: Final[Mapping[str, Callable[[], None]]] = {
    build.__name__: build
    for build in (
        offsets_first,
        outputs_first,
        unfenced,
        state_first,
        unrestored,
        unrewound,
        failure_ignored,
        reused,
        wall_clock,
        long_transaction,
        uncommitted_read,
        foreign_skipped,
        offsets_counted,
        unbounded,
        write_errors_swallowed,
        silently_reset,
        ids_anew,
        progress_forgotten,
        topic_nameless,
        deaf,
        answers_early,
        forgets_ids,
    )
}
"""Every broken build by its name."""
