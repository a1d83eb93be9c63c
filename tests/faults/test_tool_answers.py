"""What a tool answers, and what becomes of its requests: retried on schedule, as late as it asked, or not at all (tests T28, T29, T34, T35)."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from itertools import chain

import pytest

from pipeline.deliver.schedule import JITTER
from pipeline.model.topics import RETRY_DELAYS
from tests.conftest import Kafka
from tests.faults import hostile_tool as hostile
from tests.faults.delivery_trial import NO_CIRCUIT, DeliveryTrial, numbered
from tests.faults.hostile_tool import HostileTool
from tests.faults.laws import Verdict, recovered
from tests.faults.proof import prove
from tests.faults.report import Row
from tests.faults.tool_laws import alike, arrived, latencies_ms, once, percentile, repeated_alike

pytestmark = [pytest.mark.faults, pytest.mark.integration]

OUTAGE_SCALE = 0.005
"""Half an hour is 9 seconds."""


async def _waits(trial: DeliveryTrial, failures: Collection[int]) -> dict[str, dict[str, list[float]]]:
    """Give how long requests were made to wait after so many failures, in unscaled milliseconds, by destination and tier."""
    ended = {(one["message_id"], one["attempt"]): one["at"] for one in await trial.attempts()}
    waits: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for tier in RETRY_DELAYS:
        for headers, _ in await trial.written(f"retry.{tier}"):
            attempt = int(headers["attempt"])
            if attempt not in failures:
                continue
            failed = ended[headers["message_id"].decode(), attempt]
            waits[headers["destination"].decode()][tier].append((int(headers["not_before"]) - failed) / trial.told["scale"])
    return waits


@pytest.mark.fault("T28")
async def test_retries_lie_on_the_schedule(kafka: Kafka, prefix: str, row: Row) -> None:
    """Answers 500, 502 and 503: the next try lies 10 s, 1 m, 1 m and 5 m later (scaled), at most a tenth more, and not all at once."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        async with HostileTool() as tool:
            trial = DeliveryTrial(kafka, prefix, tool, {"crm": {}}, broken=broken, scale=0.002, circuit_after=NO_CIRCUIT)
            tool.behave["/crm"] = tool.scripted({f"crm-{number}": [500, 502, 503, 500] for number in range(12)})
            await trial.prepare()
            sent = await trial.send(numbered("crm", 12))
            async with trial.member():
                await trial.until(lambda: len(set(tool.accepted["/crm"])) == 12)
            waits = (await _waits(trial, range(1, 5)))["crm"]
        slack = 2 / trial.told["scale"]  # times are whole milliseconds
        off = [
            f"{tier}: {wait:.0f} ms"
            for tier, found in waits.items()
            for wait in found
            if not -slack <= wait - RETRY_DELAYS[tier] <= JITTER * RETRY_DELAYS[tier] + slack
        ]
        return [
            arrived(sent, tool.accepted["/crm"]),
            once(tool.accepted["/crm"]),
            repeated_alike(tool.seen),
            alike("tries by tier", {"10s": 12, "1m": 24, "5m": 12}, {tier: len(found) for tier, found in waits.items()}),
            Verdict("L8 on the schedule", sum(map(len, waits.values())), tuple(off)),
            Verdict("spread by jitter", len(waits["5m"]), () if len(set(waits["5m"])) > 6 else ("they come back together",)),
        ]

    await prove(row, scenario, ("given_up", "at_once"))


@pytest.mark.fault("T28")
async def test_half_an_hour_of_5xx_is_waited_for(kafka: Kafka, prefix: str, row: Row) -> None:
    """A tool answers 5xx for half an hour (scaled): another one gets everything meanwhile, and its backlog is through 10 min after its end."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        async with HostileTool() as tool:
            trial = DeliveryTrial(kafka, prefix, tool, {"crm": {}, "well": {}}, broken=broken, scale=OUTAGE_SCALE)
            await trial.prepare()
            async with trial.member():
                before = await _trickle(trial, 0, 2.0, ("well",))
                began = len(tool.seen)
                tool.behave["/crm"] = hostile.in_turn(500, 502, 503)
                sent = await _trickle(trial, len(before), 2.0 if broken else 1_800 * OUTAGE_SCALE, ("crm", "well"))
                during = tool.seen[began:]
                del tool.behave["/crm"]
                ended = time.monotonic()
                await trial.until(lambda: set(sent) <= {*tool.accepted["/crm"], *tool.accepted["/well"]})
                drained = time.monotonic() - ended
            dead = await trial.dead()
        healthy = [percentile(latencies_ms(one for one in seen if one.path == "/well"), 0.99) for seen in (tool.seen[:began], during)]
        if not broken:
            row.recovery_seconds = drained
            row.figures = f"p99 of another tool {healthy[0]:.0f} ms before, {healthy[1]:.0f} ms meanwhile; backlog through after {drained:.1f} s"
        return [
            arrived(before + sent, tool.accepted["/crm"], tool.accepted["/well"]),
            once([*tool.accepted["/crm"], *tool.accepted["/well"]]),
            repeated_alike(tool.seen),
            alike("dead letters", 0, len(dead)),
            recovered({"backlog": drained}, 600 * OUTAGE_SCALE + 2),
        ]

    await prove(row, scenario, ("never_probed",))


async def _trickle(trial: DeliveryTrial, first: int, seconds: float, names: Sequence[str]) -> list[str]:
    """Send 20 requests a second to each of some destinations; gives the ids."""
    producer = trial.broker.producer()
    await producer.start()
    sent: list[str] = []
    end = time.monotonic() + seconds
    number = first
    while time.monotonic() < end:
        ids = [(name, f"{name}-{number}", f"u{number % 10}") for name in names]
        await producer.send([trial.request(*one) for one in ids])
        sent += [ident for _, ident, _ in ids]
        number += 1
        await asyncio.sleep(0.05)
    await producer.stop()
    return sent


ASKED = {
    "120": (120_000, 330_000),
    "315360000": (3_600_000, 3_780_000),
    "Fri, 31 Dec 9999 23:59:59 GMT": (3_600_000, 3_780_000),
    "-5": (10_000, 11_000),
    "soon": (10_000, 11_000),
    "1e9": (10_000, 11_000),
    "Wed, 21 Oct 2015 07:28:00 GMT": (10_000, 11_000),
}
"""What `Retry-After` says, and the least and the longest wait that it may lead to, in ms."""


@pytest.mark.fault("T29")
async def test_what_retry_after_says(kafka: Kafka, prefix: str, row: Row) -> None:
    """429 with seconds and dates is honoured up to an hour; the past, negative numbers and nonsense mean the usual wait; none opens a circuit."""
    tools = {f"t{number}": said for number, said in enumerate(ASKED)}

    async def scenario(broken: str) -> Sequence[Verdict]:
        async with HostileTool() as tool:
            trial = DeliveryTrial(kafka, prefix, tool, {name: {} for name in tools}, broken=broken)
            tool.behave |= {f"/{name}": hostile.with_status(429, f"Retry-After: {said}\r\n") for name, said in tools.items()}
            await trial.prepare()
            sent = await trial.send([one for name in tools for one in numbered(name, 25)])
            async with trial.member():
                await trial.until(lambda: {one.id for one in tool.seen} == set(sent))
                await trial.until_written(lambda: trial.have_attempted(sent))
            waits, dead, attempts = await _waits(trial, [1]), await trial.dead(), await trial.attempts()
        slack = 2 / trial.told["scale"]  # times are whole milliseconds
        off = [
            f"{said!r}: {wait / 1000:.0f} s"
            for name, said in tools.items()
            for wait in chain.from_iterable(waits[name].values())
            if not ASKED[said][0] - slack <= wait <= ASKED[said][1] + slack
        ]
        waiting = sum(len(found) for tiers in waits.values() for found in tiers.values())
        return [
            arrived(sent, {one["message_id"] for one in attempts if one["outcome"] == "retried"}),
            Verdict("L8 as late as the tool asked", waiting, tuple(off)),
            alike("ends and parked", (0, 0), (len(dead), sum(one["outcome"] == "parked" for one in attempts))),
        ]

    await prove(row, scenario, ("retry_after_ignored", "retry_after_believed"))


@pytest.mark.fault("T34")
async def test_only_what_failed_comes_again(kafka: Kafka, prefix: str, row: Row) -> None:
    """Of requests that are under way together every third fails twice: these come again, and none of the others does."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        async with HostileTool() as tool:
            trial = DeliveryTrial(kafka, prefix, tool, {"crm": {}}, broken=broken, scale=0.002, circuit_after=NO_CIRCUIT)
            requests = numbered("crm", 90)
            failing = {ident for _, ident, _ in requests[::3]}
            tool.behave["/crm"] = tool.scripted({ident: [503, 429] for ident in failing})
            await trial.prepare()
            sent = await trial.send(requests)
            async with trial.member():
                await trial.until(lambda: set(tool.accepted["/crm"]) == set(sent))
                await asyncio.sleep(1)  # whatever would come too much has this long to come
        tries = Counter(one.id for one in tool.seen)
        counts = tuple({tries[one] for one in some} for some in (failing, {*sent} - failing))
        row.figures = "one request an item: no destination sends batches yet"
        return [
            arrived(sent, tool.accepted["/crm"]),
            once(tool.accepted["/crm"]),
            alike("tries of those that failed, and of the others", ({3}, {1}), counts),
        ]

    await prove(row, scenario, ("whole_batch",))


STATUSES = {"bad": 400, "large": 413, "lost": 404, "moved": 302, "locked": 401, "barred": 403, "gone": 410}
FINAL = {"bad": b"rejected", "large": b"rejected", "lost": b"rejected", "moved": b"redirected"}


@pytest.mark.fault("T35")
async def test_what_a_status_does(kafka: Kafka, prefix: str, row: Row) -> None:
    """400, 413, 404 and a redirect end in dead letters; 401 and 403 park, 410 disables, and the backlog of the three goes once the tool is mended."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        async with HostileTool() as tool:
            elsewhere = f"location: {tool.url('/elsewhere')}\r\n"
            tool.behave |= {f"/{name}": hostile.with_status(status, elsewhere) for name, status in STATUSES.items()}
            trial = DeliveryTrial(kafka, prefix, tool, {name: {} for name in STATUSES}, broken=broken)
            await trial.prepare()
            sent = await trial.send([one for name in STATUSES for one in numbered(name, 5)])
            async with trial.member():
                await trial.until_written(lambda: trial.have_died(5 * len(FINAL)))
                seen = Counter(one.path for one in tool.seen)
                for name in ("locked", "barred"):
                    del tool.behave[f"/{name}"]
                await trial.until(lambda: len(set(tool.accepted["/locked"])) == len(set(tool.accepted["/barred"])) == 5)
                # The member is killed next: what its tool has taken must be written down, or it may go once more.
                await trial.until_written(lambda: trial.have_delivered(tool.accepted["/locked"] + tool.accepted["/barred"]))
            del tool.behave["/gone"]
            async with trial.member():  # a new start is another chance, as `headrace destination resume` is
                await trial.until(lambda: len(set(tool.accepted["/gone"])) == 5)
            dead = await trial.dead()
        wanted = {(name.encode(), reason): 5 for name, reason in FINAL.items()}
        accepted = [ident for path in ("/locked", "/barred", "/gone") for ident in tool.accepted[path]]
        return [
            arrived(sent, accepted, {one["message_id"].decode() for one in dead}),
            once(accepted),
            alike("dead letters", wanted, dict(Counter((one["destination"], one["dead_reason"]) for one in dead))),
            alike("tries of what was refused for good", {5}, {seen[f"/{name}"] for name in FINAL}),
            alike("requests at the redirect's address", 0, seen["/elsewhere"]),
        ]

    await prove(row, scenario, ("terminal_retried", "locked_is_dead"))
