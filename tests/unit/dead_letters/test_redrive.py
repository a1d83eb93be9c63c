"""Where a letter goes, and with which headers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.dead_letters import Stays, Way, read_letter, way_back
from pipeline.model.record import Record
from pipeline.model.topology import Processor, Topology
from pipeline.model.workspace import Destination, Storage, Workspace

TOPOLOGY = Topology(
    "t",
    {
        "validate": Processor("validate", "raw", steps=("validate", "dedup")),
        "enrich": Processor("enrich", "validated", steps=("enrich",)),
        "translate": Processor("translate", "routed", steps=("translate",), for_each="destination"),
        "lake": Processor("lake", "routed", kind="lake", for_each="storage"),
    },
)
SHOP = Workspace(
    "shop",
    destinations={"crm": Destination("crm", "webhook"), "mail": Destination("mail", "webhook", enabled=False)},
    storage={"lake": Storage("lake", "parquet")},
)


def way(stage: str, headers: dict[str, str], key: bytes | None = b"k", value: bytes | None = b"{}") -> Way | Stays:
    """Decide where a letter goes."""
    pairs = tuple((name, text.encode()) for name, text in headers.items())
    return way_back(read_letter(Record(f"shop.dead.{stage}", 0, 3, 500, key, value, pairs), "shop"), TOPOLOGY, SHOP)


def test_bytes_key_and_own_headers_stay_and_those_of_the_death_go() -> None:
    """What is added: how often it was redriven, where the record lay, when it first failed and how often it was tried."""
    died = {"dead_topic": "shop.raw", "dead_partition": "1", "dead_offset": "7", "dead_first_failure": "5", "dead_attempt": "2", "dead_reason": "x"}
    found = way("validate", {"source": "web", "received_at": "4", **died, "redriven": "1", "redriven_from": "shop.raw/1/2"})
    assert found == Way(
        "raw",
        b"k",
        b"{}",
        (
            ("source", b"web"),
            ("received_at", b"4"),
            ("redriven", b"2"),
            ("redriven_from", b"shop.raw/1/7"),
            ("dead_first_failure", b"5"),
            ("dead_attempt", b"2"),
        ),
    )


@pytest.mark.parametrize(
    ("stage", "headers", "topic"),
    [
        ("ingest", {}, "raw"),
        ("validate", {"dead_stage": "dedup", "dead_topic": "shop.raw"}, "raw"),
        ("enrich", {"dead_topic": "shop.validated"}, "validated"),
        ("deliver", {"dead_topic": "shop.requests.crm", "dead_destination": "crm"}, "requests.crm.retry"),
        ("deliver", {"destination": "crm"}, "requests.crm.retry"),
        ("translate", {"dead_topic": "shop.routed", "dead_destination": "crm"}, "routed"),
        ("lake", {"dead_topic": "shop.routed", "dead_destination": "lake"}, "routed"),
    ],
)
def test_each_stage_has_its_topic(stage: str, headers: dict[str, str], topic: str) -> None:
    """The one that its processor reads."""
    found = way(stage, headers)
    assert isinstance(found, Way)
    assert topic == found.topic


@pytest.mark.parametrize(
    ("stage", "headers", "why"),
    [
        ("enrich", {"dead_topic": "shop.raw"}, "takes raw through enrich"),
        ("filter", {}, "from no topic"),
        ("deliver", {"dead_destination": "gone"}, "no destination gone"),
        ("deliver", {"dead_destination": "mail"}, "mail is disabled"),
        ("translate", {"dead_topic": "shop.routed", "dead_destination": "gone"}, "no destination gone"),
        ("translate", {"dead_topic": "shop.enriched", "dead_destination": "crm"}, "takes enriched for translate"),
        ("translate", {"dead_topic": "shop.routed", "dead_reason": "mapping_failed", "routes": "crm"}, "for which destination"),
        ("lake", {"dead_topic": "shop.routed", "dead_destination": "barn"}, "no storage barn"),
    ],
)
def test_what_nobody_would_take_stays(stage: str, headers: dict[str, str], why: str) -> None:
    """And says why."""
    found = way(stage, headers)
    assert isinstance(found, Stays)
    assert why in found.why


def test_the_delivery_of_a_webhook() -> None:
    """It is no event: one that nobody vouched for must not become one by being sent again; of one that was proved events are made for `raw`."""
    unproved = {"source": "billing", "webhook": "stripe", "dead_reason": "invalid_signature"}
    found = way("ingest", unproved)
    assert isinstance(found, Stays)
    assert "have its sender send it again" in found.why
    proved = way("ingest", {**unproved, "dead_reason": "mapping_failed", "webhook_headers": "{}"})
    assert isinstance(proved, Way)
    assert "raw" == proved.topic


def test_a_tombstone_stays() -> None:
    """There is nothing in it to judge."""
    assert Stays("it has no value") == way("ingest", {}, value=None)


@pytest.mark.parametrize(
    ("stage", "headers", "routes"),
    [
        ("translate", {"dead_destination": "crm"}, b"crm"),
        ("translate", {"dead_reason": "crashed"}, b"crm,mail"),
        ("lake", {"dead_destination": "lake"}, b"lake"),
    ],
)
def test_an_event_goes_to_those_alone_that_went_without(stage: str, headers: dict[str, str], routes: bytes) -> None:
    """One destination or storage, or every destination where one processor for all of them crashed."""
    found = way(stage, {"dead_topic": "shop.routed", "routes": "crm,lake,mail", **headers})
    assert isinstance(found, Way)
    assert [routes] == [value for name, value in found.headers if name == "routes"]


def test_a_request_begins_its_tries_anew() -> None:
    """And one that died while it waited for a retry gets its event's key back."""
    waiting = {"attempt": "3", "first_attempt": "1", "not_before": "2", "dead_topic": "shop.retry.10s", "dead_destination": "crm"}
    found = way("deliver", waiting, key=b"crm/ada/b")
    assert isinstance(found, Way)
    assert (b"ada/b", ["redriven", "redriven_from", "dead_first_failure"]) == (found.key, [name for name, _ in found.headers])


def test_a_time_of_arrival_is_added_where_there_was_none() -> None:
    """A foreign producer's record came when it first failed, not when it was redriven."""
    found = way("validate", {"dead_topic": "shop.raw", "dead_first_failure": "5"})
    assert isinstance(found, Way)
    assert b"5" == dict(found.headers)["received_at"]


def test_a_topology_without_the_step_takes_nothing() -> None:
    """A letter of another topology stays until that one runs again."""
    letter = read_letter(Record("shop.dead.enrich", 0, 3, 500, b"k", b"{}", (("dead_topic", b"shop.validated"),)), "shop")
    fused = replace(TOPOLOGY, name="fused", processors={"prepare": Processor("prepare", "raw", steps=("validate", "enrich"))})
    assert Stays("no processor of the topology fused takes validated through enrich") == way_back(letter, fused, SHOP)
