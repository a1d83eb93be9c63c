"""Where an event got to."""

from typing import Any

import orjson
import pytest

from pipeline.app.live.facts import About, Fact, Place
from pipeline.app.live.graph import Shape, Stage
from pipeline.app.live.ledgers import Ledgers
from pipeline.app.live.recent import Recent, Seen
from pipeline.app.live.trail import GRACE_MS, Trail, as_detail, as_row, trail
from pipeline.model.ledger import Row, Tally, Verdict, ledger_value
from pipeline.model.workspace import Destination, Storage, Workspace

ABOUT = About("web", "track", "Signed Up", "u-1", 1000)
WAY = Shape(
    (Stage("validate", "raw", "validated"), Stage("filter", "validated", "routed")),
    ("translate", True),
    "deliver",
    ("lake",),
)
WORKSPACE = Workspace(
    "shop", 1, destinations={"crm": Destination("crm", "webhook"), "ads": Destination("ads", "webhook")}, storage={"lake": Storage("lake", "parquet")}
)
RAW = Fact("m", "event", Place("raw", 0, 5), 1001, ABOUT)
VALIDATED = Fact("m", "event", Place("validated", 0, 6), 1002, ABOUT)
ROUTED = Fact("m", "event", Place("routed", 0, 7), 1003, ABOUT, routes=("crm", "lake"))
REQUEST = Fact("m", "request", Place("requests.crm", 0, 8), 1004, ABOUT, destination="crm", mapping="all")


def attempt(number: int, outcome: str, status: int, *, mapping: str = "all") -> Fact:
    """Make a try of the destination crm."""
    return Fact(
        "m",
        "attempt",
        Place("deliveries", 0, number),
        1005 + number,
        ABOUT,
        destination="crm",
        mapping=mapping,
        outcome=outcome,
        status=status,
        attempt=number,
    )


def ledgers(*records: tuple[str, str, int, Verdict, str, str]) -> Ledgers:
    """Read ledger records of (processor, topic, offset, verdict, reason, destination) of the event, at 2000."""
    result = Ledgers()
    for processor, topic, offset, verdict, reason, destination in records:
        tally = Tally()
        tally.rows[Row("web", "track", "Signed Up", verdict, reason, destination)] += 1
        value = ledger_value(tally, processor=processor, topic=topic, partition=0, start=offset, end=offset + 1, at_ms=2000)
        body: dict[str, Any] = orjson.loads(value)
        result.add(body, "validate")
    return result


def told(*facts: Fact, by: Ledgers | None = None, now_ms: int = 2000 + GRACE_MS) -> tuple[Seen, Trail]:
    """Tell the way of an event of which these facts were seen."""
    recent = Recent(("raw", "validated"))
    for fact in facts:
        recent.add(fact, b'{"messageId":"m"}' if fact.kind == "event" else None)
    seen = recent.get("m")
    assert seen is not None
    return seen, trail(seen, WAY, by or Ledgers(), WORKSPACE, now_ms)


def states(way: Trail) -> list[tuple[str, str]]:
    """Give stages and states of the common way."""
    return [(stop.stage, stop.state) for stop in way.stops]


def test_on_its_way() -> None:
    """What no stage has taken yet waits for the next one."""
    _, way = told(RAW)
    assert [("collector", "passed"), ("validate", "waiting")] == states(way)


def test_delivered_and_stored() -> None:
    """A whole way: both stages, the request, the try, and the lake's transaction."""
    seen, way = told(RAW, VALIDATED, ROUTED, REQUEST, attempt(1, "delivered", 200), by=ledgers(("lake.lake", "routed", 7, "passed", "", "lake")))
    assert [("collector", "passed"), ("validate", "passed"), ("filter", "passed")] == states(way)
    assert {"crm": "delivered", "ads": "withheld", "lake": "stored"} == {target.id: target.state for target in way.targets}
    assert [
        {"id": "crm", "kind": "destination", "state": "delivered", "status": 200},
        {"id": "lake", "kind": "storage", "state": "stored", "status": 0},
    ] == (as_row(seen, way)["to"])
    assert orjson.loads(orjson.dumps(as_detail(seen, way)))["body"] == '{"messageId":"m"}'


def test_order_of_arrival_does_not_matter() -> None:
    """Topics are read independently of each other: the way is the same in whatever order they come."""
    facts = [RAW, VALIDATED, ROUTED, REQUEST, attempt(1, "delivered", 200)]
    _, forwards = told(*facts)
    _, backwards = told(*reversed(facts))
    assert forwards == backwards


@pytest.mark.parametrize(
    ("attempts", "state", "status"),
    [
        ([attempt(1, "retried", 500)], "retrying", 500),
        ([attempt(1, "retried", 500), attempt(2, "delivered", 200)], "delivered", 200),
        ([attempt(1, "retried", 500), attempt(2, "dead", 400)], "dead", 400),
        ([attempt(1, "parked", 401)], "parked", 401),
        ([attempt(1, "delivered", 200), attempt(2, "retried", 503, mapping="second")], "retrying", 503),
        ([], "waiting", 0),
    ],
)
def test_state_of_a_destination(attempts: list[Fact], state: str, status: int) -> None:
    """The last try of each mapping says where things stand, the worst of them for all."""
    _, way = told(RAW, VALIDATED, ROUTED, REQUEST, *attempts)
    assert (state, status) == (way.targets[0].state, way.targets[0].status)


def test_dropped_in_the_middle() -> None:
    """Nothing is written of a dropped event; the transaction that took it says why."""
    _, way = told(RAW, VALIDATED, by=ledgers(("filter", "validated", 6, "dropped", "no_route", "")))
    assert [("collector", "passed"), ("validate", "passed"), ("filter", "dropped")] == states(way)
    assert ("no_route",) == way.stops[-1].reasons


def test_a_fresh_transaction_means_nothing_yet() -> None:
    """Its outputs may be on their way to the page, so for a moment the event waits."""
    by = ledgers(("filter", "validated", 6, "dropped", "no_route", ""))
    assert ("filter", "waiting") == states(told(RAW, VALIDATED, by=by, now_ms=2000 + GRACE_MS - 1)[1])[-1]


def test_reasons_of_others_do_not_count() -> None:
    """A transaction that dropped other events says nothing about this one."""
    by = Ledgers()
    tally = Tally()
    tally.rows[Row("web", "track", "Other", "dropped", "duplicate")] += 1
    by.add(orjson.loads(ledger_value(tally, processor="validate", topic="raw", partition=0, start=5, end=6, at_ms=0)), "validate")
    assert ("validate", "waiting") == states(told(RAW, by=by)[1])[-1]


def test_why_a_destination_was_left_out() -> None:
    """The filter's transaction names destination and reason."""
    _, way = told(RAW, VALIDATED, ROUTED, by=ledgers(("filter", "validated", 6, "withheld", "filtered_by_rules", "ads")))
    assert ("withheld", ("filtered_by_rules",)) == next((one.state, one.reasons) for one in way.targets if one.id == "ads")


def test_no_mapping_matches() -> None:
    """Translate's transaction says why there is no request."""
    _, way = told(RAW, VALIDATED, ROUTED, by=ledgers(("translate.crm", "routed", 7, "dropped", "no_matching_mapping", "")))
    assert ("dropped", ("no_matching_mapping",)) == (way.targets[0].state, way.targets[0].reasons)


def test_dead_letter_ends_the_way() -> None:
    """A dead letter is shown at the stage whose input it was, with reason and detail."""
    dead = Fact("m", "dead", Place("dead.validate", 0, 1), 1002, ABOUT, Place("raw", 0, 5), outcome="validate", reason="id_required", detail="userId")
    _, way = told(RAW, dead)
    assert [("collector", "passed"), ("validate", "dead")] == states(way)
    assert (("id_required",), "userId") == (way.stops[-1].reasons, way.stops[-1].detail)


def test_refused_by_the_collector() -> None:
    """A bad item of a batch never reached raw."""
    dead = Fact("m", "dead", Place("dead.ingest", 0, 1), 1002, ABOUT, outcome="ingest", reason="event_not_defined")
    _, way = told(dead)
    assert [("collector", "dead")] == states(way)


def test_dead_delivery() -> None:
    """A dead request is shown at its destination only."""
    dead = Fact(
        "m", "dead", Place("dead.deliver", 0, 1), 1009, ABOUT, Place("requests.crm", 0, 8), destination="crm", outcome="deliver", reason="rejected"
    )
    _, way = told(RAW, VALIDATED, ROUTED, REQUEST, attempt(1, "dead", 400), dead)
    assert ("dead", ("rejected",), 400) == (way.targets[0].state, way.targets[0].reasons, way.targets[0].status)
    assert "passed" == way.stops[-1].state


def test_copies_are_counted() -> None:
    """A message that came twice is one row with two copies."""
    _, way = told(RAW, RAW._replace(place=Place("raw", 0, 9)), VALIDATED)
    assert 2 == way.copies
