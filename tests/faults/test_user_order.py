"""The order of each user's requests, through failures, kills, and a user who is busier than all others (tests T38 and T42)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from tests.conftest import Kafka
from tests.faults.delivery_trial import NO_CIRCUIT, DeliveryTrial
from tests.faults.hostile_tool import HostileTool, after
from tests.faults.laws import Verdict
from tests.faults.proof import prove
from tests.faults.report import Row
from tests.faults.tool_laws import arrived, ascending, once, percentile, repeated_alike

pytestmark = [pytest.mark.faults, pytest.mark.integration]

USERS, EACH = 50, 40
KILLS = 3
BUSY, HOT_SHARE = 1_600, 5
"""How many requests, and that all but one of so many are one user's."""
HOT_MOST = 0.2
"""Most of the busy user's requests that may be through when all of the others are."""


async def _scripted(kafka: Kafka, prefix: str, broken: str, kills: int) -> tuple[HostileTool, list[str]]:
    """Send 50 x 40 requests of which every seventh fails twice, killing the member on the way; gives the tool and the ids."""
    requests = [("crm", f"u{user}-{number}", f"u{user}") for number in range(EACH) for user in range(USERS)]
    scripts = {ident: [500, 500] for index, (_, ident, _) in enumerate(requests) if index % 7 == 0}
    async with HostileTool() as tool:
        tool.behave["/crm"] = tool.scripted(scripts)
        trial = DeliveryTrial(kafka, prefix, tool, {"crm": {"ordered": True}}, broken=broken, scale=0.002, circuit_after=NO_CIRCUIT)
        await trial.prepare(partitions=2)
        sent = await trial.send(requests)
        accepted = tool.accepted["/crm"]
        for kill in range(1, kills + 1):
            async with trial.member():
                await trial.until(lambda: len(set(accepted)) >= len(sent) * kill // (kills + 1))  # noqa: B023 (called before the next turn)
        async with trial.member():
            await trial.until(lambda: len(set(accepted)) == len(sent))
    return tool, sent


@pytest.mark.fault("T38")
async def test_each_user_in_order(kafka: Kafka, prefix: str, row: Row) -> None:
    """Of 50 users with 40 events each, every seventh of which fails twice, the successes ascend, and nothing is sent after its success."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        tool, sent = await _scripted(kafka, prefix, broken, 0)
        accepted = tool.accepted["/crm"]
        return [arrived(sent, accepted), once(accepted), ascending(accepted)]

    await prove(row, scenario, ("no_barrier",))


@pytest.mark.fault("T38")
async def test_each_user_in_order_through_kills(kafka: Kafka, prefix: str, row: Row) -> None:
    """The same, while the only member dies three times without a word: first successes ascend; what comes again has the same id and body."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        tool, sent = await _scripted(kafka, prefix, broken, KILLS)
        accepted = tool.accepted["/crm"]
        if not broken:
            row.kills = KILLS
            row.figures = f"{len(accepted) - len(set(accepted))} repeats with the same id"
        return [arrived(sent, accepted), ascending(accepted), repeated_alike(tool.seen)]

    await prove(row, scenario, ("held_forgotten",))


@pytest.mark.fault("T42")
async def test_a_busy_user_leaves_the_others_alone(kafka: Kafka, prefix: str, row: Row) -> None:
    """Four fifths of the requests of one partition are one user's, and the tool takes its time: the others do not wait, and all keep order."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        counts: Counter[str] = Counter()
        requests = []
        for number in range(BUSY):
            user = "hot" if number % HOT_SHARE else f"u{number % 90}"
            requests.append(("crm", f"{user}-{counts[user]}", user))
            counts[user] += 1
        others = {ident for _, ident, user in requests if user != "hot"}
        async with HostileTool() as tool:
            tool.behave["/crm"] = after(tool, 0.005)
            trial = DeliveryTrial(kafka, prefix, tool, {"crm": {"ordered": True}}, broken=broken)
            trial.seconds = 60.0
            await trial.prepare()
            sent = await trial.send(requests)
            accepted = tool.accepted["/crm"]
            async with trial.member():
                await trial.until(lambda: others <= set(accepted))
                hot = len(set(accepted)) - len(others)
                waited = () if hot <= HOT_MOST * counts["hot"] else (f"{hot} of {counts['hot']} went before",)
                if broken:
                    return [Verdict("the others do not wait", len(others), waited)]
                await trial.until(lambda: set(sent) <= set(accepted))
        began = min(one.at for one in tool.seen)
        waits = {
            name: [(one.at - began) * 1000 for one in tool.seen if one.id.startswith("hot") == busy]
            for name, busy in (("hot", True), ("others", False))
        }
        p99 = {name: percentile(found, 0.99) for name, found in waits.items()}
        row.figures = (
            f"{hot} of the busy user's {counts['hot']} were through when all of the others were; "
            f"p99 of the others {p99['others']:.0f} ms after the first, of the busy one {p99['hot']:.0f} ms"
        )
        return [arrived(sent, accepted), once(accepted), ascending(accepted), Verdict("the others do not wait", len(others), waited)]

    await prove(row, scenario, ("endless_chains",))
