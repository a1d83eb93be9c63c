"""What the next transaction of a deliver worker writes: attempts, retries, dead letters, and their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import NamedTuple

from pipeline.deliver.deliveries import AttemptOutcome, delivery_value, retry_record, with_attempts
from pipeline.deliver.holding import held_key
from pipeline.deliver.schedule import Later, jitter_of, next_try
from pipeline.deliver.verdicts import Retry, Verdict
from pipeline.model import headers as names
from pipeline.model.headers import number_in
from pipeline.model.ledger import Row, Tally
from pipeline.model.ledger import Verdict as LedgerVerdict
from pipeline.model.outcomes import Dead
from pipeline.model.record import Headers, Output, Record
from pipeline.model.topics import HELD, RETRY_DELAYS, topic_name
from pipeline.ports.broker import Committed
from pipeline.ports.http import Answer
from pipeline.ports.metrics import Metrics
from pipeline.runtime.counting import count_committed, count_transaction
from pipeline.runtime.dead_letters import dead_letter
from pipeline.runtime.delivery.entry import Entry


class DeliveryTopics(NamedTuple):
    """The topics that deliver writes to, with prefix.

    Attributes:
        deliveries: A record for each attempt.
        retry: The retry topics by tier.
        held: Requests that wait for an earlier one of their user.
        dead: Requests that no retry can help.
        ledger: What each transaction did.
    """

    deliveries: str
    retry: Mapping[str, str]
    held: str
    dead: str
    ledger: str

    @classmethod
    def under(cls, prefix: str, destination: str) -> DeliveryTopics:
        """Give the topics of a destination.

        Args:
            prefix: The workspace's name.
            destination: Destination id.

        Returns:
            Their full names.
        """
        return cls(
            topic_name(prefix, "deliveries"),
            {tier: topic_name(prefix, f"retry.{tier}") for tier in RETRY_DELAYS},
            topic_name(prefix, HELD.replace("{destination}", destination)),
            topic_name(prefix, "dead.deliver"),
            topic_name(prefix, "ledger"),
        )


class Written:
    """Gathers what one transaction writes.

    Args:
        topics: Where it goes.
        destination: Destination id.
        partition: Number of the partition whose requests are sent.
        time_scale: What retry delays and the retry window are multiplied by.

    Attributes:
        outputs: Records in order.
        tally: Their numbers.
        latencies: How long each attempt took, in seconds.
        last: The last request that ended, or None.
    """

    def __init__(self, topics: DeliveryTopics, destination: str, partition: int, time_scale: float) -> None:
        self._topics = topics
        self._destination = destination
        self._partition = partition
        self._time_scale = time_scale
        self.outputs: list[Output] = []
        self.tally = Tally()
        self.latencies: list[float] = []
        self.last: Record | None = None

    def attempt(self, headers: Headers, answer: Answer, *, outcome: AttemptOutcome, reason: str, attempt: int, at_ms: int, answer_text: str) -> None:
        """Write down an attempt.

        Args:
            headers: Headers of the request's record.
            answer: What came back.
            outcome: How the attempt ended.
            reason: Registered reason, or empty.
            attempt: Number of the attempt, from 1.
            at_ms: When it ended, milliseconds since the epoch.
            answer_text: The first of the answer's body, redacted.
        """
        value = delivery_value(headers, answer, outcome=outcome, reason=reason, attempt=attempt, at_ms=at_ms, answer_text=answer_text)
        # Beside its request, not by its key: a transaction costs the broker as much as it touches partitions.
        self.outputs.append(Output(self._topics.deliveries, headers.get(names.MESSAGE_ID), value, (), self._partition))
        self.tally.lanes["deliveries"] += 1
        self.tally.attempt(answer.status, answer.latency_ms)
        self.latencies.append(answer.latency_ms / 1000)

    def end(self, entry: Entry, headers: Headers, verdict: Verdict, now_ms: int) -> tuple[AttemptOutcome, str]:
        """Write what ends a request: nothing more, a retry or a dead letter.

        Args:
            entry: The request; its failures include this attempt.
            headers: Headers of its record.
            verdict: What the answer means: delivered, retry or dead.
            now_ms: Wall time in milliseconds since the epoch.

        Returns:
            How the attempt ended, and the registered reason or an empty one.
        """
        outcome: AttemptOutcome = "delivered"
        reason = ""
        if isinstance(verdict, Retry):
            outcome = "retried"
            verdict = self._retry(entry, headers, verdict, now_ms) or verdict
        if isinstance(verdict, Dead):
            outcome, reason = "dead", verdict.reason
            self._dead(entry, headers, verdict, now_ms)
        if not entry.held:
            self.tally.rows[_row(headers, self._destination, "dead" if reason else "passed", reason)] += 1
            self.last = entry.record
        elif reason:  # it was counted as passed on when it was held
            self.tally.rows[_row(headers, self._destination, "withheld", reason)] += 1
        return outcome, reason

    def hold(self, entry: Entry) -> None:
        """Write a request that waits, or what has changed about it, to the held topic."""
        record = entry.record
        headers = with_attempts(record.headers, failures=entry.failures, first_attempt_ms=entry.first_attempt_ms, not_before_ms=entry.not_before_ms)
        self.outputs.append(Output(self._topics.held, held_key(record), record.value, headers, self._partition))
        if not entry.held:
            self.tally.rows[_row(dict(record.headers), self._destination, "passed", "")] += 1
            self.tally.lanes["held"] += 1
            self.last = record

    def release(self, entry: Entry) -> None:
        """Take a request that has ended out of the held topic."""
        self.outputs.append(Output(self._topics.held, held_key(entry.record), None, (), self._partition))

    def count(self, metrics: Metrics, processor: str, committed: Committed, *, seconds: float, now_ms: int) -> None:
        """Count it, once it is committed.

        Args:
            metrics: Where it is counted.
            processor: Consumer group without prefix.
            committed: What was committed.
            seconds: How long the commit took.
            now_ms: Wall time in milliseconds since the epoch.
        """
        count_committed(metrics, processor, committed)
        metrics.observe("headrace_transaction_seconds", seconds, processor=processor)
        for status, count in self.tally.statuses.items():
            metrics.add("headrace_deliveries_total", count, destination=self._destination, status=str(status))
        metrics.observe("headrace_delivery_seconds", *self.latencies, destination=self._destination)
        if self.last is not None:
            count_transaction(metrics, processor, self.tally, self.last, now_ms)

    def next_try(self, entry: Entry, headers: Headers, verdict: Retry, now_ms: int) -> Later | Dead:
        """Decide when a request that failed is tried again.

        Args:
            entry: The request; its failures include this attempt.
            headers: Headers of its record.
            verdict: What the answer means.
            now_ms: Wall time in milliseconds since the epoch.

        Returns:
            The next try, or Dead where it would lie beyond the window.
        """
        return next_try(
            failures=entry.failures,
            after_ms=verdict.after_ms,
            first_attempt_ms=entry.first_attempt_ms,
            now_ms=now_ms,
            jitter=jitter_of(headers.get(names.MESSAGE_ID, b""), entry.failures),
            time_scale=self._time_scale,
        )

    def _retry(self, entry: Entry, headers: Headers, verdict: Retry, now_ms: int) -> Dead | None:
        later = self.next_try(entry, headers, verdict, now_ms)
        if isinstance(later, Dead):
            return later
        record = entry.record
        key, all_headers = retry_record(
            record.key,
            record.headers,
            destination=self._destination,
            failures=entry.failures,
            first_attempt_ms=entry.first_attempt_ms,
            not_before_ms=later.not_before_ms,
        )
        self.outputs.append(Output(self._topics.retry[later.tier], key, record.value, all_headers))
        self.tally.lanes["retry"] += 1
        return None

    def _dead(self, entry: Entry, headers: Headers, ended: Dead, now_ms: int) -> None:
        own = tuple(pair for pair in entry.record.headers if pair[0] != names.ATTEMPT)
        record = entry.record._replace(headers=(*own, (names.ATTEMPT, b"%d" % entry.failures)))
        config = number_in(headers, names.CONFIG, 0)
        self.outputs.append(
            dead_letter(
                record,
                topic=self._topics.dead,
                stage="deliver",
                reason=ended.reason,
                detail=ended.detail,
                config=config,
                at_ms=now_ms,
                destination=self._destination,
            )
        )
        self.tally.lanes["dead"] += 1


def _row(headers: Headers, destination: str, verdict: LedgerVerdict, reason: str) -> Row:
    get = headers.get
    return _a_row(get(names.SOURCE, b""), get(names.TYPE, b""), get(names.EVENT, b""), destination, verdict, reason)


@lru_cache(maxsize=512)  # a source may give events names of 32 KB
def _a_row(source: bytes, event_type: bytes, event: bytes, destination: str, verdict: LedgerVerdict, reason: str) -> Row:
    text = partial(bytes.decode, encoding="utf-8", errors="replace")
    return Row(text(source), text(event_type), text(event), verdict, reason, destination)
