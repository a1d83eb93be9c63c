"""What is said of a delivered, a duplicate, a dead, a withheld, a retried and an unknown event."""

from collections.abc import Iterator
from dataclasses import replace

import orjson
import pytest

from pipeline.app.explain import gathering
from pipeline.explain import Explanation, Finding, Target, as_data
from pipeline.model.workspace import Destination, Filter, MappingDeclaration
from pipeline.ports.http import Answer, Request
from pipeline.replay.jobs import Job
from pipeline.resources import resource
from pipeline.testing import Driver, an_answer, event
from tests.topologies.test_redrive import redrive
from tests.topologies.traffic import SECRETS, WORKSPACE
from tests.unit.app.explain.asked import explain, explainer

FAILING = replace(
    WORKSPACE,
    destinations={
        **WORKSPACE.destinations,
        "only": Destination("only", "webhook", ("web",), settings={"url": "https://only.example/hook"}, events=("Order Completed",)),
        "off": Destination("off", "webhook", ("web",), enabled=False, settings={"url": "https://off.example/hook"}),
    },
)


def _answers(request: Request) -> Answer:
    """Fail the first try of every event named `Unlucky` at the CRM, and refuse `Refused` for good."""
    if b"Refused" in request.body and "crm" in request.url:
        return an_answer(422, b'{"why":"no"}')
    if b"Unlucky" in request.body and "crm" in request.url and request.headers["webhook-id"] not in _tried:
        _tried.add(request.headers["webhook-id"])
        return an_answer(503)
    return an_answer()


_tried: set[str] = set()


@pytest.fixture
def driver() -> Iterator[Driver]:
    """A topology of separate processors, with destinations that withhold in every way."""
    _tried.clear()
    with Driver(resource("topologies") / "default.yaml", FAILING, secrets=SECRETS, answering=_answers) as made:
        yield made


def _sent(driver: Driver, **body: object) -> Explanation:
    sent = event(**body)  # type: ignore[arg-type]  # `type` is a str where it is given
    driver.send(sent, source="web")
    driver.run_until_idle()
    return explain(driver, str(sent["messageId"]))


def _stage(explained: Explanation, step: str) -> Finding:
    return next(one for one in explained.stages if one.step == step)


def _target(explained: Explanation, name: str) -> Target:
    return next(one for one in explained.targets if one.id == name)


def test_a_delivered_event(driver: Driver) -> None:
    """Every stage passed it, each record lies where it is said, and the request is shown with its placeholders."""
    explained = _sent(driver, event="Order Completed", messageId="m-1", properties={"order_id": "o-1", "total": 5})
    assert ["collector", "validate", "dedup", "enrich", "filter"] == [one.step for one in explained.stages]
    assert ("m-1", "web", "track", "Order Completed", True) == (
        explained.message_id,
        explained.source,
        explained.type,
        explained.event,
        explained.same,
    )
    orders = _target(explained, "orders")
    assert ("delivered", [200]) == (orders.state, [one.status for one in orders.attempts])
    assert {"order": "o-1", "total": 5, "text": "Order Completed by "} == orders.mappings[0].request["body"]
    assert "destinations.orders.mappings[0].trigger" in orders.mappings[0].trigger
    assert {"raw/0/0", "validated/0/0", "enriched/0/0", "routed/0/0", "requests.orders/0/0"} <= {str(place) for place in explained.copies}


def test_a_duplicate(driver: Driver) -> None:
    """The first copy went on; the others are named with their places."""
    _sent(driver, messageId="m-2", event="Twice")
    explained = _sent(driver, messageId="m-2", event="Twice")
    dedup = _stage(explained, "dedup")
    assert ("passed", "first seen at raw/0/0; 1 copy of it dropped as duplicate: raw/0/1") == (dedup.verdict, dedup.detail)
    dropped = explain(driver, "raw/0/1")
    assert ("dropped", "duplicate") == (dropped.stages[-1].verdict, dropped.stages[-1].reason)


def test_a_dead_event(driver: Driver) -> None:
    """It never came to dedup: it is found among the dead letters, with its reason, and ends there again."""
    explained = _sent(driver, messageId="m-3", event="Bad", properties=7)
    last = explained.stages[-1]
    assert ("validate", "dead", "properties_not_object", "same") == (last.stage, last.verdict, last.reason, last.compared)
    assert "dead.validate/0/0" in {str(place) for place in explained.copies}
    assert "it died at validate: properties_not_object" == explained.sentence


def test_a_withheld_event(driver: Driver) -> None:
    """Each destination that does not get it names the reason and the very rule."""
    explained = _sent(driver, type="page", messageId="m-4", integrations={"crm": False})
    said = {one.id: (one.state, one.reason, one.rule) for one in explained.targets if one.state not in ("stored", "waiting", "delivered")}
    assert said == {
        "crm": ("withheld", "filtered_by_integrations_object", 'the event\'s own integrations: {"crm": false}'),
        "quiet": ("withheld", "filtered_by_rules", "destinations.quiet.filters[0]: if 'type = \"page\"' then drop"),
        "off": ("withheld", "destination_disabled", "destinations.off.enabled: false"),
        "orders": ("dropped", "no_matching_mapping", ""),
    }
    assert 'event = "Order Completed" is false' in _target(explained, "orders").mappings[0].trigger
    explained = _sent(driver, event="Elsewhere", messageId="m-5")
    assert 'destinations.only.events: ["Order Completed"]' == _target(explained, "only").rule


def test_a_retried_event(driver: Driver) -> None:
    """It says where the next try waits and until when; later, how it went."""
    explained = _sent(driver, event="Unlucky", messageId="m-6")
    crm = _target(explained, "crm")
    assert ("retrying", "retried", 503) == (crm.state, crm.attempts[0].outcome, crm.attempts[0].status)
    assert crm.attempts[0].waits_in is not None
    assert ("retry.10s", True) == (crm.attempts[0].waits_in.topic, crm.attempts[0].until > driver.clock.now_ms())
    driver.advance(20)
    crm = _target(explain(driver, "m-6"), "crm")
    assert ("delivered", [1, 2], [503, 200]) == (crm.state, [one.attempt for one in crm.attempts], [one.status for one in crm.attempts])


def test_a_refused_request(driver: Driver) -> None:
    """The tool's answer is shown, and the dead letter of that destination alone."""
    explained = _sent(driver, event="Refused", messageId="m-7")
    crm = _target(explained, "crm")
    assert ("dead", "rejected", '{"why":"no"}') == (crm.state, crm.reason, crm.attempts[0].answer)
    assert "delivered" == _target(explained, "quiet").state
    assert any(str(place).startswith("dead.deliver/") for place in explained.copies)


def test_a_request_that_was_redriven(driver: Driver) -> None:
    """Refused, mended and given back by a person: the try that succeeded counts, and the request's place is among its copies."""
    explained = _sent(driver, event="Refused", messageId="m-7")
    assert "dead" == _target(explained, "crm").state
    driver.http.answering = lambda _request: an_answer()
    redrive(driver)
    driver.run_until_idle()
    crm = _target(again := explain(driver, "m-7"), "crm")
    assert ("delivered", [422, 200]) == (crm.state, sorted((one.status for one in crm.attempts), reverse=True))
    assert any(place.topic == "requests.crm.retry" for place in again.copies)


def test_a_request_that_was_replayed(driver: Driver) -> None:
    """The job is named at each destination that it sent to again, also at one that the event was not routed to."""
    _sent(driver, event="Order Completed", messageId="m-8", properties={"order_id": "o-8", "total": 5})
    late = Destination("late", "webhook", ("web",), settings={"url": "https://late.example/hook"})
    driver.apply(replace(FAILING, destinations={**FAILING.destinations, "late": late}))
    topic = next(one.input for one in driver.topology.processors.values() if one.kind == "replay")
    job = Job(topic, 0, 1, driver.spans(topic), created_ms=driver.clock.now_ms(), destinations=("orders", "late"), rate=1e6)
    driver.replay(job)
    driver.run_until_idle()
    driver.advance(5)
    explained = explain(driver, "m-8")
    orders, late_one = _target(explained, "orders"), _target(explained, "late")
    assert ("delivered", [200, 200], "delivered", [200]) == (
        orders.state,
        [one.status for one in orders.attempts],
        late_one.state,
        [one.status for one in late_one.attempts],
    )
    assert f"replay job {job.id} made a request of it" in {one.detail for one in orders.findings} & {one.detail for one in late_one.findings}
    assert {"requests.orders.replay/0/0"} <= {str(place) for place in explained.copies}


def test_an_event_for_nobody(driver: Driver) -> None:
    """Filter drops it, and the ledger says the same."""
    nobody = replace(FAILING, destinations={}, storage={})
    driver.apply(nobody)
    explained = _sent(driver, event="Alone", messageId="m-8")
    last = explained.stages[-1]
    assert ("filter", "dropped", "no_route", "same") == (last.step, last.verdict, last.reason, last.compared)


def test_an_event_that_every_destination_leaves_out(driver: Driver) -> None:
    """It is for nobody, and each destination says why."""
    quiet = replace(FAILING.destinations["quiet"], filters=(Filter("true"),))
    driver.apply(replace(FAILING, destinations={"quiet": quiet, "off": FAILING.destinations["off"]}, storage={}))
    explained = _sent(driver, event="Alone", messageId="m-16")
    assert "dropped at filter: no_route" == explained.sentence
    assert {"quiet": "destinations.quiet.filters[0]: if 'true' then drop", "off": "destinations.off.enabled: false"} == {
        one.id: one.rule for one in explained.targets
    }


def test_an_event_is_judged_by_the_version_of_its_time(driver: Driver) -> None:
    """A later version changes nothing of what is said of an earlier event."""
    _sent(driver, type="page", messageId="m-9")
    driver.apply(replace(FAILING, destinations={**FAILING.destinations, "quiet": replace(FAILING.destinations["quiet"], filters=(Filter("true"),))}))
    explained = explain(driver, "m-9")
    assert (True, 1) == (explained.same, _stage(explained, "filter").config)
    assert 'type = "page"' in _target(explained, "quiet").rule


def test_what_differs_is_said(driver: Driver) -> None:
    """A record that the steps do not give again (written by other code, or by hand) is shown with its differences."""
    _sent(driver, event="Order Completed", messageId="m-10", properties={"order_id": "o-1"})
    log = driver.broker.log("shop.requests.orders")[0]
    log[0] = log[0]._replace(value=(log[0].value or b"").replace(b"o-1", b"o-2"))
    explained = explain(driver, "m-10")
    orders = _target(explained, "orders")
    assert (False, "differs") == (explained.same, orders.mappings[0].compared)
    assert [("changed", "/body/order", "o-2", "o-1")] == [tuple(one) for one in orders.mappings[0].differences]


def test_a_later_version_of_a_mapping_is_found(driver: Driver) -> None:
    """A request carries the version that routed its event; where a later one rendered it, that is found and named."""
    first = _sent(driver, event="Order Completed", messageId="m-11", properties={"order_id": "o-1"})
    changed = MappingDeclaration("order", 'type = "track"', {"id": {"@path": "$.properties.order_id"}})
    driver.apply(replace(FAILING, destinations={**FAILING.destinations, "orders": replace(FAILING.destinations["orders"], mappings=(changed,))}))
    routed = driver.read("routed")[-1]
    driver.broker.log("shop.requests.orders")[0].clear()
    driver.write("routed", routed.key, routed.value, dict(routed.headers))
    driver.run_until_idle()
    explained = explain(driver, first.message_id)
    orders = _target(explained, "orders")
    assert 2 == orders.findings[0].config
    assert ["/headers/event_origin"] == [one.path for one in orders.mappings[0].differences]  # the test's own second copy in `routed`


def test_an_unknown_event(driver: Driver) -> None:
    """It says what was looked through."""
    explained = explain(driver, "nobody-sent-this")
    assert (False, "nothing is known of it") == (explained.found, explained.sentence)
    assert any("dedup state of 1 running processes, for the sources app, web" in line for line in explained.searched)
    assert any(line.startswith("raw/3 before the last 24 hours") for line in explained.searched)


def test_without_a_running_process_the_changelog_is_read(driver: Driver) -> None:
    """The packed ids say the same as the processes."""
    answered = _sent(driver, event="Order Completed", messageId="m-12")
    assert answered._replace(searched=()) == explain(driver, "m-12", answers=False)._replace(searched=())


def test_an_id_that_validate_made(driver: Driver) -> None:
    """An event that came without an id is found by the one that it got."""
    driver.write("raw", b"a-1", {"type": "track", "event": "No Id", "anonymousId": "a-1"}, {"source": b"web"})
    driver.run_until_idle()
    made = orjson.loads(driver.read("validated")[-1].value or b"")["messageId"]
    explained = explain(driver, made)
    assert (made, True, "No Id") == (explained.message_id, explained.same, explained.event)


def test_two_sources_with_one_id(driver: Driver) -> None:
    """A message id belongs to its source; `--source` chooses."""
    for source in ("web", "app"):
        driver.send(event(event=f"From {source}", messageId="m-13"), source=source)
    driver.run_until_idle()
    assert ["From web", "From app"] == [explain(driver, "m-13", source).event for source in ("web", "app")]


def test_no_secret_is_shown(driver: Driver) -> None:
    """Placeholders stay placeholders, and a write key in an event's body is hidden."""
    driver.write("raw", b"a-1", {**event(messageId="m-14"), "writeKey": "key-of-web"})
    driver.run_until_idle()
    made = explainer(driver, secrets=SECRETS)
    text = str(as_data(driver._asyncio.run(made.explain("m-14"))))  # the driver's own loop
    assert "'m-14'" in text
    for secret in ("key-of-web", *SECRETS.values()):
        assert secret not in text


def test_what_was_not_looked_through_is_said(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where more lies behind the range that was read, the explanation names both."""
    monkeypatch.setattr(gathering, "FORWARD", 2)
    for number in range(40):
        driver.send(event(event="Unlucky", messageId=f"before-{number}", anonymousId="a"), source="web")
    driver.run_until_idle()
    topic = next(one.input for one in driver.topology.processors.values() if one.kind == "replay")
    driver.replay(Job(topic, 0, 1, driver.spans(topic), created_ms=driver.clock.now_ms(), destinations=("crm",), rate=1e6))
    driver.run_until_idle()
    driver.advance(5)
    explained = explain(driver, "before-0")
    assert any("requests.crm.replay/" in text and "where more may lie" in text for text in explained.given_up)
