"""Order by user: what fails holds back its user's later requests, through retries, restarts and overflow; others go on."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.deliver.holding import CHAIN_MOST, waiting
from pipeline.destinations.webhook import DESTINATION as WEBHOOK
from pipeline.model.record import Record, TopicPartition
from pipeline.model.topics import RETRY_DELAYS
from pipeline.ports.broker import Position
from pipeline.ports.http import Answer, Request
from pipeline.runtime.brokers.memory import MemoryBroker
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.delivery.lane import DeliveryLane, DeliverySettings
from pipeline.runtime.delivery.order import HeldTopic
from pipeline.runtime.delivery.worker import OPEN_MOST, DeliverWorker
from pipeline.runtime.http.memory import MemoryHttpClient, an_answer
from pipeline.runtime.inbox import Inbox
from pipeline.runtime.metrics.memory import MemoryMetrics

LIVE = TopicPartition("shop.requests.crm", 0)
GROUP = "shop.deliver.crm"


def a_record(number: int, user: str) -> Record:
    """Make the record of request <number> of a user."""
    body = {"n": number, "user": user}
    value = orjson.dumps({"id": f"r-{number}", "method": "POST", "url": "https://tool.example/", "headers": {}, "body": body})
    return Record(LIVE.topic, 0, number, 0, user.encode(), value, (("destination", b"crm"), ("message_id", b"m-%d" % number)))


class Tool:
    """Answers each request with its script of statuses, then 200."""

    def __init__(self, scripts: dict[int, list[int]] | None = None) -> None:
        self.scripts = scripts or {}
        self.accepted: dict[str, list[int]] = defaultdict(list)
        self.sent: list[int] = []

    async def answer(self, request: Request) -> Answer:
        """Answer."""
        body = orjson.loads(request.body)
        self.sent.append(body["n"])
        await asyncio.sleep(0)
        script = self.scripts.get(body["n"])
        status = script.pop(0) if script else 200
        if status == 200:
            self.accepted[body["user"]].append(body["n"])
        return an_answer(status)


class Bench:
    """A destination that keeps the order of users, with retries in thousandths of their time."""

    def __init__(self, tool: Tool, *, ordered: bool = True, time_scale: float = 0.0001) -> None:
        self.broker = MemoryBroker()
        for name in ("requests.crm", "requests.crm.held", "deliveries", "dead.deliver", "ledger", *(f"retry.{tier}" for tier in RETRY_DELAYS)):
            self.broker.create(f"shop.{name}", 1)
        self.client = MemoryHttpClient(tool.answer)
        self.metrics = MemoryMetrics()
        self.ordered = ordered
        self.time_scale = time_scale
        self.lane = DeliveryLane(self.settings(), clock=SystemClock(), metrics=self.metrics)

    def settings(self) -> DeliverySettings:
        """Give the destination."""
        return DeliverySettings("crm", WEBHOOK, concurrency=8, ordered=self.ordered)

    @asynccontextmanager
    async def running(self, records: Sequence[Record], *, killed: bool = False) -> AsyncIterator[asyncio.Task[None]]:
        """Run a worker from the committed offset on; at the end it hands over, or dies as a killed process does."""
        lane = DeliveryLane(self.settings(), clock=SystemClock(), metrics=self.metrics)
        worker = DeliverWorker(
            LIVE,
            lane=lane,
            transactions=self.broker.transactions(f"{GROUP}-0"),
            client=self.client,
            clock=SystemClock(),
            metrics=self.metrics,
            processor="deliver.crm",
            group=GROUP,
            prefix="shop",
            held=HeldTopic(self.broker, LIVE.topic),
            commit_interval_seconds=0.002,
            time_scale=self.time_scale,
        )

        async def committed() -> Position | None:
            return self.broker.positions(GROUP).get(LIVE)

        offset = await worker.open(committed, (0, len(records)))
        inbox = Inbox(64_000_000, lambda: None)
        inbox.put([record for record in records if record.offset >= offset])
        task = asyncio.create_task(worker.run(inbox))
        try:
            yield task
        finally:
            if killed:
                task.cancel()
                await asyncio.wait({task})
            else:
                inbox.close()
                await task
            await worker.close()

    def held(self) -> list[int]:
        """Give the numbers of the requests that wait in the held topic."""
        return [record.offset for record in waiting(self.broker.log("shop.requests.crm.held")[0], topic=LIVE.topic)]

    def offset(self) -> int:
        """Give the committed offset, 0 for none."""
        return self.broker.positions(GROUP).get(LIVE, Position(0)).offset


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds; fails after twenty seconds."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 (what it waits for is not of our making)
            await asyncio.sleep(0.001)


async def test_a_failing_user_waits_and_others_go_on() -> None:
    """While ada's first request is tried again, her others wait in the held topic and bob's are delivered; the offset moves on."""
    tool = Tool({0: [500, 500, 500]})
    bench = Bench(tool, time_scale=0.01)
    records = [a_record(number, "ada" if number % 2 == 0 else "bob") for number in range(10)]
    async with bench.running(records):
        await until(lambda: bench.offset() == 10)
        assert ([], [1, 3, 5, 7, 9]) == (tool.accepted["ada"], tool.accepted["bob"])
        assert [0, 2, 4, 6, 8] == bench.held()
        assert 5 == bench.metrics.values["headrace_held_requests", ("crm",)]
        await until(lambda: len(tool.accepted["ada"]) == 5 and not bench.held())
    assert [0, 2, 4, 6, 8] == tool.accepted["ada"]
    assert 13 == len(tool.sent)
    assert 0 == bench.metrics.values["headrace_held_requests", ("crm",)]
    ledger = [orjson.loads(record.value or b"") for record in bench.broker.log("shop.ledger")[0]]
    assert (10, 10) == (sum(one["in"] for one in ledger), sum(one["passed"] for one in ledger))
    assert [] == bench.broker.log("shop.retry.10s")[0]


async def test_what_waits_survives_a_restart() -> None:
    """A new owner takes up what waits, tries and first time among it, and sends nothing of the user before the failed one."""
    tool = Tool({0: [500, 503]})
    bench = Bench(tool, time_scale=0.05)
    records = [a_record(number, "ada") for number in range(4)]
    async with bench.running(records, killed=True):
        await until(lambda: bench.held() == [0, 1, 2, 3])
    bench.time_scale = 0.0001
    async with bench.running(records):
        await until(lambda: len(tool.accepted["ada"]) == 4 and not bench.held())
    assert [0, 0, 0, 1, 2, 3] == tool.sent
    attempts = [orjson.loads(record.value or b"")["attempt"] for record in bench.broker.log("shop.deliveries")[0]]
    assert [1, 2, 3, 1, 1, 1] == attempts


async def test_what_is_refused_for_good_lets_the_next_go() -> None:
    """A 400 after a 500 ends the first in dead letters, counted beside its own verdict; the next of the user is sent."""
    tool = Tool({0: [500, 400]})
    bench = Bench(tool)
    async with bench.running([a_record(number, "ada") for number in range(3)]):
        await until(lambda: tool.accepted["ada"] == [1, 2] and not bench.held())
    assert [b"m-0"] == [dict(one.headers)["message_id"] for one in bench.broker.log("shop.dead.deliver")[0]]
    rows = [row for one in bench.broker.log("shop.ledger")[0] for row in orjson.loads(one.value or b"")["rows"]]
    assert [["withheld", "rejected"]] == [row[3:5] for row in rows if row[4]]


async def test_a_busy_user_leaves_the_window_to_others() -> None:
    """A user with three thousand requests is sent one after another, in order; one who comes behind all of them is served at once."""
    tool = Tool()
    ada_before_bob = 0

    async def answering(request: Request) -> Answer:
        nonlocal ada_before_bob
        if orjson.loads(request.body)["user"] == "bob":
            ada_before_bob = len(tool.accepted["ada"])
        return await tool.answer(request)

    bench = Bench(tool)
    bench.client.answering = answering
    records = [*(a_record(number, "ada") for number in range(3 * OPEN_MOST)), a_record(3 * OPEN_MOST, "bob")]
    async with bench.running(records):
        await until(lambda: len(tool.accepted["ada"]) == 3 * OPEN_MOST and not bench.held())
    assert list(range(3 * OPEN_MOST)) == tool.accepted["ada"]
    assert ada_before_bob < OPEN_MOST  # in one window all but a thousand would have gone before


async def test_without_order_by_user_a_busy_key_waits_no_longer() -> None:
    """Where nobody asked for it, a key with a hundred waiting gives up its order, is counted, and others go on."""
    gate = asyncio.Event()
    tool = Tool()

    async def answering(request: Request) -> Answer:
        if orjson.loads(request.body)["n"] == 0:
            await gate.wait()
        return await tool.answer(request)

    bench = Bench(tool, ordered=False)
    bench.client.answering = answering
    records = [a_record(number, "ada") for number in range(OPEN_MOST - 1)]
    records.append(a_record(len(records), "bob"))
    async with bench.running(records):
        await until(lambda: bool(tool.accepted["bob"]) and len(tool.sent) == OPEN_MOST - 1 - CHAIN_MOST)
        gate.set()
        await until(lambda: bench.offset() == OPEN_MOST)
    assert OPEN_MOST - 2 - CHAIN_MOST == bench.metrics.sums["headrace_order_waived_total", ("crm",)]
    assert [] == bench.held()


async def test_a_full_partition_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """When as many wait as may, the partition waits: order goes before flow, and nothing is given up."""
    monkeypatch.setattr("pipeline.runtime.delivery.order.HELD_MOST", 50)
    tool = Tool({0: [500] * 1000})
    bench = Bench(tool, time_scale=0.001)
    records = [a_record(number, "ada") for number in range(300)]
    async with bench.running(records):
        await until(lambda: len(tool.sent) > 4)
        assert bench.held() == list(range(bench.offset()))
        assert 50 <= bench.offset() <= 50 + CHAIN_MOST  # what one key had in the window is held as well
        tool.scripts.clear()
        await until(lambda: len(tool.accepted["ada"]) == 300)
    assert list(range(300)) == tool.accepted["ada"]


async def test_what_waits_is_sent_when_order_is_no_longer_asked_for() -> None:
    """A destination that gave up `order: user` still delivers what its workers held."""
    tool = Tool({0: [500] * 1000})
    bench = Bench(tool, time_scale=0.01)
    records = [a_record(number, "ada") for number in range(3)]
    async with bench.running(records):
        await until(lambda: len(bench.held()) == 3)
    tool.scripts.clear()
    bench.ordered = False
    bench.time_scale = 0.0001
    async with bench.running(records):
        await until(lambda: tool.accepted["ada"] == [0, 1, 2] and not bench.held())


@settings(max_examples=25, deadline=None)
@given(
    users=st.lists(st.sampled_from(["ada", "bob", "cy"]), min_size=1, max_size=30),
    failing=st.dictionaries(st.integers(0, 29), st.lists(st.sampled_from([500, 503, 429, 0]), min_size=1, max_size=3), max_size=8),
    kills=st.lists(st.integers(1, 20), max_size=3),
)
def test_first_successes_ascend(users: list[str], failing: dict[int, list[int]], kills: list[int]) -> None:
    """Whatever fails, and wherever the owner dies: each user's first successes ascend, all arrive, and none that was committed comes again."""

    async def run() -> None:
        tool = Tool({number: list(script) for number, script in failing.items()})
        bench = Bench(tool, time_scale=0.00002)
        records = [a_record(number, user) for number, user in enumerate(users)]
        for sent in kills:
            wanted = len(tool.sent) + sent
            async with bench.running(records, killed=True):
                await until(lambda: len(tool.sent) >= wanted or bench.offset() == len(records))  # noqa: B023 (called before the next turn)
        async with bench.running(records):
            await until(lambda: bench.offset() == len(records) and not bench.held())
        for user in set(users):
            first = list(dict.fromkeys(tool.accepted[user]))
            assert [number for number, one in enumerate(users) if one == user] == first
        delivered = [one["message_id"] for one in map(_value, bench.broker.log("shop.deliveries")[0]) if one["outcome"] == "delivered"]
        assert len(delivered) == len(set(delivered)) == len(users)

    asyncio.run(run())


def _value(record: Record) -> dict[str, str]:
    return dict(orjson.loads(record.value or b""))
