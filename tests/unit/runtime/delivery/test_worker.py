"""Requests are sent, judged and committed: one worker, its lane, a broker and an HTTP client in memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from pipeline.deliver.progress import decode_finished
from pipeline.destinations.webhook import DESTINATION as WEBHOOK
from pipeline.model.record import Output, Record, TopicPartition
from pipeline.model.topics import RETRY_DELAYS
from pipeline.ports.broker import Committed, Position, Uncertain
from pipeline.ports.http import Answer, Request
from pipeline.runtime.brokers.memory import MemoryBroker, MemoryTransactions
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.delivery.entry import REPLAY, Entry, rank_of
from pipeline.runtime.delivery.lane import DeliveryLane, DeliverySettings, Patience, TokenBucket
from pipeline.runtime.delivery.worker import OPEN_BYTES, OPEN_MOST, DeliverWorker
from pipeline.runtime.http.memory import MemoryHttpClient, an_answer
from pipeline.runtime.inbox import Inbox
from pipeline.runtime.metrics.memory import MemoryMetrics

GROUP = "shop.deliver.crm"
LIVE = TopicPartition("shop.requests.crm", 0)
QUICK = Patience(probe_seconds=0.01, circuit_after=5, circuit_seconds=0.01, circuit_most_seconds=0.02)


def a_value(number: int) -> bytes:
    """Make the value of request r-<number>."""
    return orjson.dumps({"id": f"r-{number}", "method": "POST", "url": "https://tool.example/", "headers": {}, "body": {"n": number}})


def a_record(number: int, key: bytes | None = None, topic: str = LIVE.topic, **headers: bytes) -> Record:
    """Make the record of request r-<number> at that offset, with overrides only."""
    own = {"destination": b"crm", "message_id": b"m-%d" % number, "source": b"web", "type": b"track", "event": b"Tick", **headers}
    return Record(topic, 0, number, 0, key if key is not None else b"k-%d" % number, a_value(number), tuple(own.items()))


class Bench:
    """A destination with its broker, client and lane."""

    def __init__(self, answering: Callable[[Request], Any] = lambda _request: an_answer(), *, concurrency: int = 8, **settings: Any) -> None:  # noqa: ANN401 (settings of several types)
        self.broker = MemoryBroker()
        for name in ("requests.crm", "requests.crm.retry", "deliveries", "dead.deliver", "ledger", *(f"retry.{tier}" for tier in RETRY_DELAYS)):
            self.broker.create(f"shop.{name}", 1)
        self.client = MemoryHttpClient(answering)
        self.metrics = MemoryMetrics()
        self.settings = DeliverySettings("crm", WEBHOOK, concurrency=concurrency, **settings)
        self.lane = DeliveryLane(self.settings, clock=SystemClock(), metrics=self.metrics, patience=QUICK)

    def worker(self, partition: TopicPartition = LIVE, transactions: MemoryTransactions | None = None) -> DeliverWorker:
        """Make a worker of a partition."""
        return DeliverWorker(
            partition,
            lane=self.lane,
            transactions=transactions or self.broker.transactions(f"{GROUP}-{partition.topic}-0"),
            client=self.client,
            clock=SystemClock(),
            metrics=self.metrics,
            processor="deliver.crm",
            group=GROUP,
            prefix="shop",
            commit_interval_seconds=0.005,
        )

    @asynccontextmanager
    async def running(
        self, records: Sequence[Record], partition: TopicPartition = LIVE, transactions: MemoryTransactions | None = None
    ) -> AsyncIterator[Inbox]:
        """Run a worker over records, from the committed offset on; at the end its inbox is closed and it is awaited."""
        worker = self.worker(partition, transactions)

        async def committed() -> Position | None:
            return self.position(partition)

        offset = await worker.open(committed, (0, len(records)))
        inbox = Inbox(8_000_000, lambda: None)
        inbox.put([record for record in records if record.offset >= offset])
        task = asyncio.create_task(worker.run(inbox))
        try:
            yield inbox
        finally:
            inbox.close()
            try:
                await task
            finally:
                await worker.close()

    def position(self, partition: TopicPartition = LIVE) -> Position | None:
        """Give the committed position."""
        return self.broker.positions(GROUP).get(partition)

    def offset(self) -> int:
        """Give the committed offset, -1 for none."""
        position = self.position()
        return position.offset if position is not None else -1

    def written(self, name: str) -> list[Record]:
        """Give what was written to a topic."""
        return self.broker.log(f"shop.{name}")[0]

    def deliveries(self) -> list[dict[str, Any]]:
        """Give what was written down about attempts."""
        return [orjson.loads(record.value or b"") for record in self.written("deliveries")]

    def sent(self) -> list[int]:
        """Give the numbers of the requests in the order in which they were sent."""
        return [orjson.loads(request.body)["n"] for request in self.client.requests]


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds; fails after ten seconds."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 (what it waits for is not of our making)
            await asyncio.sleep(0.001)


def by_number(answers: Mapping[int, Answer]) -> Callable[[Request], Answer]:
    """Answer by the request's number; 200 for the rest."""
    return lambda request: answers.get(orjson.loads(request.body)["n"], an_answer())


async def test_delivered_and_committed() -> None:
    """Ten requests are sent once each, written down as delivered, counted, and the offset after the last is committed."""
    bench = Bench()
    async with bench.running([a_record(number) for number in range(10)]):
        await until(lambda: bench.offset() == 10)
    assert list(range(10)) == sorted(bench.sent())
    assert 10 == len(bench.deliveries())
    assert {
        "message_id": "m-0",
        "destination": "crm",
        "mapping": "",
        "source": "web",
        "event": "Tick",
        "type": "track",
        "attempt": 1,
        "status": 200,
        "error": "",
        "outcome": "delivered",
        "reason": "",
        "latency_ms": 1.0,
        "answer": "",
        "event_origin": "",
    } == {name: value for name, value in bench.deliveries()[0].items() if name != "at"}
    ledger = [orjson.loads(record.value or b"") for record in bench.written("ledger")]
    assert 10 == sum(one["passed"] for one in ledger) == sum(one["in"] for one in ledger)
    assert 10 == sum(one["statuses"]["200"] for one in ledger)
    assert [(0, 10)] == [(ledger[0]["from"], ledger[-1]["to"])]
    assert Position(10) == bench.position()
    assert 10 == bench.metrics.sums["headrace_deliveries_total", ("crm", "200")]


async def test_one_key_goes_one_after_another() -> None:
    """Requests of one key are sent in order, one at a time, while those of others go on."""
    gate = asyncio.Event()

    async def answering(request: Request) -> Answer:
        if orjson.loads(request.body)["n"] == 0:
            await gate.wait()
        return an_answer()

    bench = Bench(answering)
    async with bench.running([a_record(number, b"same" if number < 3 else b"other") for number in range(5)]):
        await until(lambda: bench.sent() == [0, 3, 4])
        gate.set()
        await until(lambda: bench.offset() == 5)
    assert [0, 3, 4, 1, 2] == bench.sent()


async def test_failures_wait_in_a_retry_topic() -> None:
    """A 503 is written to the ten-second tier with its headers, and the request counts as passed on."""
    bench = Bench(by_number({1: an_answer(503, b"busy")}))
    async with bench.running([a_record(number) for number in range(3)]):
        await until(lambda: bench.offset() == 3)
    (waiting,) = bench.written("retry.10s")
    headers = dict(waiting.headers)
    assert (b"crm/k-1", a_value(1), b"1") == (waiting.key, waiting.value, headers["attempt"])
    assert 10_000 <= int(headers["not_before"]) - int(headers["first_attempt"]) <= 12_000
    (attempt,) = [one for one in bench.deliveries() if one["message_id"] == "m-1"]
    assert ("retried", 503, "busy", 1) == (attempt["outcome"], attempt["status"], attempt["answer"], attempt["attempt"])


async def test_later_tries_wait_longer() -> None:
    """The third failure waits in the one-minute tier and keeps the time of the first try."""
    first = b"%d" % SystemClock().now_ms()
    bench = Bench(lambda _request: an_answer(0, error="timeout"))
    async with bench.running([a_record(0, attempt=b"2", first_attempt=first, not_before=b"1")]):
        await until(lambda: bench.offset() == 1)
    (waiting,) = bench.written("retry.1m")
    headers = dict(waiting.headers)
    assert (b"3", first) == (headers["attempt"], headers["first_attempt"])
    assert len(headers) == len(waiting.headers)


async def test_after_four_hours_it_is_dead() -> None:
    """A request whose first try is four hours old ends as retries_exhausted, whole, with its reason."""
    bench = Bench(lambda _request: an_answer(500))
    async with bench.running([a_record(0, attempt=b"20", first_attempt=b"1000")]):
        await until(lambda: bench.offset() == 1)
    (dead,) = bench.written("dead.deliver")
    headers = dict(dead.headers)
    assert (b"k-0", a_value(0)) == (dead.key, dead.value)
    assert (b"retries_exhausted", b"deliver", b"21") == (headers["dead_reason"], headers["dead_stage"], headers["dead_attempt"])


async def test_rejected_is_dead_at_once() -> None:
    """A 400 ends the request in dead letters, and nothing else is held up."""
    bench = Bench(by_number({0: an_answer(400, b"bad")}))
    async with bench.running([a_record(number) for number in range(3)]):
        await until(lambda: bench.offset() == 3)
    (dead,) = bench.written("dead.deliver")
    assert b"rejected" == dict(dead.headers)["dead_reason"]
    ledger = [orjson.loads(record.value or b"") for record in bench.written("ledger")]
    assert (2, 1) == (sum(one["passed"] for one in ledger), sum(one["dead"] for one in ledger))


async def test_what_is_no_request_is_dead() -> None:
    """A foreign record in the topic ends in dead letters and stops nothing."""
    bench = Bench()
    async with bench.running([a_record(0)._replace(value=b"hello"), a_record(1)._replace(value=None), a_record(2)]):
        await until(lambda: bench.offset() == 3)
    assert [b"crashed", b"crashed"] == [dict(dead.headers)["dead_reason"] for dead in bench.written("dead.deliver")]
    assert [2] == bench.sent()


async def test_parked_keeps_the_backlog_and_resumes_by_itself() -> None:
    """While the tool answers 401 nothing is lost, dead or in retry; once it answers 200 everything is delivered once."""
    locked = True
    bench = Bench(lambda _request: an_answer(401 if locked else 200), concurrency=2)
    async with bench.running([a_record(number) for number in range(50)]):
        await until(lambda: len(bench.sent()) >= 6)  # the first two, then probes
        assert "parked" == bench.lane.state
        assert 1 == bench.metrics.values["headrace_destination_parked", ("crm",)]
        assert 0 == max(bench.offset(), 0)
        assert set(bench.sent()) <= {0, 1}
        locked = False
        await until(lambda: bench.offset() == 50)
    assert 0 == bench.metrics.values["headrace_destination_parked", ("crm",)]
    delivered = [one["message_id"] for one in bench.deliveries() if one["outcome"] == "delivered"]
    assert sorted(f"m-{number}" for number in range(50)) == sorted(delivered)
    assert {("parked", "unauthorized"), ("delivered", "")} == {(one["outcome"], one["reason"]) for one in bench.deliveries()}
    assert [] == [*bench.written("dead.deliver"), *bench.written("retry.10s")]


async def test_probe_is_one_request_at_a_time() -> None:
    """A parked destination gets one request at a time."""
    under_way = 0
    most = 0

    async def answering(_request: Request) -> Answer:
        nonlocal under_way, most
        under_way += 1
        if bench.lane.state == "parked":
            most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return an_answer(403)

    bench = Bench(answering, concurrency=4)
    async with bench.running([a_record(number) for number in range(20)]):
        await until(lambda: len(bench.sent()) >= 12)
    assert 1 == most


async def test_circuit_keeps_a_dead_tool_out_of_retry() -> None:
    """After five network errors in a row the rest stays in its topic; when the tool is back everything arrives."""
    down = True
    bench = Bench(lambda _request: an_answer(0, error="connection_refused") if down else an_answer(), concurrency=1)
    async with bench.running([a_record(number) for number in range(30)]):
        await until(lambda: len(bench.sent()) >= 8)
        assert "broken" == bench.lane.state
        assert 4 == len(bench.written("retry.10s"))
        down = False
        await until(lambda: bench.offset() == 30)
    assert 4 == len(bench.written("retry.10s"))
    assert 26 == sum(one["outcome"] == "delivered" for one in bench.deliveries())
    assert {"circuit_open"} == {one["reason"] for one in bench.deliveries() if one["outcome"] == "parked"}


async def test_busy_does_not_open_the_circuit() -> None:
    """A tool that answers 429 is alive."""
    bench = Bench(lambda _request: an_answer(429), concurrency=1)
    async with bench.running([a_record(number) for number in range(12)]):
        await until(lambda: bench.offset() == 12)
    assert 12 == len(bench.written("retry.10s"))
    assert "open" == bench.lane.state


async def test_gone_sends_nothing_until_declared_anew() -> None:
    """410 disables; new settings give another chance, and the backlog is delivered."""
    gone = True
    bench = Bench(lambda _request: an_answer(410 if gone else 200), concurrency=1)
    async with bench.running([a_record(number) for number in range(5)]):
        await until(lambda: len(bench.written("deliveries")) == 1)
        assert ("disabled", [0]) == (bench.lane.state, bench.sent())
        gone = False
        bench.lane.update(bench.settings)
        await until(lambda: bench.offset() == 5)
    assert [0, 0, 1, 2, 3, 4] == bench.sent()


async def test_parked_by_command_until_it_is_resumed() -> None:
    """A person parks: what is under way ends, nothing more is sent and nobody probes, also after new settings; resumed, everything goes once."""
    bench = Bench(concurrency=2)
    async with bench.running([a_record(number) for number in range(3)]) as inbox:
        await until(lambda: bench.offset() == 3)
        bench.lane.command(parked=True, at_ms=100)
        bench.lane.update(bench.settings)
        bench.lane.command(parked=False, at_ms=99)  # older than what was obeyed
        inbox.put([a_record(number) for number in range(3, 30)])
        await until(lambda: len(inbox) == 0)
        await asyncio.sleep(3 * QUICK.probe_seconds)
        assert ("parked", "parked_by_command", [0, 1, 2]) == (bench.lane.state, bench.lane.reason, sorted(bench.sent()))
        assert (1, 27) == (bench.metrics.values["headrace_destination_parked", ("crm",)], bench.lane.unfinished)
        bench.lane.command(parked=False, at_ms=101)
        await until(lambda: bench.offset() == 30)
        assert 0 == bench.lane.unfinished
    assert list(range(30)) == sorted(bench.sent())
    assert ("open", "") == (bench.lane.state, bench.lane.reason)


async def test_what_is_under_way_when_a_person_parks_stays_if_it_fails() -> None:
    """A request whose answer is a 503, a 401 or a 410 comes back after the command is kept, and the command stands."""
    gate = asyncio.Event()
    answers = {0: 503, 1: 401, 2: 410, 3: 200}

    async def answering(request: Request) -> Answer:
        await gate.wait()
        return an_answer(answers.pop(orjson.loads(request.body)["n"], 200))

    bench = Bench(answering)
    async with bench.running([a_record(number) for number in range(4)]):
        await until(lambda: len(bench.sent()) == 4)
        bench.lane.command(parked=True, at_ms=1)
        gate.set()
        await until(lambda: len(bench.deliveries()) == 4)
        assert "parked_by_command" == bench.lane.reason
        bench.lane.command(parked=False, at_ms=2)
        await until(lambda: bench.offset() == 4)
    assert {"delivered": 4, "parked": 3} == Counter(one["outcome"] for one in bench.deliveries())


async def test_a_person_resumes_what_is_gone() -> None:
    """A destination that answered 410 gets another chance by command."""
    gone = True
    bench = Bench(lambda _request: an_answer(410 if gone else 200), concurrency=1)
    async with bench.running([a_record(0)]):
        await until(lambda: bench.lane.state == "disabled")
        gone = False
        bench.lane.command(parked=False, at_ms=1)
        await until(lambda: bench.offset() == 1)


async def test_missing_secret_ends_no_event() -> None:
    """Where a secret is missing nothing is sent and nothing dies; with the secret everything is delivered."""
    bench = Bench(concurrency=1)
    value = a_value(0).replace(b"tool.example/", b"tool.example/${secret:token}")
    async with bench.running([a_record(0)._replace(value=value)]):
        await until(lambda: len(bench.deliveries()) >= 1)
        assert (0, "missing_secret", "parked", "misconfigured") == tuple(
            bench.deliveries()[0][name] for name in ("status", "error", "outcome", "reason")
        )
        assert [] == bench.client.requests
        bench.lane.update(DeliverySettings("crm", WEBHOOK, {"token": "t0"}))
        await until(lambda: bench.offset() == 1)
    assert ["https://tool.example/t0"] == [request.url for request in bench.client.requests]


async def test_nothing_goes_out_unsigned_by_mistake() -> None:
    """Where a signing secret is declared but missing, requests wait instead of going out without a signature."""
    bench = Bench(missing=frozenset({"shared_secret"}))
    async with bench.running([a_record(0)]):
        await until(lambda: len(bench.deliveries()) >= 1)
    assert [] == bench.client.requests
    assert "misconfigured" == bench.deliveries()[0]["reason"]


async def test_secrets_are_masked_in_what_is_kept() -> None:
    """A tool that repeats a secret in its answer does not bring it into a topic."""
    bench = Bench(lambda _request: an_answer(400, b'{"error":"bad token hunter22"}'), secrets={"shared_secret": "hunter22"})
    async with bench.running([a_record(0)]):
        await until(lambda: bench.offset() == 1)
    assert '{"error":"bad token ***"}' == bench.deliveries()[0]["answer"]
    assert not [log for topic in bench.broker.topics() for log in bench.broker.log(topic) if b"hunter22" in repr(log).encode()]


async def test_restart_sends_only_what_was_under_way() -> None:
    """A worker that dies with one request stuck leaves word of the finished ones; the next sends the stuck one alone."""
    stuck = asyncio.Event()

    async def answering(request: Request) -> Answer:
        if orjson.loads(request.body)["n"] == 3 and not stuck.is_set():
            await asyncio.Event().wait()
        return an_answer()

    records = [a_record(number) for number in range(20)]
    bench = Bench(answering)
    worker = bench.worker()

    async def committed() -> Position | None:
        return bench.position()

    await worker.open(committed, (0, 20))
    inbox = Inbox(8_000_000, lambda: None)
    inbox.put(records)
    task = asyncio.create_task(worker.run(inbox))
    await until(lambda: len(bench.deliveries()) == 19)
    task.cancel()  # dies as a killed process does: nothing is finished or committed any more
    await asyncio.wait({task})
    await worker.close()
    position = bench.position()
    assert position is not None
    assert (3, [(4, 20)]) == (position.offset, [(span.start, span.stop) for span in decode_finished(3, position.metadata)])

    stuck.set()
    bench.client.requests.clear()
    async with bench.running(records):
        await until(lambda: bench.offset() == 20)
    assert [3] == bench.sent()
    assert 20 == len(bench.deliveries())
    assert Position(20) == bench.position()


async def test_at_most_a_thousand_are_open() -> None:
    """With the first request stuck no more than a thousand records are taken up."""
    gate = asyncio.Event()

    async def answering(request: Request) -> Answer:
        if orjson.loads(request.body)["n"] == 0:
            await gate.wait()
        return an_answer()

    bench = Bench(answering)
    async with bench.running([a_record(number) for number in range(OPEN_MOST + 500)]):
        await until(lambda: len(bench.deliveries()) == OPEN_MOST - 1)
        assert OPEN_MOST == len(bench.sent())
        gate.set()
        await until(lambda: bench.offset() == OPEN_MOST + 500)


async def test_retries_go_before_live_traffic() -> None:
    """What comes back from retry is sent before the live requests that wait."""
    gate = asyncio.Event()

    async def answering(_request: Request) -> Answer:
        await gate.wait()
        return an_answer()

    bench = Bench(answering, concurrency=1)
    again = TopicPartition("shop.requests.crm.retry", 0)
    async with bench.running([a_record(number) for number in range(5)]):
        await until(lambda: bench.sent() == [0])
        async with bench.running([a_record(77, topic=again.topic)], again):
            await until(lambda: len(bench.lane._queues[0]) == 1)
            gate.set()
            await until(lambda: bench.offset() == 5)
    assert [0, 77, 1, 2, 3, 4] == bench.sent()


async def test_no_more_at_once_than_declared() -> None:
    """Partitions of one destination share its concurrency."""

    async def answering(_request: Request) -> Answer:
        await asyncio.sleep(0)
        return an_answer()

    bench = Bench(answering, concurrency=3)
    again = TopicPartition("shop.requests.crm.retry", 0)
    async with bench.running([a_record(number) for number in range(100)]), bench.running([a_record(n, topic=again.topic) for n in range(100)], again):
        await until(lambda: len(bench.deliveries()) == 200)
    assert 3 == bench.client.most_at_once


async def test_hand_over_finishes_what_is_under_way() -> None:
    """When the partition is handed on, what is under way is finished and committed, and nothing new is begun."""
    gate = asyncio.Event()

    async def answering(_request: Request) -> Answer:
        await gate.wait()
        return an_answer()

    bench = Bench(answering, concurrency=2)
    async with bench.running([a_record(number, b"same" if number % 2 else b"k") for number in range(10)]) as inbox:
        await until(lambda: len(bench.sent()) == 2)
        inbox.put([a_record(10, b"third")])
        await until(lambda: len(bench.lane._queues[1]) == 1)
        inbox.close()
        await until(lambda: not bench.lane._queues[1])
        gate.set()
    assert [0, 1] == bench.sent()
    assert 2 == bench.offset()


class SlowTransactions(MemoryTransactions):
    """The first commit waits until the test lets it go on.

    Attributes:
        begun: Set once it waits.
        gate: Lets it go on.
    """

    def __init__(self, broker: MemoryBroker, transactional_id: str) -> None:
        super().__init__(broker, transactional_id)
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()

    async def commit(self, outputs: Sequence[Output], positions: Mapping[TopicPartition, Position], group: str) -> Committed:
        """Wait, then commit."""
        self.begun.set()
        await self.gate.wait()
        return await super().commit(outputs, positions, group)


async def test_what_ends_beside_the_last_commit_is_committed_too() -> None:
    """A request that is answered while a commit is under way is not sent again by the next owner, though the partition is handed on meanwhile."""
    bench = Bench()
    slow = SlowTransactions(bench.broker, "t")
    worker = bench.worker(transactions=slow)

    async def committed() -> None:
        return None

    await worker.open(committed, (0, 2))
    inbox = Inbox(8_000_000, lambda: None)
    inbox.put([a_record(0)])
    working = asyncio.create_task(worker.run(inbox))
    await asyncio.wait_for(slow.begun.wait(), 5)
    inbox.put([a_record(1)])
    await until(lambda: len(bench.sent()) == 2 and not worker.unfinished)
    inbox.close()
    await until(lambda: worker._stopping)
    slow.gate.set()
    await asyncio.wait_for(working, 5)
    await worker.close()
    assert 2 == bench.offset()
    assert 2 == len(bench.deliveries())


class DoubtfulTransactions(MemoryTransactions):
    """Commits end in doubt."""

    async def commit(self, outputs: Sequence[Output], positions: Mapping[TopicPartition, Position], group: str) -> Committed:
        """Raise."""
        reason = "no answer"
        raise Uncertain(reason)


async def test_doubtful_commit_ends_the_worker() -> None:
    """A commit whose outcome is unknown is raised to the host, which starts again from the committed offset."""
    bench = Bench()
    with pytest.raises(Uncertain):
        async with bench.running([a_record(0)], transactions=DoubtfulTransactions(bench.broker, "t")):
            await until(lambda: bench.metrics.sums["headrace_transactions_total", ("deliver.crm", "uncertain")] == 1)
    assert -1 == bench.offset()


async def test_bug_in_sending_ends_the_worker() -> None:
    """An exception of the client is a bug and is raised, never swallowed."""

    def answering(_request: Request) -> Answer:
        raise ZeroDivisionError

    bench = Bench(answering)
    with pytest.raises(ZeroDivisionError):
        async with bench.running([a_record(0)]):
            await until(lambda: len(bench.sent()) == 1)


def test_token_bucket() -> None:
    """Ten a second: one at once, then one every tenth of a second; a pause gives no more than that back."""
    fresh = TokenBucket(10)
    assert [0.0, 0.1, 0.2] == [round(fresh.reserve(5.0), 6) for _ in range(3)]
    assert 0.0 == fresh.reserve(100.0)
    assert 0.1 == round(fresh.reserve(100.0), 6)


async def test_what_waits_for_its_turn_stays_when_the_partition_goes() -> None:
    """A request held back by the rate is not sent after its worker has left: nobody would write down what became of it."""
    bench = Bench(rate=20)
    other = TopicPartition("shop.requests.crm.retry", 0)
    async with bench.running([], other) as inbox:
        async with bench.running([a_record(number) for number in range(6)]):
            await until(lambda: len(bench.sent()) > 0)
        written = bench.offset()
        inbox.put([a_record(0, topic=other.topic)._replace(value=a_value(9))])
        await until(lambda: 9 in bench.sent())
    assert written < 6
    assert len(bench.deliveries()) == len(bench.sent())


async def test_large_requests_open_fewer() -> None:
    """While a tool is away no more than some megabytes of its backlog are held, and once it is back everything goes."""
    free = asyncio.Event()

    async def answer(_request: Request) -> Answer:
        await free.wait()
        return an_answer()

    bench = Bench(answer)
    large = [a_record(number)._replace(value=a_value(number).replace(b'"n"', b'"x":"' + b"x" * 300_000 + b'","n"')) for number in range(40)]
    async with bench.running(large) as inbox:
        await until(lambda: len(inbox) < 40)
        for _ in range(200):
            await asyncio.sleep(0)
        assert 40 - len(inbox) <= OPEN_BYTES // 300_000 + 2  # the one that went over, and one that waits to enter
        free.set()
        await until(lambda: bench.offset() == 40)
    assert list(range(40)) == sorted(bench.sent())


async def test_a_replay_takes_what_live_traffic_leaves() -> None:
    """While live requests wait none of a job goes out, and never more than a quarter of the senders are a job's."""
    lane = DeliveryLane(DeliverySettings("crm", WEBHOOK, concurrency=8), clock=SystemClock(), metrics=MemoryMetrics())
    order: list[str] = []
    waiting = asyncio.Event()

    class Member:
        """Notes whose request goes out, and holds those of a job."""

        def __init__(self, topic: str) -> None:
            self.rank = rank_of(topic)
            self.topic = topic
            self.unfinished = 0

        async def attempt(self, entry: Entry) -> None:
            order.append(self.topic)
            if self.rank == REPLAY:
                await waiting.wait()

    job, live = Member("shop.requests.crm.replay"), Member("shop.requests.crm")
    for member, count in ((job, 5), (live, 20)):
        for number in range(count):
            lane.put(Entry(a_record(number), member))
    lane.join(live)
    lane.join(job)
    await until(lambda: len(order) == 22)
    assert ["shop.requests.crm"] * 20 + ["shop.requests.crm.replay"] * 2 == order
    lane.put(Entry(a_record(20), live))
    await until(lambda: order[-1] == "shop.requests.crm")
    waiting.set()
    await until(lambda: len(order) == 26)
    lane.leave(job)
    lane.leave(live)
