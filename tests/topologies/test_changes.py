"""What a new version of the configuration changes, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace

from pipeline.model.workspace import Destination, Source, Workspace
from pipeline.resources import resource
from pipeline.runtime.http.memory import an_answer
from pipeline.testing import Driver, event

CRM = Destination("crm", "webhook", ("web",), settings={"url": "https://crm.example/"})
SHOP = Workspace("shop", sources={"web": Source("web")}, destinations={"crm": CRM})


def test_a_tool_that_is_gone_is_left_alone_until_it_is_declared_anew() -> None:
    """A version that is about something else sends nothing to a tool that answered 410; one that changes it sends the whole backlog."""
    with Driver(resource("topologies") / "default.yaml", SHOP) as driver:
        driver.http.answering = lambda _request: an_answer(410)
        driver.send(event(messageId="m-0", anonymousId="ada"), source="web")
        driver.advance(1)
        assert 1 == len(driver.http.requests)
        driver.apply(replace(SHOP, sources={**SHOP.sources, "app": Source("app")}))
        driver.advance(60)
        assert 1 == len(driver.http.requests)
        driver.http.answering = lambda _request: an_answer()
        driver.apply(replace(SHOP, destinations={"crm": replace(CRM, settings={"url": "https://new.example/"})}))
        driver.advance(60)
        assert 2 == len(driver.http.requests)
