"""Works on one partition of a replay job: reads its range, judges it with today's configuration, and writes requests and rows, exactly once."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Final

from pipeline.model import headers as names
from pipeline.model.ledger import ledger_key, ledger_value
from pipeline.model.record import Output, Record, TopicPartition
from pipeline.model.topics import topic_name
from pipeline.ports.broker import Position, Transactions
from pipeline.ports.clock import Clock
from pipeline.ports.metrics import Metrics
from pipeline.replay.board import group_of
from pipeline.replay.jobs import Job
from pipeline.runtime.breaker import Breaker
from pipeline.runtime.counting import count_committed, count_transaction
from pipeline.runtime.expiry import expired_ranges, pass_over
from pipeline.runtime.inbox import Inbox, InboxClosedError
from pipeline.runtime.judgement import Judged, Plan, judge
from pipeline.runtime.partition_worker import ReadCommitted
from pipeline.runtime.progress import Standing
from pipeline.runtime.step_worker import Plans

METRIC: Final = "replay"
"""What the metrics call the processor: jobs are many, labels are few."""
SLICE_BYTES: Final = 128 * 1024
SLICE_MOST: Final = 500
"""Most records of one transaction."""
LOOK_SECONDS: Final = 0.5
"""Longest wait before it looks whether the partition is handed on."""
_VERSION_DIGITS: Final = 12


class ReplayWorker:
    """Reads one partition of a job's range, so many events a second.

    Args:
        partition: The input partition.
        job: The job.
        prefix: The workspace's name.
        transactions: What this partition commits with, not started.
        plans: The job's steps by version of the configuration.
        clock: Time.
        metrics: Counts.
    """

    def __init__(
        self, partition: TopicPartition, *, job: Job, prefix: str, transactions: Transactions, plans: Plans, clock: Clock, metrics: Metrics
    ) -> None:
        self._partition = partition
        self._job = job
        self._prefix = prefix
        self._processor = group_of(job.id)
        self._group = topic_name(prefix, self._processor)
        self._transactions = transactions
        self._plans = plans
        self._clock = clock
        self._metrics = metrics
        self._breaker = Breaker(self._processor)
        self._share = job.rate / max(1, sum(end > start for start, end in job.spans.values()))
        self._first, self._end = job.spans.get(partition.partition, (0, 0))
        self._place = self._first

    async def open(self, read_committed: ReadCommitted, bounds: tuple[int, int]) -> int:
        """Fence a stale owner, and read how far it came; what retention took of the range is passed over."""
        await self._transactions.start()
        committed = await read_committed()
        at = self._first if committed is None else committed.offset
        self._place = max(at, min(bounds[0], self._end))
        await pass_over(
            list(expired_ranges(at, self._place)),
            Position(self._place),
            partition=self._partition,
            processor=self._processor,
            prefix=self._prefix,
            transactions=self._transactions,
            metrics=self._metrics,
            at_ms=self._clock.now_ms(),
            label=METRIC,
        )
        return max(self._place, bounds[0])

    async def run(self, inbox: Inbox) -> None:
        """Work until the range has come to its end, then hold the partition until the inbox is closed."""
        while self._place < self._end:
            try:
                records = await inbox.take(SLICE_BYTES, None)
            except InboxClosedError:
                return
            records = [record for record in records if record.offset < self._end]
            most = min(SLICE_MOST, math.ceil(self._share))
            for at in range(0, len(records), most):
                if inbox.closed:
                    return
                await self._transaction(records[at : at + most], inbox)
        while not inbox.closed:  # noqa: ASYNC110 (what lies behind the range is not taken, and the inbox bounds what comes of it)
            await asyncio.sleep(LOOK_SECONDS)

    async def _transaction(self, records: Sequence[Record], inbox: Inbox) -> None:
        started = self._clock.monotonic()
        judged = Judged()
        plan = await self._plan_for(records)
        judge(records, plan, judged, at_ms=self._clock.now_ms())
        self._breaker.note(plan.version, judged)
        await self._commit(judged, records[0].offset, records[-1])
        count_transaction(self._metrics, METRIC, judged.tally, records[-1], self._clock.now_ms())
        await self._pace(started + judged.tally.totals()["passed"] / self._share, inbox)

    async def _plan_for(self, records: Sequence[Record]) -> Plan:
        plan = self._plans.current()
        newest = plan.version
        if plan.trusted:
            for record in records:
                for name, value in record.headers:
                    if name == names.CONFIG and value and len(value) < _VERSION_DIGITS and value.isdigit():
                        newest = max(newest, int(value))
        return plan if newest == plan.version else await self._plans.at_least(newest)

    async def _commit(self, judged: Judged, first: int, last: Record) -> None:
        end, number, topic = last.offset + 1, self._partition.partition, self._job.input
        value = ledger_value(judged.tally, processor=self._processor, topic=topic, partition=number, start=first, end=end, at_ms=self._clock.now_ms())
        judged.outputs.append(Output(topic_name(self._prefix, "ledger"), ledger_key(self._processor, topic, number), value))
        committed = await self._transactions.commit(judged.outputs, {self._partition: Position(end)}, self._group)
        self._place = end
        count_committed(self._metrics, METRIC, committed)

    async def _pace(self, until: float, inbox: Inbox) -> None:
        while (left := until - self._clock.monotonic()) > 0 and not inbox.closed:
            await self._clock.sleep(min(left, LOOK_SECONDS))

    def standing(self) -> Standing:
        """Say how far it is; behind its range there is nothing to do, and a slow rate is meant."""
        return Standing(self._place, waits_for="its rate, or the end of the job")

    async def close(self) -> None:
        """Abort what is open; never raises."""
        await self._transactions.stop()
