"""Faults of our own never end an event: it waits until they are mended (test T36)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.conftest import Kafka
from tests.faults.delivery_trial import DeliveryTrial, numbered
from tests.faults.hostile_tool import HostileTool
from tests.faults.laws import Verdict
from tests.faults.proof import prove
from tests.faults.report import Row
from tests.faults.tool_laws import alike, arrived, once

pytestmark = [pytest.mark.faults, pytest.mark.integration]

EACH = 20


@pytest.mark.fault("T36")
async def test_what_is_our_fault_ends_nothing(kafka: Kafka, prefix: str, row: Row) -> None:
    """A secret that is missing, one that cannot be read, an address that we forbid: nothing dies, and all is delivered once each is mended."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        async with HostileTool() as tool:
            faulty: dict[str, dict[str, Any]] = {
                "secretless": {"secrets": {}, "missing": ["shared_secret"]},
                "unreadable": {"secrets": {"shared_secret": "whsec_%%%"}},
                "forbidden": {"url": tool.url("/forbidden").replace("127.0.0.1", "127.0.0.3")},
            }
            trial = DeliveryTrial(kafka, prefix, tool, {**faulty, "well": {}}, broken=broken, public=["127.0.0.1"])
            await trial.prepare()
            sent = await trial.send([one for name in (*faulty, "well") for one in numbered(name, EACH)])
            async with trial.member():
                await trial.until(lambda: len(set(tool.accepted["/well"])) == EACH)
                await trial.until_written(lambda: trial.have_attempted([f"{name}-0" for name in faulty]))
            attempts = [one for one in await trial.attempts() if one["destination"] in faulty]
            meanwhile = [one.path for one in tool.seen if one.path != "/well"]
            trial.destinations |= {"secretless": {}, "unreadable": {}}
            trial.told["public"] = ["127.0.0.1", "127.0.0.3"]
            async with HostileTool("127.0.0.3", tool.port) as other:

                def accepted() -> list[str]:
                    return [ident for some in (tool, other) for found in some.accepted.values() for ident in found]

                async with trial.member():
                    await trial.until(lambda: set(accepted()) == set(sent))
            dead = await trial.dead()
        return [
            arrived(sent, accepted()),
            once(accepted()),
            alike("dead letters", 0, len(dead)),
            alike("requests before it was mended", [], meanwhile),
            alike("how attempts ended before it was mended", {("parked", "misconfigured")}, {(one["outcome"], one["reason"]) for one in attempts}),
        ]

    await prove(row, scenario, ("ours_is_dead",))
