"""Tools that fail, lie, stall and vanish, on a real Kafka: order holds, others go on, memory and time stay bounded, nothing is lost."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import psutil
import pytest

from pipeline.deliver.schedule import JITTER
from pipeline.model.record import Output
from pipeline.model.topics import RETRY_DELAYS, declared_topics
from pipeline.runtime.brokers.kafka import KafkaBroker
from tests.conftest import Kafka
from tests.faults import hostile_tool as hostile
from tests.faults.hostile_tool import HostileTool

pytestmark = [pytest.mark.faults, pytest.mark.integration]

TOOLS = int(os.environ.get("HEADRACE_FAULT_TOOLS", "24"))
"""How many destinations one process serves in the isolation test."""


class Trial:
    """Destinations on a real broker, a tool, and processes that deliver.

    Args:
        kafka: The broker.
        prefix: Prefix of the trial's topics.
        tool: The tool.
        destinations: Settings by id, as `tests.faults.deliver_member` takes them.
        scale: What retry delays are multiplied by.
        broken: Name of a broken build, or empty.
        circuit_after: Failures in a row that open the circuit.
    """

    def __init__(
        self,
        kafka: Kafka,
        prefix: str,
        tool: HostileTool,
        destinations: Mapping[str, dict[str, Any]],
        *,
        scale: float = 0.01,
        broken: str = "",
        circuit_after: int = 20,
    ) -> None:
        self.broker = KafkaBroker(kafka.bootstrap)
        self.prefix = prefix
        self.tool = tool
        self.destinations = destinations
        told = {"scale": scale, "destinations": destinations, "broken": broken, "circuit_after": circuit_after}
        self._arguments = kafka.bootstrap, prefix, orjson.dumps(told).decode()

    async def prepare(self, partitions: int = 1) -> None:
        """Create the topics."""
        ordered = [name for name, declared in self.destinations.items() if declared.get("ordered")]
        topics = declared_topics(self.prefix, destinations=self.destinations, dedup_processors=[], ordered=ordered, partitions=partitions)
        used = ("requests.", "retry.", "deliveries", "dead.deliver", "ledger")
        await self.broker.admin().create([one for one in topics if one.name.removeprefix(f"{self.prefix}.").startswith(used)])

    @asynccontextmanager
    async def member(self) -> AsyncIterator[psutil.Process]:
        """Run a member; at the end it is killed."""
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.faults.deliver_member", *self._arguments)
        try:
            yield psutil.Process(process.pid)
        finally:
            process.kill()
            await process.wait()

    async def send(self, requests: Sequence[tuple[str, str, str]], **more: Any) -> None:  # noqa: ANN401 (any JSON value)
        """Write requests: destination, id and user."""
        producer = self.broker.producer()
        await producer.start()
        await producer.send([self._request(*one, **more) for one in requests])
        await producer.stop()

    def _request(self, destination: str, ident: str, user: str, **more: Any) -> Output:  # noqa: ANN401 (any JSON value)
        value = {
            "id": ident,
            "method": "POST",
            "url": self.tool.url(f"/{destination}"),
            "headers": {},
            "body": {"id": ident, "user": user, "sent": time.monotonic(), **more},
        }
        headers = (("destination", destination.encode()), ("message_id", ident.encode()), ("source", b"web"), ("type", b"track"))
        return Output(f"{self.prefix}.requests.{destination}", user.encode(), orjson.dumps(value), headers)

    async def written(self, name: str) -> list[tuple[dict[str, bytes], dict[str, Any]]]:
        """Read headers and value of all records of a topic."""
        found = []
        async for records in self.broker.reader().read(f"{self.prefix}.{name}"):
            found += [(dict(record.headers), orjson.loads(record.value or b"{}")) for record in records]
        return found

    async def attempts(self) -> list[dict[str, Any]]:
        """Read what was written down about attempts."""
        return [value for _, value in await self.written("deliveries")]


async def until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 (what it waits for is not of our making)
            await asyncio.sleep(0.02)


def first_successes(accepted: Sequence[str]) -> dict[str, list[int]]:
    """Give the numbers of each user's requests in the order of their first success; ids are `user-number`."""
    found: dict[str, list[int]] = defaultdict(list)
    for ident in dict.fromkeys(accepted):
        user, _, number = ident.rpartition("-")
        found[user].append(int(number))
    return found


USERS, EACH = 50, 40


async def _in_order(trial: Trial, *, kills: int) -> None:
    """Send 50 x 40 requests of which every seventh fails first, killing the member on the way."""
    requests = [("crm", f"u{user}-{number}", f"u{user}") for number in range(EACH) for user in range(USERS)]
    scripts = {ident: [500, 500] for index, (_, ident, _) in enumerate(requests) if index % 7 == 0}
    trial.tool.behave["/crm"] = trial.tool.scripted(scripts)
    await trial.prepare(partitions=2)
    await trial.send(requests)
    accepted = trial.tool.accepted["/crm"]
    for kill in range(1, kills + 1):
        async with trial.member():
            await until(lambda: len(set(accepted)) >= len(requests) * kill // (kills + 1))  # noqa: B023 (called before the next turn)
    async with trial.member():
        await until(lambda: len(set(accepted)) == len(requests))


async def test_each_user_in_order(kafka: Kafka, prefix: str) -> None:
    """Of 50 users with 40 events each, every seventh of which fails twice, the successes ascend, and nothing is sent after its success."""
    async with HostileTool() as tool:
        await _in_order(Trial(kafka, prefix, tool, {"crm": {"ordered": True}}, scale=0.002, circuit_after=100_000), kills=0)
    accepted = tool.accepted["/crm"]
    assert {f"u{user}": list(range(EACH)) for user in range(USERS)} == first_successes(accepted)
    assert len(set(accepted)) == len(accepted)


async def test_each_user_in_order_through_kills(kafka: Kafka, prefix: str) -> None:
    """The same, while the only member dies three times without a word: first successes ascend; what comes again has the same id and body."""
    async with HostileTool() as tool:
        await _in_order(Trial(kafka, prefix, tool, {"crm": {"ordered": True}}, scale=0.002, circuit_after=100_000), kills=3)
    assert {f"u{user}": list(range(EACH)) for user in range(USERS)} == first_successes(tool.accepted["/crm"])
    bodies: dict[str, set[bytes]] = defaultdict(set)
    for seen in tool.seen:
        bodies[seen.id].add(seen.body)
    assert {1} == {len(one) for one in bodies.values()}


async def test_a_build_without_barriers_is_found_out(kafka: Kafka, prefix: str) -> None:
    """Control: without holding back, the same check fails."""
    async with HostileTool() as tool:
        await _in_order(Trial(kafka, prefix, tool, {"crm": {"ordered": True}}, scale=0.002, broken="unordered", circuit_after=100_000), kills=0)
    assert {f"u{user}": list(range(EACH)) for user in range(USERS)} != first_successes(tool.accepted["/crm"])


async def test_retries_lie_on_the_schedule(kafka: Kafka, prefix: str) -> None:
    """A tool that answers 500, 502 and 503 is tried again after 10 s, 1 m, 1 m and 5 m (scaled), at most a tenth later, not all at once."""
    scale = 0.002
    async with HostileTool() as tool:
        trial = Trial(kafka, prefix, tool, {"crm": {}}, scale=scale, circuit_after=100_000)
        tool.behave["/crm"] = tool.scripted({f"r-{number}": [500, 502, 503, 500] for number in range(12)})
        await trial.prepare()
        await trial.send([("crm", f"r-{number}", f"u{number}") for number in range(12)])
        async with trial.member():
            await until(lambda: len(set(tool.accepted["/crm"])) == 12)
        waits: dict[str, list[float]] = defaultdict(list)
        ended = {(one["message_id"], one["attempt"]): one["at"] for one in await trial.attempts()}
        for tier in RETRY_DELAYS:
            for headers, _ in await trial.written(f"retry.{tier}"):
                failed = ended[headers["message_id"].decode(), int(headers["attempt"])]
                waits[tier].append((int(headers["not_before"]) - failed) / scale / RETRY_DELAYS[tier])
    assert {"10s": 12, "1m": 24, "5m": 12} == {tier: len(found) for tier, found in waits.items()}
    granularity = 2 / scale / RETRY_DELAYS["10s"]  # times are whole milliseconds
    assert all(1 - granularity <= wait <= 1 + JITTER + granularity for found in waits.values() for wait in found)
    assert len({round(wait, 4) for wait in waits["5m"]}) > 6


@pytest.mark.parametrize(
    ("said", "least_ms", "most_ms"),
    [
        ("120", 120_000, 335_000),
        ("315360000", 3_600_000, 3_800_000),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3_600_000, 3_800_000),
        ("-5", 10_000, 11_000),
        ("soon", 10_000, 11_000),
        ("1e9", 10_000, 11_000),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 10_000, 11_000),
    ],
)
async def test_what_retry_after_says(kafka: Kafka, prefix: str, said: str, least_ms: int, most_ms: int) -> None:
    """Seconds and dates are honoured up to an hour; the past, negative numbers and nonsense mean the usual wait. 429 opens no circuit."""
    scale = 0.01
    async with HostileTool() as tool:
        trial = Trial(kafka, prefix, tool, {"crm": {}}, scale=scale)
        tool.behave["/crm"] = hostile.with_status(429, f"Retry-After: {said}\r\n")
        await trial.prepare()
        await trial.send([("crm", f"r-{number}", f"u{number}") for number in range(30)])
        async with trial.member():
            await until(lambda: len({seen.id for seen in tool.seen}) == 30)
            waiting: list[dict[str, bytes]] = []
            async with asyncio.timeout(20):
                while len(waiting) < 30:
                    waiting = [headers for tier in RETRY_DELAYS for headers, _ in await trial.written(f"retry.{tier}") if headers["attempt"] == b"1"]
    waits = [(int(one["not_before"]) - int(one["first_attempt"])) / scale for one in waiting]
    slack = 500 / scale  # first_attempt is when the try began
    assert least_ms <= min(waits)
    assert max(waits) <= most_ms + slack


STALLS = {"silence": hostile.silence, "loris": hostile.slow_loris, "slowhead": hostile.slow_head}
FLOODS = {"head": hostile.endless_head, "line": hostile.endless_line, "body": hostile.huge_body, "bomb": hostile.bomb}


async def _stalled(kafka: Kafka, prefix: str, broken: str = "") -> tuple[list[dict[str, Any]], HostileTool]:
    """Deliver to tools that stall and to one that works; gives the attempts at those that stall, once there are two of each."""
    async with HostileTool() as tool:
        tool.behave |= {f"/{name}": behave for name, behave in STALLS.items()}
        destinations: dict[str, dict[str, Any]] = {name: {"deadline": 0.5, "concurrency": 3} for name in STALLS} | {"well": {"deadline": 10.0}}
        trial = Trial(kafka, prefix, tool, destinations, broken=broken)
        await trial.prepare()
        await trial.send([(name, f"{name}-{number}", f"u{number}") for name in destinations for number in range(20)])
        async with trial.member():
            await until(lambda: len(tool.accepted["/well"]) == 20)
            async with asyncio.timeout(10):
                while True:
                    attempts = [one for one in await trial.attempts() if one["destination"] != "well"]
                    if (
                        dict.fromkeys(STALLS, 2).items()
                        <= {name: min(count, 2) for name, count in Counter(one["destination"] for one in attempts).items()}.items()
                    ):
                        return attempts, tool


async def test_stalls_end_at_the_deadline(kafka: Kafka, prefix: str) -> None:
    """Silence, a body and a head of a byte at a time end as a timeout, hold no more than their own slots, and another tool gets everything."""
    attempts, tool = await _stalled(kafka, prefix)
    assert {"timeout"} == {one["error"] for one in attempts}
    assert min(one["latency_ms"] for one in attempts) >= 490
    assert all(tool.most_at_once[f"/{name}"] <= 2 * 3 for name in STALLS)  # the tool sees an abort a moment after we made it


async def test_a_build_without_deadline_is_found_out(kafka: Kafka, prefix: str) -> None:
    """Control: without a deadline nothing of a stalled tool ever ends."""
    with pytest.raises(TimeoutError):
        await _stalled(kafka, prefix, "no_deadline")


async def _flooded(kafka: Kafka, prefix: str, broken: str = "") -> tuple[list[dict[str, Any]], float]:
    """Deliver to tools that answer without end; gives the attempts, and by how many MB the process grew."""
    async with HostileTool() as tool:
        tool.behave |= {f"/{name}": behave for name, behave in FLOODS.items()}
        destinations: dict[str, dict[str, Any]] = {"well": {}} | {name: {"deadline": 3.0, "concurrency": 2} for name in FLOODS}
        trial = Trial(kafka, prefix, tool, destinations, broken=broken)
        await trial.prepare()
        async with trial.member() as process:
            await trial.send([("well", f"well-{number}", f"u{number}") for number in range(200)])
            await until(lambda: len(tool.accepted["/well"]) == 200)
            before = most = process.memory_info().rss
            await trial.send([(name, f"{name}-{number}", f"u{number}") for name in FLOODS for number in range(6)])
            attempts: list[dict[str, Any]] = []
            end = time.monotonic() + 8
            while len({(one["destination"], one["message_id"]) for one in attempts}) < 24 and time.monotonic() < end:
                most = max(most, process.memory_info().rss)
                attempts = [one for one in await trial.attempts() if one["destination"] != "well"]
    return attempts, (most - before) / 1024**2


async def test_floods_stay_small(kafka: Kafka, prefix: str) -> None:
    """Ten gigabytes, a bomb, endless headers and an endless header cost some megabytes in all; the status counts where there is one."""
    attempts, grown = await _flooded(kafka, prefix)
    outcomes = {(one["destination"], one["status"], one["error"]) for one in attempts}
    assert {
        ("body", 200, ""),
        ("bomb", 200, ""),
        ("head", 0, "answer_head_too_large"),
        ("line", 0, "answer_head_too_large"),
    } == outcomes
    assert grown < 40
    print(f"floods: the process grew by {grown:.1f} MB")


async def test_a_build_without_limits_is_found_out(kafka: Kafka, prefix: str) -> None:
    """Control: without limits the same floods fill the memory, or never end."""
    attempts, grown = await _flooded(kafka, prefix, "no_limit")
    assert grown >= 40 or len(attempts) < 24


async def test_reset_after_the_body_repeats_id_and_body(kafka: Kafka, prefix: str) -> None:
    """A connection that is reset after the request was taken: it comes again with the same id and the same bytes, so a tool can tell."""
    async with HostileTool() as tool:
        tool.behave["/crm"] = hostile.reset_first(tool, 2)
        trial = Trial(kafka, prefix, tool, {"crm": {}}, scale=0.005)
        await trial.prepare()
        await trial.send([("crm", f"r-{number}", f"u{number}") for number in range(15)], odd="é\u0000 $${secret:x}")
        async with trial.member():
            await until(lambda: len(set(tool.accepted["/crm"])) == 15)
    bodies: dict[str, list[bytes]] = defaultdict(list)
    for seen in tool.seen:
        bodies[seen.id].append(seen.body)
    assert 15 == len(bodies)
    assert all(len(one) == 3 and len(set(one)) == 1 for one in bodies.values())


async def test_a_build_with_new_ids_is_found_out(kafka: Kafka, prefix: str) -> None:
    """Control: a build that makes an id for each try is seen by the same check."""
    async with HostileTool() as tool:
        tool.behave["/crm"] = hostile.reset_first(tool, 1)
        trial = Trial(kafka, prefix, tool, {"crm": {}}, scale=0.005, broken="new_ids")
        await trial.prepare()
        await trial.send([("crm", "r-0", "u")])
        async with trial.member():
            await until(lambda: len(tool.seen) >= 3)
    assert len({seen.id for seen in tool.seen}) > 1


async def test_what_a_status_does(kafka: Kafka, prefix: str) -> None:
    """400, 413, 404 and a redirect end in dead letters; 401 and 403 park, 410 disables, and the backlog of the three goes once the tool is mended."""
    statuses = {"bad": 400, "large": 413, "lost": 404, "moved": 302, "locked": 401, "barred": 403, "gone": 410}
    async with HostileTool() as tool:
        elsewhere = tool.url("/canary")
        tool.behave |= {f"/{name}": hostile.with_status(status, f"location: {elsewhere}\r\n") for name, status in statuses.items()}
        trial = Trial(kafka, prefix, tool, {name: {} for name in statuses})
        await trial.prepare()
        await trial.send([(name, f"{name}-{number}", f"u{number}") for name in statuses for number in range(5)])
        async with trial.member():
            dead: list[tuple[dict[str, bytes], dict[str, Any]]] = []
            async with asyncio.timeout(40):
                while len(dead) < 20:
                    dead = await trial.written("dead.deliver")
            for name in ("locked", "barred"):
                del tool.behave[f"/{name}"]
            await until(lambda: len(set(tool.accepted["/locked"])) == len(set(tool.accepted["/barred"])) == 5)
        del tool.behave["/gone"]
        async with trial.member():  # a new start is another chance, as `headrace destination resume` is
            await until(lambda: len(set(tool.accepted["/gone"])) == 5)
        dead = await trial.written("dead.deliver")
    reasons = Counter((headers["destination"], headers["dead_reason"]) for headers, _ in dead)
    assert {(b"bad", b"rejected"): 5, (b"large", b"rejected"): 5, (b"lost", b"rejected"): 5, (b"moved", b"redirected"): 5} == reasons
    assert not [seen for seen in tool.seen if seen.path == "/canary"]


def _percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def _one_dead(kafka: Kafka, prefix: str, broken: str = "", tools: int = TOOLS) -> tuple[float, float, float, float]:
    """Send at a steady rate to many tools; half-way one dies. Gives p99 of the others before and while it is dead in ms, MB grown, drain / inflow."""
    names = [f"t{number}" for number in range(tools)]
    rounds, pause = 30, 0.1
    async with HostileTool() as tool:
        trial = Trial(kafka, prefix, tool, {name: {"deadline": 2.0} for name in names}, scale=0.01, broken=broken)
        await trial.prepare()
        producer = trial.broker.producer()
        await producer.start()
        number = 0

        async def some() -> None:
            nonlocal number
            for _ in range(rounds):
                await producer.send([trial._request(name, f"{name}-{number}", f"u{number % 50}") for name in names for _ in (0,)])
                number += 1
                await asyncio.sleep(pause)

        def p99(begin: int) -> float:
            late = [(seen.at - orjson.loads(seen.body)["sent"]) * 1000 for seen in tool.seen[begin:] if seen.path != "/t0"]
            return _percentile(late, 0.99)

        try:
            async with trial.member() as process:
                await some()
                await until(lambda: all(len(set(tool.accepted[f"/{name}"])) == number for name in names), 120)
                begin = len(tool.seen)
                await some()
                await until(lambda: all(len(set(tool.accepted[f"/{name}"])) == number for name in names))
                well, rss = p99(begin), process.memory_info().rss
                tool.behave["/t0"] = hostile.silence
                begin = len(tool.seen)
                await some()
                async with asyncio.timeout(30 if not broken else 8):
                    await until(lambda: all(len(set(tool.accepted[f"/{name}"])) == number for name in names[1:]))
                dead, grown = p99(begin), (process.memory_info().rss - rss) / 1024**2
                del tool.behave["/t0"]
                missing = number - len(set(tool.accepted["/t0"]))
                started = time.monotonic()
                await until(lambda: len(set(tool.accepted["/t0"])) == number)
                drain = missing / (time.monotonic() - started)
        finally:
            await producer.stop()
    return well, dead, grown, drain * pause


async def test_one_dead_tool_delays_no_other(kafka: Kafka, prefix: str) -> None:
    """One of many tools goes silent: the others get everything meanwhile, memory stays flat, and its backlog arrives once it is back."""
    well, dead, grown, drain = await _one_dead(kafka, prefix)
    print(f"{TOOLS} tools: p99 of the others {well:.0f} ms before, {dead:.0f} ms while one is dead; {grown:.1f} MB; drained at {drain:.1f} x inflow")
    assert grown < 30


async def test_a_build_with_one_lane_for_all_is_found_out(kafka: Kafka, prefix: str) -> None:
    """Control: where tools share their slots, one that is silent stops the others."""
    with pytest.raises(TimeoutError):
        await _one_dead(kafka, prefix, "one_lane", tools=4)


async def test_a_busy_key_leaves_the_others_alone(kafka: Kafka, prefix: str) -> None:
    """Of 4,000 requests 80 % are one user's, the tool takes its time for each, and there is one partition: the rest does not wait for them."""
    async with HostileTool() as tool:

        async def slow(seen: hostile.Seen, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.005)
            await tool.accept(seen, writer)

        tool.behave["/crm"] = slow
        trial = Trial(kafka, prefix, tool, {"crm": {"ordered": True}})
        await trial.prepare()
        users = ["hot" if number % 5 else f"u{number % 90}" for number in range(4_000)]
        counts: Counter[str] = Counter()
        requests = []
        for user in users:
            requests.append(("crm", f"{user}-{counts[user]}", user))
            counts[user] += 1
        await trial.send(requests)
        async with trial.member():
            await until(lambda: len({one for one in tool.accepted["/crm"] if not one.startswith("hot")}) == 800)
            hot_by_then = len(set(tool.accepted["/crm"])) - 800
            await until(lambda: len(set(tool.accepted["/crm"])) == 4_000, 120)
    assert {user: list(range(count)) for user, count in counts.items()} == first_successes(tool.accepted["/crm"])
    print(f"busy key: {hot_by_then} of its 3,200 were through when all of the others were")
    assert hot_by_then < 1_600
