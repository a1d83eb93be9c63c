"""Filter: which destinations and storages an event is for, and why not the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.filter import create_filter
from pipeline.mapping import compile_query
from pipeline.model.outcomes import Dead, Drop, Outcome
from pipeline.model.reasons import REASONS
from pipeline.model.record import Message, Record
from pipeline.model.workspace import Destination, Filter, Source, Storage, Workspace

NAMES = st.sampled_from(["type", "event", "integrations", "All", "crm", "webhook", "track", "Order Completed"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(), inner, max_size=5),
    max_leaves=15,
)


def _workspace(*destinations: Destination, storage: bool = True) -> Workspace:
    return Workspace(
        "shop",
        1,
        sources={"web": Source("web"), "app": Source("app")},
        destinations={destination.id: destination for destination in destinations},
        storage={"lake": Storage("lake", "parquet", ("web",))} if storage else {},
    )


def _destination(name: str = "crm", **overrides: Any) -> Destination:  # noqa: ANN401 (any field)
    return Destination(name, **{"type": "webhook", "sources": ("web",), **overrides})


def _route(
    workspace: Workspace, body: object, source: str = "web", compiled: Callable[[str], Any] = compile_query
) -> tuple[Outcome | None, str, list[tuple[str, str]]]:
    message = Message(body, b"k", {}, Record("enriched", 0, 0, 0, b"k", b"{}"), source)
    outcome = create_filter(workspace, compiled)(message)
    return outcome, message.headers.get("routes", b"").decode(), message.withheld


TRACK = {"type": "track", "event": "Order Completed", "userId": "u"}


def test_routes_are_sorted() -> None:
    """The header names destinations and storages of the event's source in order."""
    workspace = _workspace(_destination("zeta"), _destination("alpha"), _destination("other", sources=("app",)))
    assert _route(workspace, TRACK) == (None, "alpha,lake,zeta", [])


def test_nothing_left_is_no_route() -> None:
    """An event that no destination and no storage wants is dropped."""
    assert _route(_workspace(storage=False), TRACK) == (Drop("no_route"), "", [])


def test_an_unknown_source_has_no_route() -> None:
    """A source that the workspace no longer has leads nowhere."""
    assert _route(_workspace(_destination()), TRACK, source="gone") == (Drop("no_route"), "", [])


def test_a_disabled_destination_is_counted() -> None:
    """A disabled destination gets nothing, and that is counted."""
    assert _route(_workspace(_destination(enabled=False)), TRACK) == (None, "lake", [("crm", "destination_disabled")])


@pytest.mark.parametrize(
    ("lists", "body", "taken"),
    [
        ({"events": ("Order Completed",)}, TRACK, True),
        ({"events": ("Signed Up",)}, TRACK, False),
        ({"events": ("order completed",)}, TRACK, False),
        ({"except_events": ("Order Completed",)}, TRACK, False),
        ({"except_events": ("Signed Up",)}, TRACK, True),
        ({"events": ("Signed Up",)}, {"type": "identify"}, True),
        ({"except_events": ("Order Completed",)}, {"type": "page", "event": "Order Completed"}, True),
    ],
)
def test_event_lists_hold_for_track_calls(lists: dict[str, Any], body: dict[str, Any], taken: bool) -> None:  # noqa: FBT001 (a case)
    """Event lists compare the name of a track call exactly, and let other calls through."""
    assert _route(_workspace(_destination(**lists)), body)[1:] == (("crm,lake", []) if taken else ("lake", [("crm", "filtered_by_rules")]))


@pytest.mark.parametrize(
    ("integrations", "taken"),
    [
        (None, True),
        ({}, True),
        ({"All": True}, True),
        ({"All": None}, True),
        ({"All": False}, False),
        ({"All": False, "crm": True}, True),
        ({"All": False, "crm": {"list": "a"}}, True),
        ({"All": False, "crm": {}}, True),
        ({"All": False, "webhook": True}, True),
        ({"crm": False}, False),
        ({"webhook": False}, False),
        ({"webhook": False, "crm": True}, True),
        ({"webhook": True, "crm": False}, False),
        ({"All": False, "crm": None}, False),
        (["crm"], True),
    ],
)
def test_integrations_object(integrations: object, taken: bool) -> None:  # noqa: FBT001 (a case)
    """The integrations object switches destinations by id, type or All, and never storages."""
    routed = ("crm,lake", []) if taken else ("lake", [("crm", "filtered_by_integrations_object")])
    assert _route(_workspace(_destination()), {**TRACK, "integrations": integrations})[1:] == routed


def test_names_are_case_sensitive_and_unknown_ones_counted() -> None:
    """A name that is no destination of the workspace switches nothing and is counted once."""
    body = {**TRACK, "integrations": {"CRM": False, "Salesforce": False, "Segment.io": True}}
    assert _route(_workspace(_destination()), body) == (None, "crm,lake", [("", "unknown_integration")])


def test_filters_drop_what_they_match() -> None:
    """A filter keeps the events that match its query from its destination."""
    workspace = _workspace(_destination(filters=(Filter('type = "track" and event = "Debug"'),)))
    assert _route(workspace, TRACK) == (None, "crm,lake", [])
    assert _route(workspace, {**TRACK, "event": "Debug"}) == (None, "lake", [("crm", "filtered_by_rules")])


def test_a_query_that_is_none_fails_closed() -> None:
    """Where a filter cannot be read, nothing is sent to its destination."""
    assert _route(_workspace(_destination(filters=(Filter("type = ="),))), TRACK) == (None, "lake", [("crm", "filter_failed")])


def test_a_query_that_raises_fails_closed() -> None:
    """Where a filter fails on an event, the event is not sent to its destination."""

    def compiled(query: str) -> Callable[[Any], bool]:
        return lambda body: body[query]

    assert _route(_workspace(_destination(filters=(Filter("absent"),))), TRACK, compiled=compiled) == (None, "lake", [("crm", "filter_failed")])


def test_routes_do_not_depend_on_what_came_before() -> None:
    """A kept route is the same as a fresh one, also after more event names than are kept."""
    step = create_filter(_workspace(_destination(events=("e7",))), compile_query)
    for name in [*(f"e{number}" for number in range(5000)), "e7"]:
        message = Message({"type": "track", "event": name}, None, {}, Record("enriched", 0, 0, 0, None, b"{}"), "web")
        assert step(message) is None
        assert message.headers["routes"] == (b"crm,lake" if name == "e7" else b"lake")


@given(JSON)
def test_no_value_makes_it_raise(body: object) -> None:
    """Any JSON value gets an outcome, and all its reasons are registered."""
    workspace = _workspace(_destination(events=("Order Completed",), filters=(Filter('event = "x"'),)), _destination("off", enabled=False))
    outcome, _, withheld = _route(workspace, body)
    assert outcome is None or outcome == Dead("not_an_object")
    assert {reason for _, reason in withheld} <= REASONS.keys()
