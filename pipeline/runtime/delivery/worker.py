"""Works on one partition of `requests.<destination>`: sends, judges, and commits what became of each request."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import Final

from pipeline.deliver.answers import redacted_answer
from pipeline.deliver.deliveries import AttemptOutcome
from pipeline.deliver.progress import decode_finished, encode_finished, moved_on
from pipeline.deliver.sending import read_item
from pipeline.deliver.verdicts import MISSING_SECRET, Delivered, Retry, Verdict, classify
from pipeline.model import headers as names
from pipeline.model.headers import number_in
from pipeline.model.ledger import ledger_key, ledger_value
from pipeline.model.outcomes import Dead
from pipeline.model.record import Headers, Output, Record, TopicPartition
from pipeline.ports.broker import Blocked, BrokerError, Position, RecordRefused, Transactions
from pipeline.ports.clock import Clock
from pipeline.ports.http import Answer, HttpClient
from pipeline.ports.metrics import Metrics
from pipeline.runtime.cadence import DELIVER_SHARE, rest_after, until_beat
from pipeline.runtime.delivery.anew import renew
from pipeline.runtime.delivery.entry import Entry, rank_of
from pipeline.runtime.delivery.lane import DeliveryLane
from pipeline.runtime.delivery.order import HeldTopic, KeyOrder
from pipeline.runtime.delivery.request import request_of
from pipeline.runtime.delivery.written import DeliveryTopics, Written
from pipeline.runtime.expiry import expired_ranges, pass_over
from pipeline.runtime.inbox import Inbox, InboxClosedError
from pipeline.runtime.partition_worker import ReadCommitted, start_offset
from pipeline.runtime.progress import Standing
from pipeline.runtime.translated_anew import Renewal

OPEN_MOST: Final = 1_000
"""Most records beyond the committed offset, so that what is finished of them fits into the offset's metadata."""
OPEN_BYTES: Final = 4 * 1024 * 1024
"""Bytes of those records above which no more are taken, however few they are."""
TAKE_BYTES: Final = 256 * 1024
DRAIN_SECONDS: Final = 3.0
"""Longest wait for requests under way when the partition is handed on; what is not finished then is sent again."""
LOOK_SECONDS: Final = 0.5


class DeliverWorker:
    """Sends the requests of one partition through its destination's lane, those of one key one after another.

    Args:
        partition: Partition of `requests.<destination>` or `requests.<destination>.retry`.
        lane: The destination's lane, shared by its partitions.
        transactions: What this partition commits with, not started.
        client: HTTP client, shared.
        clock: Time.
        metrics: Counts.
        processor: Consumer group without prefix, for ledger and metrics.
        group: Consumer group with prefix.
        prefix: The workspace's name.
        held: What the destination's workers hold for order by user; None for a partition whose requests are never held.
        commit_interval_seconds: Longest time between two transactions under load.
        time_scale: What retry delays and the retry window are multiplied by; below 1 in tests and demonstrations.
    """

    def __init__(  # noqa: PLR0913 (ports are passed one by one)
        self,
        partition: TopicPartition,
        *,
        lane: DeliveryLane,
        transactions: Transactions,
        client: HttpClient,
        clock: Clock,
        metrics: Metrics,
        processor: str,
        group: str,
        prefix: str,
        held: HeldTopic | None = None,
        commit_interval_seconds: float = 0.1,
        time_scale: float = 1.0,
    ) -> None:
        self.rank = rank_of(partition.topic)
        self._partition = partition
        self._lane = lane
        self._transactions = transactions
        self._client = client
        self._clock = clock
        self._metrics = metrics
        self._processor = processor
        self._group = group
        self._prefix = prefix
        self._topics = DeliveryTopics.under(prefix, lane.settings.destination)
        self._destination = lane.settings.destination
        self._input = partition.topic.removeprefix(f"{prefix}.")
        self._interval = commit_interval_seconds
        self._window: deque[Entry] = deque()
        self._window_bytes = 0
        self._held = held
        self._order = KeyOrder(lane.put, self, self._waived)
        self._finished_before: tuple[range, ...] = ()
        self._unfinished = 0
        self._under_way = 0
        self._new_written = partial(Written, self._topics, self._destination, partition.partition, time_scale)
        self._written = self._new_written()
        self._next_offset = 0
        self._committed = 0
        self._opened = False
        self._closed = False
        self._draining = False
        self._stopping = False
        self._changed = asyncio.Event()
        self._quiet = asyncio.Event()
        self._landed = asyncio.Event()
        self._room = asyncio.Event()
        self._held_changed = asyncio.Event()
        self._renewing = asyncio.Lock()
        self._failure: asyncio.Future[None] | None = None

    async def open(self, read_committed: ReadCommitted, bounds: tuple[int, int]) -> int:
        """Fence a stale owner, read where to start and what beyond it is finished already."""
        await self._transactions.start()
        committed = await read_committed()
        offset = start_offset(committed, bounds)
        if committed is not None:
            await self._resume(committed, offset)
        self._next_offset = self._committed = offset
        if self._held is not None:
            self._order.restore(await self._held.read(self._partition, ordered=self._lane.settings.ordered), self, offset)
        self._opened = True
        return offset

    async def _resume(self, committed: Position, offset: int) -> None:
        finished = self._finished_before = decode_finished(committed.offset, committed.metadata)
        await pass_over(
            list(expired_ranges(committed.offset, offset, finished)),
            Position(offset, moved_on(finished, offset)),
            partition=self._partition,
            processor=self._processor,
            prefix=self._prefix,
            transactions=self._transactions,
            metrics=self._metrics,
            at_ms=self._clock.now_ms(),
        )

    @property
    def _ordered(self) -> bool:
        return self._held is not None and self._lane.settings.ordered

    @property
    def unfinished(self) -> int:
        """How many of its requests it has taken up and not finished."""
        return self._unfinished

    def standing(self) -> Standing:
        """Say how far it is; a tool that is away, slow, or asked more seldom than requests come, is waited for on purpose."""
        waits = "room among the requests that are held in order" if self._order.full else self._lane.busy if self._unfinished else ""
        return Standing(self._committed if self._opened else -1, waits)

    async def run(self, inbox: Inbox) -> None:
        """Send until the inbox is closed; then wait, not for long, for what is under way, and commit."""
        self._failure = asyncio.get_running_loop().create_future()
        self._lane.join(self)
        reading = asyncio.create_task(self._read(inbox))
        committing = asyncio.create_task(self._commit_regularly())
        holding = asyncio.create_task(self._release_regularly())
        try:
            await asyncio.wait({reading, committing, holding, self._failure}, return_when=asyncio.FIRST_COMPLETED)
            for ended in (self._failure, committing, holding, reading):
                if ended.done():
                    ended.result()
            await self._drain()
            self._stopping = True
            self._changed.set()
            await committing
        finally:
            self._leave()
            for task in (reading, committing, holding, self._failure):
                task.cancel()

    async def _drain(self) -> None:
        self._draining = True
        self._lane.withdraw(self)
        deadline = self._clock.monotonic() + DRAIN_SECONDS
        while self._under_way and (left := deadline - self._clock.monotonic()) > 0:
            self._landed.clear()
            await self._wait(self._landed, left)

    async def close(self) -> None:
        """Let go of what is under way and abort what is open; never raises."""
        self._leave()
        await self._transactions.stop()

    def _leave(self) -> None:
        if not self._closed:
            self._lane.count_held(-self._order.held)
        self._closed = True
        self._lane.leave(self)

    async def _wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait for an event, at most so long by the clock; says whether it came."""
        tasks = {asyncio.create_task(event.wait()), asyncio.ensure_future(self._clock.sleep(seconds))}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        return event.is_set()

    async def _read(self, inbox: Inbox) -> None:
        while True:
            try:
                records = await inbox.take(TAKE_BYTES, None)
            except InboxClosedError:
                return
            for record in records:
                while len(self._window) >= OPEN_MOST or self._window_bytes >= OPEN_BYTES or self._order.full:
                    self._room.clear()
                    if not await self._wait(self._room, LOOK_SECONDS) and inbox.closed:
                        return
                self._enter(record)

    def _enter(self, record: Record) -> None:
        self._next_offset = record.offset + 1
        self._window_bytes += len(record.value or b"")
        if self._order.come_by(record.offset):
            self._window.append(Entry(record, self, finished=True))
            self._held_changed.set()
            self._changed.set()
            return
        if self._finished_before:
            if any(record.offset in span for span in self._finished_before):
                self._window.append(Entry(record, self, finished=True))
                self._changed.set()
                return
            if record.offset >= self._finished_before[-1].stop:
                self._finished_before = ()
        entry = Entry(record, self)
        self._window.append(entry)
        self._unfinished += 1
        self._quiet.clear()
        if record.key is None:
            self._lane.put(entry)
        else:
            self._order.enter(entry, record.key, ordered=self._ordered)

    def _waived(self) -> None:
        self._metrics.add("headrace_order_waived_total", 1, destination=self._destination)

    def hold(self, entry: Entry) -> None:
        """Write a request that waits to the held topic; from then on the window goes on without it."""
        # What waits for another one has its four hours from now on: else a user who fails for long would wait for each in turn.
        entry.first_attempt_ms = entry.first_attempt_ms or self._clock.now_ms()
        if not entry.held:
            self._lane.count_held(1)
            self._left(entry)
        self._written.hold(entry)
        self._changed.set()

    async def _release_regularly(self) -> None:
        self._lane.count_held(self._order.held)
        while True:
            self._held_changed.clear()
            self._order.release_due(now := self._clock.now_ms())
            wait = self._order.wait_ms(now)
            if wait is None:
                await self._held_changed.wait()
            else:
                await self._wait(self._held_changed, wait / 1000)

    async def attempt(self, entry: Entry) -> None:
        """Send one request and note the outcome; a bug ends the worker, not the sender."""
        if self._draining or self._closed:
            return  # a sender that waited for its turn holds what is no longer ours: the next owner sends it
        self._under_way += 1
        try:
            await self._attempt(entry)
        except Exception as error:  # noqa: BLE001 (passed on to the worker's own task, which raises it)
            if self._failure is not None and not self._failure.done():
                self._failure.set_exception(error)
        finally:
            self._under_way -= 1
            self._landed.set()

    async def _attempt(self, entry: Entry) -> None:
        renewal = self._lane.renewal
        fault = await self._renew(entry, renewal) if renewal is not None and renewal.means(entry.record) else ""
        if self._draining or self._closed:
            return  # while its event was read
        headers: Headers = dict(entry.record.headers)
        started = self._clock.now_ms()
        if not entry.first_attempt_ms:
            entry.first_attempt_ms = number_in(headers, names.FIRST_ATTEMPT, started)
            entry.failures = number_in(headers, names.ATTEMPT, 0)
        if fault:
            self._note(entry, headers, Answer(0, {}, b"", "untranslated", 0.0), Dead("mapping_failed", fault))
            return
        try:
            item = read_item(entry.record.value or b"")
        except ValueError as error:
            self._note(entry, headers, Answer(0, {}, b"", "unreadable", 0.0), Dead("crashed", str(error)))
            return
        request = request_of(item, self._lane.settings, started)
        answer = await self._client.send(request) if request is not None else Answer(0, {}, b"", MISSING_SECRET, 0.0)
        if not self._closed:
            self._note(entry, headers, answer, classify(answer.status, answer.headers, answer.error, self._clock.now_ms()))

    async def _renew(self, entry: Entry, renewal: Renewal) -> str:
        """Put what translating it anew gives in a request's place; says why there is nothing to send, where that is so."""
        async with self._renewing:
            anew = await renew(entry, self._window, renewal, self._metrics, self._destination)
        entry.record = anew.record
        return anew.why

    def _note(self, entry: Entry, headers: Headers, answer: Answer, verdict: Verdict) -> None:
        now = self._clock.now_ms()
        attempt = entry.failures + 1
        if not isinstance(verdict, Delivered):
            entry.failures = attempt
        kept = self._lane.keeps(entry, verdict)
        if kept:
            outcome: AttemptOutcome = "parked"
            reason = kept
            if not self._draining:
                self._lane.put_back(entry)
        elif isinstance(verdict, Retry) and self._ordered and entry.record.key is not None:
            outcome, reason = self._hold_back(entry, headers, verdict, now)
        else:
            outcome, reason = self._written.end(entry, headers, verdict, now)
            self._finish(entry)
        text = redacted_answer(answer.body, self._lane.masks)
        self._written.attempt(headers, answer, outcome=outcome, reason=reason, attempt=attempt, at_ms=now, answer_text=text)
        self._changed.set()

    def _hold_back(self, entry: Entry, headers: Headers, verdict: Retry, now: int) -> tuple[AttemptOutcome, str]:
        later = self._written.next_try(entry, headers, verdict, now)
        if isinstance(later, Dead):
            outcome = self._written.end(entry, headers, later, now)
            self._finish(entry)
            return outcome
        entry.not_before_ms = later.not_before_ms
        self._order.failed(entry)
        self._held_changed.set()
        return "retried", ""

    def _finish(self, entry: Entry) -> None:
        if entry.held:
            self._written.release(entry)
            self._lane.count_held(-1)
            self._room.set()
        else:
            self._left(entry)
        following = self._order.finish(entry)
        if following is not None and not self._draining:
            self._lane.put(following)

    def _left(self, entry: Entry) -> None:
        """Note that the window goes on without a request."""
        entry.finished = True
        self._unfinished -= 1
        if not self._unfinished:
            self._quiet.set()

    async def _commit_regularly(self) -> None:
        gathered = False
        while True:
            await self._changed.wait()
            if self._unfinished and not self._stopping and not gathered:
                await self._wait(self._quiet, self._interval)
            self._changed.clear()
            stopping = self._stopping  # what ends beside the last commit but one needs one more
            began = self._clock.monotonic()
            await self._commit()
            if stopping:
                return
            if not self._stopping:
                now = self._clock.monotonic()
                least = rest_after(now - began, share=DELIVER_SHARE, most=self._interval / 2)
                await self._clock.sleep(until_beat(now, least, interval=self._interval, name=self._group))
            gathered = self._changed.is_set()

    async def _commit(self) -> None:
        window = self._window
        while window and window[0].finished:
            self._window_bytes -= window.popleft().size
        offset = window[0].record.offset if window else self._next_offset
        written, self._written = self._written, self._new_written()
        if not written.outputs and offset == self._committed:
            return
        metadata = encode_finished(offset, ((entry.record.offset, entry.finished) for entry in window))
        number = self._partition.partition
        at, start = self._clock.now_ms(), self._committed
        ledger = ledger_value(written.tally, processor=self._processor, topic=self._input, partition=number, start=start, end=offset, at_ms=at)
        written.outputs.append(Output(self._topics.ledger, ledger_key(self._processor, self._input, number), ledger))
        started = self._clock.monotonic()
        try:
            committed = await self._transactions.commit(written.outputs, {self._partition: Position(offset, metadata)}, self._group)
        except BrokerError as error:
            if not error.joined:
                self._metrics.add("headrace_transactions_total", 1, processor=self._processor, outcome=type(error).__name__.lower())
            if isinstance(error, RecordRefused):  # what deliver writes is no larger than what it reads: a topic's limit was lowered
                raise Blocked(str(error)) from error
            raise
        self._committed = offset
        self._room.set()
        written.count(self._metrics, self._processor, committed, seconds=self._clock.monotonic() - started, now_ms=self._clock.now_ms())
