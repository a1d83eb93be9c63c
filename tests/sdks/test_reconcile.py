"""What compares the SDKs' calls with what came out is itself able to find a fault."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sdks import script
from tests.sdks.clients import CLIENTS, Client
from tests.sdks.reconcile import reconcile

OF = {client.folder: client for client in CLIENTS}
CALLS = script.calls("p", rounds=1)


def arrived(client: Client) -> list[dict[str, Any]]:
    """Make the messages that come out of a run in which nothing goes wrong."""
    return [dict(call) for call in map(client.kept, CALLS) if call is not None]


@pytest.mark.parametrize("folder", ["segment_python", "segment_node", "segment_go", "segment_kotlin"])
def test_what_arrives_whole_is_clean(folder: str) -> None:
    """As many are sent as the SDK has calls, all are stored and equal."""
    stored = arrived(OF[folder])
    result = reconcile(OF[folder], CALLS, stored, gave_up=(), prefix="p")
    assert (result.sent, result.stored, result.equal, result.clean) == (len(stored), len(stored), len(stored), True)


def test_a_lost_a_doubled_a_changed_and_a_strange_message_are_found() -> None:
    """Each is named; what the SDK gave up is not lost."""
    stored = arrived(OF["segment_python"])
    stored[3]["event"] = "Another"
    stored[4]["properties"] = {"n": 1.0}
    strange = {"type": "track", "messageId": "p-9-9"}
    result = reconcile(OF["segment_python"], CALLS, [*stored[2:], stored[5], strange], gave_up=("p-0-0",), prefix="p")
    assert (result.missing, result.gave_up, result.doubled, result.unknown) == (["p-0-1"], ["p-0-0"], ["p-0-5"], ["p-9-9"])
    assert (result.different, result.clean) == (["p-0-3/event", "p-0-4/properties"], False)


def test_a_call_is_found_by_its_own_id_where_the_sdk_makes_another() -> None:
    """RudderStack's browser SDK gives each message an id of its own."""
    calls = [{"messageId": "p-0", "type": "track", "event": "A", "properties": {"big": 2**53 + 1, "none": None}}]
    stored = [{"messageId": "x", "type": "track", "event": "A", "properties": {"big": 2**53}, "context": {"callId": "p-0"}}]
    result = reconcile(OF["rudder_browser"], calls, stored, gave_up=(), prefix="p")
    assert (result.clean, result.ids) == (True, frozenset({"x"}))


def test_times_are_compared_as_times() -> None:
    """Each language writes them in its way; the time that a caller gave is the original one, or stays where the SDK names its own."""
    calls = [{"messageId": "p-0", "timestamp": "2026-11-01T10:20:30.456Z", "properties": {"at": script.AT}}]
    for times in (
        {"timestamp": "2026-11-01T10:20:30.999Z", "originalTimestamp": "2026-11-01T11:20:30.456+01:00"},
        {"timestamp": "2026-11-01T10:20:30.456Z", "originalTimestamp": "2026-11-24T00:00:00.000Z"},
    ):
        stored = [{"messageId": "p-0", **times, "properties": {"at": "2026-02-03T04:05:06.789000+00:00"}}]
        assert reconcile(OF["segment_python"], calls, stored, gave_up=(), prefix="p").clean
