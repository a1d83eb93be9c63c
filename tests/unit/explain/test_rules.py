"""The rule that is named is the one for which filter withheld the event."""

from itertools import product
from typing import Any

import pytest

from pipeline.explain.rules import sources_rule, withheld_rule
from pipeline.filter import create_filter
from pipeline.mapping import compile_query
from pipeline.model.record import Message
from pipeline.model.workspace import Destination, Filter, Source, Workspace
from pipeline.testing import event, record

DESTINATIONS = (
    Destination("crm", "webhook", ("web",)),
    Destination("crm", "webhook", ("web",), enabled=False),
    Destination("crm", "webhook", ("web",), events=("Order Completed",)),
    Destination("crm", "webhook", ("web",), except_events=("Debug",)),
    Destination("crm", "webhook", ("web",), filters=(Filter('type = "page"'), Filter('event = "Debug"'))),
    Destination("crm", "webhook", ("web",), filters=(Filter("no query at all ("),)),
)
EVENTS: tuple[dict[str, Any], ...] = (
    event(event="Debug"),
    event(event="Order Completed"),
    event("page"),
    event(event="Debug", integrations={"All": False}),
    event(event="Debug", integrations={"webhook": False}),
    event(event="Debug", integrations={"crm": False}),
)


@pytest.mark.parametrize(("destination", "body"), list(product(DESTINATIONS, EVENTS)))
def test_every_withheld_event_has_its_rule(destination: Destination, body: dict[str, Any]) -> None:
    """Wherever filter withholds, there is a rule to name; where it does not, none is asked for."""
    step = create_filter(Workspace("shop", sources={"web": Source("web")}, destinations={"crm": destination}), compile_query)
    message = Message(dict(body), b"k", {}, record(body), "web")
    step(message)
    for name, reason in message.withheld:
        if name:
            rule = withheld_rule(destination, body, reason)
            assert rule.startswith(("destinations.crm", "the event's own integrations"))


def test_a_rule_has_its_place_and_its_text() -> None:
    """The second filter matched: it is that one, with the line where it is known."""
    told = withheld_rule(DESTINATIONS[4], EVENTS[0], "filtered_by_rules", lambda path: f"shop.yaml:{len(path)}")
    assert "destinations.crm.filters[1]: if 'event = \"Debug\"' then drop (shop.yaml:4)" == told
    assert 'the event\'s own integrations: {"All": false}' == withheld_rule(DESTINATIONS[0], EVENTS[3], "filtered_by_integrations_object")
    assert 'destinations.crm.sources: ["web"]' == sources_rule("crm", "destinations", ["web"])
    assert "" == withheld_rule(DESTINATIONS[0], EVENTS[0], "something_else")
