"""Works on one partition of a processor made of steps: take, judge, commit, all in Kafka transactions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final, Protocol

from pipeline.model import headers as names
from pipeline.model.ledger import ledger_key, ledger_value
from pipeline.model.record import Output, Record, TopicPartition
from pipeline.model.topics import topic_name
from pipeline.ports.broker import Blocked, BrokerError, Fenced, Position, RecordRefused, Transactions, Uncertain
from pipeline.ports.clock import Clock
from pipeline.ports.metrics import Metrics
from pipeline.runtime.breaker import Breaker
from pipeline.runtime.cadence import STEPS_REST_SECONDS, STEPS_SHARE, is_due, rest_after
from pipeline.runtime.counting import count_committed, count_transaction
from pipeline.runtime.expiry import expired_ranges, pass_over
from pipeline.runtime.inbox import Inbox, InboxClosedError
from pipeline.runtime.judgement import Judged, Plan, judge
from pipeline.runtime.partition_worker import ReadCommitted, start_offset
from pipeline.runtime.progress import Standing
from pipeline.runtime.suspicion import Suspicion

_log = logging.getLogger(__name__)

SLICE_BYTES: Final = 64 * 1024
"""Input judged between two turns of the loop, so that heartbeats are never starved."""
PATIENCE_SECONDS: Final = 5.0
"""Longest wait for a version that a record names which the pipeline did not write itself."""
VERSION_DIGITS: Final = 12


class PartitionState(Protocol):
    """State of one partition whose changes are part of the transaction.

    Attributes:
        restored: Records of the changelog that `restore` has read.
    """

    restored: int

    async def restore(self, *, resumed: bool) -> None:
        """Catch up with the changelog; called after fencing.

        Args:
            resumed: Whether the group has worked on the input before.
        """
        ...

    def changes(self) -> list[Output]:
        """Give the changelog records of what the open transaction changed."""
        ...

    def committed(self, ends: Mapping[TopicPartition, int]) -> None:
        """Make the changes lasting; called after the commit with the offset after each partition's last record."""
        ...

    def close(self) -> None:
        """Let go of what was not committed and release the store."""
        ...


class Plans(Protocol):
    """Gives the steps for the newest configuration."""

    def current(self) -> Plan:
        """Give the newest plan that is ready."""
        ...

    async def at_least(self, version: int) -> Plan:
        """Wait until a version is known, and give the plan."""
        ...


class StepWorker:
    """Takes records of one partition, judges them and commits, transaction by transaction.

    Args:
        partition: The input partition.
        processor: Consumer group without prefix, for ledger and metrics.
        group: Consumer group with prefix.
        prefix: The workspace's name.
        transactions: What this partition commits with, not started.
        plans: Steps by version of the configuration, bound to this partition's state.
        state: State of this partition, or None.
        clock: Time.
        metrics: Counts.
        suspicion: What is known of refused outputs of this partition; shared by its workers, one after the other.
        commit_interval_seconds: Longest time that a transaction stays open without a backlog.
    """

    def __init__(  # noqa: PLR0913 (ports are passed one by one)
        self,
        partition: TopicPartition,
        *,
        processor: str,
        group: str,
        prefix: str,
        transactions: Transactions,
        plans: Plans,
        state: PartitionState | None,
        clock: Clock,
        metrics: Metrics,
        suspicion: Suspicion | None = None,
        commit_interval_seconds: float = 0.1,
    ) -> None:
        self._partition = partition
        self._processor = processor
        self._group = group
        self._prefix = prefix
        self._transactions = transactions
        self._plans = plans
        self._state = state
        self._clock = clock
        self._metrics = metrics
        self._suspicion = suspicion or Suspicion()
        self._rest: list[Record] = []
        self._interval = commit_interval_seconds
        self._ledger_topic = topic_name(prefix, "ledger")
        self._breaker = Breaker(processor)
        self._deceived_at = -1
        self._done = -1
        self._waits_for = ""
        self._rests_until = 0.0

    def standing(self) -> Standing:
        """Say how far it is; what it waits for on purpose is a version of the configuration."""
        return Standing(self._done, self._waits_for, self._state.restored if self._state is not None else 0)

    async def open(self, read_committed: ReadCommitted, bounds: tuple[int, int]) -> int:
        """Fence a stale owner, read where to start, restore state."""
        await self._plans.at_least(0)
        await self._transactions.start()
        committed = await read_committed()
        offset = start_offset(committed, bounds)
        if committed is not None:
            await pass_over(
                list(expired_ranges(committed.offset, offset)),
                Position(offset, committed.metadata),
                partition=self._partition,
                processor=self._processor,
                prefix=self._prefix,
                transactions=self._transactions,
                metrics=self._metrics,
                at_ms=self._clock.now_ms(),
            )
        self._breaker.restore(committed.metadata if committed is not None else "")
        if self._state is not None:
            await self._state.restore(resumed=committed is not None)
        self._done = offset
        return offset

    async def run(self, inbox: Inbox) -> None:
        """Work until the inbox is closed."""
        while True:
            try:
                records = self._rest or await inbox.take(SLICE_BYTES, None)
            except InboxClosedError:
                return
            if inbox.closed:
                return
            if records:
                await self._transaction(records, inbox)

    async def _transaction(self, records: list[Record], inbox: Inbox) -> None:
        started = self._clock.monotonic()
        judged = Judged(throttle=self._breaker.throttle)
        first = records[0].offset
        most = self._suspicion.most(first)
        records, self._rest = records[:most], records[most:] if most is not None else []
        count = 0
        while True:
            plan = await self._plan_for(records)
            judge(records, plan, judged, at_ms=self._clock.now_ms(), refused=self._suspicion.guilty)
            last = records[-1]
            count += len(records)
            if most is not None or self._is_due(judged, inbox, started):
                break
            await asyncio.sleep(0)
            try:
                records = await inbox.take(SLICE_BYTES, max(0.0, self._rests_until - self._clock.monotonic()))
            except InboxClosedError:
                break  # what was judged until now is committed
            if not records:
                break
        self._note(plan.version, judged)
        try:
            await self._commit(judged, first, last)
        except RecordRefused as error:
            # The host opens the partition anew at the committed offset; what is known of the refusal makes the next transactions smaller.
            if not self._suspicion.refused(first, last.offset + 1, count, str(error), spared=judged.spared):
                raise Blocked(f"not even a dead letter is taken: {error}") from error
            raise
        self._suspicion.committed(last.offset + 1)
        self._metrics.observe("headrace_transaction_seconds", self._clock.monotonic() - started, processor=self._processor)
        count_transaction(self._metrics, self._processor, judged.tally, last, self._clock.now_ms())

    def _is_due(self, judged: Judged, inbox: Inbox, started: float) -> bool:
        now = self._clock.monotonic()
        rest = 0.0 if inbox.closed else self._rests_until - now
        return is_due(waiting_bytes=inbox.size, written_bytes=judged.bytes, elapsed=now - started, interval=self._interval, rest=rest)

    def _note(self, version: int, judged: Judged) -> None:
        if judged.crashes:
            _log.error("%s: %d records crashed; with the first, %s.", self._processor, len(judged.crashes), judged.crashes[0].what)
        throttle = self._breaker.throttle
        before = set(throttle.sources)
        self._breaker.note(version, judged)
        for source in before.symmetric_difference(throttle.sources):
            there = source in throttle.sources
            self._metrics.set("headrace_source_throttled", int(there), processor=self._processor, source=source)
            what = "is throttled, because most of its records crashed: they go to dead letters unjudged" if there else "is judged again"
            _log.warning("%s: source %s %s (%s-%d).", self._processor, source, what, *self._partition)

    async def _plan_for(self, records: list[Record]) -> Plan:
        plan = self._plans.current()
        newest = plan.version
        for given in {value for record in records for name, value in record.headers if name == names.CONFIG}:
            if given and len(given) < VERSION_DIGITS and given.isdigit():
                newest = max(newest, int(given))
        if plan.version in (newest, self._deceived_at):
            return plan
        self._waits_for = f"version {newest} of the configuration"
        try:
            return await self._wait_for(plan, newest)
        finally:
            self._waits_for = ""

    async def _wait_for(self, plan: Plan, newest: int) -> Plan:
        if plan.trusted:
            return await self._plans.at_least(newest)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await self._plans.at_least(newest)
        except TimeoutError:
            # Anyone may write there: a header from the future costs one wait, until there is a newer version to believe in.
            self._deceived_at = plan.version
            return plan

    async def _commit(self, judged: Judged, first: int, last: Record) -> None:
        end = last.offset + 1
        outputs = judged.outputs
        if self._state is not None:
            outputs.extend(self._state.changes())
        topic = self._partition.topic.removeprefix(f"{self._prefix}.")
        number = self._partition.partition
        value = ledger_value(judged.tally, processor=self._processor, topic=topic, partition=number, start=first, end=end, at_ms=self._clock.now_ms())
        outputs.append(Output(self._ledger_topic, ledger_key(self._processor, topic, number), value))
        began = self._clock.monotonic()
        try:
            committed = await self._transactions.commit(outputs, {self._partition: Position(end, self._breaker.remembered())}, self._group)
        except BrokerError as error:
            if not error.joined:
                self._metrics.add("headrace_transactions_total", 1, processor=self._processor, outcome=_outcome(error))
            raise
        self._done = end
        ended = self._clock.monotonic()
        self._rests_until = ended + rest_after(ended - began, share=STEPS_SHARE, most=STEPS_REST_SECONDS)
        count_committed(self._metrics, self._processor, committed)
        if self._state is not None:
            self._state.committed(committed.ends)

    async def close(self) -> None:
        """Abort what is open and release state; never raises."""
        if self._state is not None:
            self._state.close()  # first: what comes next may be cut short, and a store left open could never be opened again
        await self._transactions.stop()


def _outcome(error: BrokerError) -> str:
    if isinstance(error, Fenced):
        return "fenced"
    if isinstance(error, RecordRefused):
        return "refused"
    if isinstance(error, Blocked):
        return "blocked"
    return "uncertain" if isinstance(error, Uncertain) else "failed"
