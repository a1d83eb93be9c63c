"""A bug that one source's records run into costs that source alone, and nothing of it."""

from __future__ import annotations

import pytest

from pipeline.model.outcomes import Outcome
from pipeline.model.record import Message
from pipeline.model.workspace import Destination, Source, Workspace
from pipeline.resources import resource
from pipeline.runtime.breaker import CRASHES_MOST
from pipeline.runtime.throttle import PROBE_EVERY
from pipeline.testing import Driver, event

SHOP = Workspace(
    "shop",
    sources={"web": Source("web"), "bad": Source("bad")},
    destinations={"crm": Destination("crm", "webhook", ("web",), settings={"url": "https://crm.example/"})},
)


@pytest.mark.parametrize("topology", ["default", "fused"])
def test_one_sources_poison_throttles_only_that_source(topology: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """100 crash; of what follows each hundredth is tried, the rest waits in dead letters, and the other source's events all arrive."""

    def enrich(message: Message) -> Outcome | None:
        if message.source == "bad":
            raise ZeroDivisionError
        return None

    monkeypatch.setattr("pipeline.assembly.steps._enrich", lambda _processor, _workspace: enrich)
    with Driver(resource("topologies") / f"{topology}.yaml", SHOP) as driver:
        for number in range(3):
            driver.send(event(messageId=f"good-{number}", anonymousId="ada"), source="web")
            for each in range(CRASHES_MOST):
                driver.send(event(messageId=f"bad-{number}-{each}", anonymousId="ada"), source="bad")
            driver.run_until_idle()
        reasons = [dict(letter.headers)["dead_reason"] for letter in driver.read("dead.enrich")]
        assert 3 * CRASHES_MOST == len(reasons)
        assert 2 * (PROBE_EVERY - 1) == reasons.count(b"source_throttled")
        assert 3 == len(driver.read("routed"))
        processor = "enrich" if topology == "default" else "prepare"
        assert 1 == driver.metrics.values["headrace_source_throttled", (processor, "bad")]
