"""Works on one partition of `retry.<delay>`: holds requests until they are due, then gives them back to their destination."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from pipeline.deliver.deliveries import request_key
from pipeline.deliver.schedule import due_in_tier_ms, tier_for
from pipeline.model import headers as names
from pipeline.model.headers import number_in
from pipeline.model.ledger import Row, Tally, ledger_key, ledger_value
from pipeline.model.record import Headers, Output, Record, TopicPartition
from pipeline.model.topics import topic_name
from pipeline.ports.broker import Position, Transactions
from pipeline.ports.clock import Clock
from pipeline.ports.metrics import Metrics
from pipeline.runtime.counting import count_committed, count_transaction
from pipeline.runtime.dead_letters import dead_letter
from pipeline.runtime.expiry import expired_ranges, pass_over
from pipeline.runtime.inbox import Inbox, InboxClosedError
from pipeline.runtime.partition_worker import ReadCommitted, start_offset
from pipeline.runtime.progress import Standing

TAKE_BYTES: Final = 1024 * 1024
LOOK_SECONDS: Final = 1.0
"""Longest wait before it looks whether the partition is handed on."""


class RetryWorker:
    """Moves what is due, in the order of the topic. A tier has one delay, so the head of a partition is the next one due.

    Args:
        partition: Partition of `retry.<delay>`.
        tier: Name of the tier (`10s`).
        transactions: What this partition commits with, not started.
        clock: Time.
        metrics: Counts.
        processor: Consumer group without prefix, for ledger and metrics.
        group: Consumer group with prefix.
        prefix: The workspace's name.
        is_destination: Says whether a destination is declared, and so has a topic; what is for none goes to dead letters.
        at_least: Waits until a version of the configuration is in force: no record is judged by an older one than the one that made it.
        time_scale: What the tier's delay is multiplied by; the same as for deliver.
    """

    def __init__(  # noqa: PLR0913 (ports are passed one by one)
        self,
        partition: TopicPartition,
        *,
        tier: str,
        transactions: Transactions,
        clock: Clock,
        metrics: Metrics,
        processor: str,
        group: str,
        prefix: str,
        is_destination: Callable[[str], bool],
        at_least: Callable[[int], Awaitable[object]],
        time_scale: float = 1.0,
    ) -> None:
        self._partition = partition
        self._tier = tier
        self._transactions = transactions
        self._clock = clock
        self._metrics = metrics
        self._processor = processor
        self._group = group
        self._prefix = prefix
        self._is_destination = is_destination
        self._at_least = at_least
        self._time_scale = time_scale
        self._input = partition.topic.removeprefix(f"{prefix}.")
        self._done = -1
        self._waits_for = ""

    async def open(self, read_committed: ReadCommitted, bounds: tuple[int, int]) -> int:
        """Fence a stale owner and read where to start."""
        await self._transactions.start()
        committed = await read_committed()
        offset = start_offset(committed, bounds)
        if committed is not None:
            await pass_over(
                list(expired_ranges(committed.offset, offset)),
                Position(offset),
                partition=self._partition,
                processor=self._processor,
                prefix=self._prefix,
                transactions=self._transactions,
                metrics=self._metrics,
                at_ms=self._clock.now_ms(),
            )
        self._done = offset
        return offset

    def standing(self) -> Standing:
        """Say how far it is; a delay and a version of the configuration are waited for on purpose."""
        return Standing(self._done, self._waits_for)

    async def run(self, inbox: Inbox) -> None:
        """Move records until the inbox is closed; what is not due then stays in the topic."""
        held: deque[tuple[int, Record]] = deque()
        while True:
            if not held:
                try:
                    records = await inbox.take(TAKE_BYTES, None)
                except InboxClosedError:
                    return
                held.extend((self._due_ms(record), record) for record in records)
            if inbox.closed:
                return
            now = self._clock.now_ms()
            due: list[Record] = []
            while held and held[0][0] <= now:
                due.append(held.popleft()[1])
            if due:
                await self._move(due, now)
            elif held:
                self._waits_for = "a delay"
                await self._clock.sleep(min((held[0][0] - now) / 1000, LOOK_SECONDS))
                self._waits_for = ""

    async def close(self) -> None:
        """Abort what is open; never raises."""
        await self._transactions.stop()

    def _due_ms(self, record: Record) -> int:
        not_before = number_in(dict(record.headers), names.NOT_BEFORE, 0)
        return due_in_tier_ms(tier=self._tier, appended_ms=record.timestamp, not_before_ms=not_before, time_scale=self._time_scale)

    async def _move(self, due: list[Record], now: int) -> None:
        self._waits_for = "a version of the configuration"
        await self._at_least(max(number_in(dict(record.headers), names.CONFIG, 0) for record in due))
        self._waits_for = ""
        tally = Tally()
        outputs = [self._output(record, now, tally) for record in due]
        start, end = due[0].offset, due[-1].offset + 1
        number = self._partition.partition
        value = ledger_value(tally, processor=self._processor, topic=self._input, partition=number, start=start, end=end, at_ms=now)
        outputs.append(Output(topic_name(self._prefix, "ledger"), ledger_key(self._processor, self._input, number), value))
        committed = await self._transactions.commit(outputs, {self._partition: Position(end)}, self._group)
        self._done = end
        count_committed(self._metrics, self._processor, committed)
        count_transaction(self._metrics, self._processor, tally, due[-1], self._clock.now_ms())

    def _output(self, record: Record, now: int, tally: Tally) -> Output:
        headers: Headers = dict(record.headers)
        destination = headers.get(names.DESTINATION, b"").decode("utf-8", "replace")
        gone = not self._is_destination(destination)
        source, event_type, event = (headers.get(name, b"").decode("utf-8", "replace") for name in (names.SOURCE, names.TYPE, names.EVENT))
        reason = "destination_disabled" if gone else ""
        tally.rows[Row(source, event_type, event, "dead" if gone else "passed", reason, destination)] += 1
        replayed = names.REPLAY in headers
        left = number_in(headers, names.NOT_BEFORE, 0) - now
        tally.lanes["dead" if gone else "replay" if replayed and left <= 0 else "requests"] += 1
        if gone:
            return dead_letter(
                record,
                topic=topic_name(self._prefix, "dead.deliver"),
                stage="retry",
                reason=reason,
                detail="no such destination is declared",
                config=number_in(headers, names.CONFIG, 0),
                at_ms=now,
                destination=destination,
            )
        if left > 0:  # a wait longer than the tier: it goes on in the tier that fits the rest
            return Output(topic_name(self._prefix, f"retry.{tier_for(round(left / self._time_scale))}"), record.key, record.value, record.headers)
        due = f"requests.{destination}.{'replay' if replayed else 'retry'}"
        return Output(topic_name(self._prefix, due), request_key(record.key), record.value, record.headers)
