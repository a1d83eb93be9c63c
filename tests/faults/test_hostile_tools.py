"""Tools that stall, flood and hang up: time and memory stay bounded, and a request that comes again is the same (tests T30, T31, T33)."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import pytest

from tests.conftest import Kafka
from tests.faults import hostile_tool as hostile
from tests.faults.delivery_trial import NO_CIRCUIT, DeliveryTrial, numbered
from tests.faults.hostile_tool import HostileTool
from tests.faults.laws import Verdict, bounded
from tests.faults.proof import prove
from tests.faults.report import Row
from tests.faults.tool_laws import alike, arrived, once, repeated_alike

pytestmark = [pytest.mark.faults, pytest.mark.integration]

STALLS = {"silence": hostile.silence, "loris": hostile.slow_loris, "slowhead": hostile.slow_head}
DEADLINE = 0.5
SLOTS = 3
FLOODS = {"head": hostile.endless_head, "line": hostile.endless_line, "body": hostile.huge_body, "bomb": hostile.bomb}
GROWTH_MOST_MB = 5.0


def _most_at_once(attempts: Sequence[Mapping[str, Any]]) -> int:
    """Give how many attempts were under way at the same time, by what was written down of them in milliseconds."""
    turns = [(one["at"] - one["latency_ms"] + 2, 1) for one in attempts] + [(one["at"], -1) for one in attempts]
    return max(accumulate(change for _, change in sorted(turns)), default=0)


@pytest.mark.fault("T30")
async def test_stalls_end_at_the_deadline(kafka: Kafka, prefix: str, row: Row) -> None:
    """No connection, no TLS, silence, a head and a body of a byte at a time: each ends as a timeout in its own slots, and another tool gets all."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        with hostile.blackhole() as port:
            async with HostileTool() as tool:
                tool.behave |= {f"/{name}": behave for name, behave in STALLS.items()}
                declared: dict[str, dict[str, Any]] = {name: {"deadline": DEADLINE, "concurrency": SLOTS} for name in STALLS}
                declared["blackhole"] = {"deadline": DEADLINE, "concurrency": SLOTS, "url": f"http://127.0.0.1:{port}/"}
                declared["tls"] = {"deadline": DEADLINE, "concurrency": SLOTS, "url": tool.url("/").replace("http", "https", 1)}
                trial = DeliveryTrial(kafka, prefix, tool, {**declared, "well": {}}, broken=broken)
                await trial.prepare()
                sent = await trial.send(numbered("well", 20))
                await trial.send([one for name in declared for one in numbered(name, 20)])

                async def have_ended() -> bool:
                    ended = Counter(one["destination"] for one in await trial.attempts())
                    return all(ended[name] >= SLOTS for name in declared)

                async with trial.member():
                    await trial.until(lambda: set(tool.accepted["/well"]) == set(sent))
                    await trial.until_written(have_ended)
                attempts = [one for one in await trial.attempts() if one["destination"] != "well"]
        longest = max((one["latency_ms"] for one in attempts), default=0.0)
        if not broken:
            row.figures = f"{len(attempts)} attempts at {len(declared)} tools, deadline {DEADLINE * 1000:.0f} ms, longest {longest:.0f} ms"
        at_once = {f"slots of {name}": _most_at_once([one for one in attempts if one["destination"] == name]) for name in declared}
        return [
            arrived(sent, tool.accepted["/well"]),
            alike("how attempts end", {"timeout"}, {one["error"] for one in attempts}),
            bounded({"latency": longest, **at_once}, {"latency": 30_000, **dict.fromkeys(at_once, SLOTS)}),
        ]

    await prove(row, scenario, ("no_deadline",))


@pytest.mark.fault("T31")
async def test_floods_stay_small(kafka: Kafka, prefix: str, row: Row) -> None:
    """Ten gigabytes, a bomb, endless headers and an endless header cost few megabytes in all; the status counts where there is one."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        async with HostileTool() as tool:
            tool.behave |= {f"/{name}": behave for name, behave in FLOODS.items()}
            declared: dict[str, dict[str, Any]] = {name: {"deadline": 3.0, "concurrency": 2} for name in FLOODS}
            trial = DeliveryTrial(kafka, prefix, tool, {**declared, "well": {}}, broken=broken)
            await trial.prepare()
            async with trial.member() as process:
                well = await trial.send(numbered("well", 200))
                await trial.until(lambda: set(tool.accepted["/well"]) == set(well))
                before = most = process.memory_info().rss
                sent = await trial.send([one for name in FLOODS for one in numbered(name, 6)])
                end = time.monotonic() + trial.seconds
                while not await trial.have_attempted(sent) and time.monotonic() < end:
                    most = max(most, process.memory_info().rss)
                    await asyncio.sleep(0.05)
                attempts = [one for one in await trial.attempts() if one["destination"] != "well"]
        grown = (most - before) / 1024**2
        if not broken:
            row.figures = f"the process grew by {grown:.1f} MB"
        outcomes = {(one["destination"], one["status"], one["error"]) for one in attempts}
        wanted = {("body", 200, ""), ("bomb", 200, ""), ("head", 0, "answer_head_too_large"), ("line", 0, "answer_head_too_large")}
        return [
            arrived([*well, *sent], tool.accepted["/well"], {one["message_id"] for one in attempts}),
            alike("how attempts end", sorted(wanted), sorted(outcomes)),
            bounded({"MB grown": grown}, {"MB grown": GROWTH_MOST_MB}),
        ]

    await prove(row, scenario, ("no_limit",))


@pytest.mark.fault("T33")
async def test_what_is_in_doubt_comes_again_unchanged(kafka: Kafka, prefix: str, row: Row) -> None:
    """A connection that is reset after the request was taken: it comes again with the same id and bytes, so that a tool can tell."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        async with HostileTool() as tool:
            tool.behave["/crm"] = hostile.reset_first(tool, 2)
            trial = DeliveryTrial(kafka, prefix, tool, {"crm": {}}, broken=broken, scale=0.005, circuit_after=NO_CIRCUIT)
            await trial.prepare()
            sent = await trial.send(numbered("crm", 15), odd="é\u0000 $${secret:x}")
            async with trial.member():
                await trial.until(lambda: len(tool.seen) >= 3 * len(sent))
                if not broken:
                    await trial.until(lambda: set(tool.accepted["/crm"]) == set(sent))
        return [
            arrived(sent, tool.accepted["/crm"]),
            once(tool.accepted["/crm"]),
            repeated_alike(tool.seen),
            alike("tries of each", {3}, set(Counter(one.id for one in tool.seen).values())),
        ]

    await prove(row, scenario, ("new_ids",))


@pytest.mark.fault("T33")
async def test_a_second_answer_is_nobodys(kafka: Kafka, prefix: str, row: Row) -> None:
    """A tool that answers each request twice, 503 and then 200: the first one counts, and no other request takes the second for its own."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        async with HostileTool() as tool:
            tool.behave["/crm"] = hostile.twice_first(tool)
            trial = DeliveryTrial(kafka, prefix, tool, {"crm": {"concurrency": 2}}, broken=broken, scale=0.002, circuit_after=NO_CIRCUIT)
            await trial.prepare()
            sent = await trial.send(numbered("crm", 40))
            async with trial.member():
                await trial.until(lambda: set(tool.accepted["/crm"]) == set(sent))
            answered = Counter((one["attempt"], one["status"]) for one in await trial.attempts())
        return [arrived(sent, tool.accepted["/crm"]), once(tool.accepted["/crm"]), alike("first answers", len(sent), answered[1, 503])]

    await prove(row, scenario, ("any_answer_taken",))
