"""What waited for a destination while it changed is translated anew when the destination is resumed, once, and the accounts add up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

import orjson
import pytest

from pipeline.app.cli.audit import Range, examine
from pipeline.app.cli.destination import publish
from pipeline.app.cli.destination_waiting import Waiting, look_at_waiting
from pipeline.assembly import translate_anew
from pipeline.model.workspace import Destination, MappingDeclaration, Source, Workspace
from pipeline.resources import resource
from pipeline.runtime.http.memory import an_answer
from pipeline.runtime.translated_anew import Renewal
from pipeline.testing import Driver, event
from pipeline.translate import idempotency_id

OLD = "https://old.example/"
NEW = "https://new.example/"
CRM = Destination("crm", "webhook", ("web",), settings={"url": OLD})
SHOP = Workspace("shop", sources={"web": Source("web")}, destinations={"crm": CRM})


def changed(url: str = NEW, trigger: str = 'type = "track"', order: Literal["key", "user"] = "key") -> Workspace:
    """Declare another crm: another address, and a body of the event's name alone."""
    mapping = MappingDeclaration("send", trigger, {"name": {"@path": "$.event"}})
    return replace(SHOP, destinations={"crm": replace(CRM, settings={"url": url}, mappings=(mapping,), order=order)})


@pytest.fixture(params=["default", "fused"])
def topology(request: pytest.FixtureRequest) -> str:
    """Each topology in turn."""
    return str(request.param)


@contextmanager
def running(topology: str = "default", workspace: Workspace = SHOP) -> Iterator[Driver]:
    """Run a topology; at its end the audit finds nothing missing."""
    with Driver(resource("topologies") / f"{topology}.yaml", workspace) as driver:
        yield driver
        driver.advance(5)
        report = driver._asyncio.run(examine(driver.broker, "shop", driver.topology, Range(None, None)))
        assert (True, 0) == (report.whole, report.residue)


def command(driver: Driver, *, parked: bool, as_sent: bool = False) -> None:
    """Park or resume crm, and let the processors work until nothing is left to do."""
    driver._asyncio.run(publish(driver.broker, "shop", "crm", parked=parked, as_sent=as_sent))
    driver.advance(2)


def send(driver: Driver, *numbers: int) -> None:
    """Send events of one device, m-<number> by id."""
    for number in numbers:
        driver.send(event(event=f"E{number}", messageId=f"m-{number}", anonymousId="a"), source="web")
    driver.advance(1)


def sent(driver: Driver) -> list[tuple[str, str, str]]:
    """Give the id, address and event name of each request that was sent."""
    result = []
    for request in driver.http.requests:
        body = orjson.loads(request.body)
        result.append((request.headers["webhook-id"], request.url, body.get("event") or body["name"]))
    return result


def request(number: int, url: str) -> tuple[str, str, str]:
    """Say what is to be sent for an event."""
    return idempotency_id("web", f"m-{number}", "send"), url, f"E{number}"


def look(driver: Driver, workspace: Workspace, below: int) -> Waiting:
    """Say what resuming would do."""
    renewal = Renewal(driver.broker, translate_anew(workspace), "crm", below)
    return driver._asyncio.run(look_at_waiting(driver.broker, "shop", "crm", "deliver.crm", renewal))


def outcomes(driver: Driver) -> dict[str, float]:
    """Give what translating anew came to."""
    name = "headrace_translated_anew_total"
    return {labels[-1]: count for (metric, labels), count in driver.metrics.sums.items() if metric == name}


@pytest.mark.parametrize(("as_sent", "url"), [(False, NEW), (True, OLD)])
def test_what_waited_is_translated_anew_unless_it_is_to_go_as_it_was(topology: str, url: str, *, as_sent: bool) -> None:
    """Each goes once, in order and under the same id, and what was rendered after the change is left alone."""
    with running(topology) as driver:
        command(driver, parked=True)
        send(driver, 1, 2)
        driver.apply(changed())
        send(driver, 3)
        assert [] == driver.http.requests
        waiting = look(driver, changed(), 2)
        assert {("translated anew", ""): 2, ("as rendered", ""): 1} == waiting.lines
        assert waiting.change is not None
        assert (OLD.encode() in waiting.change.before, NEW.encode() in waiting.change.after) == (True, True)
        command(driver, parked=False, as_sent=as_sent)
        assert [request(1, url), request(2, url), request(3, NEW)] == sent(driver)
        assert ({} if as_sent else {"translated_anew": 2}) == outcomes(driver)
        assert not look(driver, changed(), 2).lines


@pytest.mark.parametrize("status", [401, 410, 503])
def test_what_a_tool_that_took_nothing_left_waiting_is_translated_anew_once_it_is_declared_anew(status: int) -> None:
    """It parked itself, is gone, or is down: the new address gets everything by `apply` alone, once, and the old one no more."""
    with running() as driver:
        driver.http.answering = lambda request: an_answer(status if request.url == OLD else 200)
        send(driver, *range(1, 31))
        tried = len(driver.http.requests)
        assert {OLD} == {request.url for request in driver.http.requests}
        driver.apply(changed())
        driver.advance(120)
        assert {NEW} == {one.url for one in driver.http.requests[tried:]}
        assert sorted(request(number, NEW) for number in range(1, 31)) == sorted(sent(driver)[tried:])


def test_what_it_was_declared_anew_for_goes_as_it_was_where_a_person_says_so() -> None:
    """A tool that is gone is so under its new declaration too; resumed as sent, it gets what waits as it was rendered for the old one."""
    with running() as driver:
        driver.http.answering = lambda _request: an_answer(410)
        send(driver, 1, 2, 3)
        driver.apply(changed())
        driver.advance(1)
        assert [request(1, OLD), request(1, NEW)] == sent(driver)
        driver.http.answering = lambda _request: an_answer(200)
        command(driver, parked=False, as_sent=True)
        assert [request(1, NEW), request(2, OLD), request(3, OLD)] == sent(driver)[2:]


def test_what_a_person_parked_waits_for_a_person() -> None:
    """Declared anew while it is parked by command, it gets nothing until it is resumed."""
    with running() as driver:
        command(driver, parked=True)
        send(driver, 1)
        driver.apply(changed())
        driver.advance(1)
        assert [] == driver.http.requests


def test_what_a_retry_and_a_dead_letter_hold_is_what_was_sent() -> None:
    """A request that fails after it was translated anew is tried again, and dies, with its new body; it is translated anew once."""
    with running() as driver:
        command(driver, parked=True)
        send(driver, 1)
        driver.apply(changed())
        driver.http.answering = lambda _request: an_answer(503 if len(driver.http.requests) < 2 else 400)
        command(driver, parked=False)
        driver.advance(60)
        assert [request(1, NEW)] * 2 == sent(driver)
        (letter,) = driver.read("dead.deliver")
        assert NEW.encode() in (letter.value or b"")
        assert (b"2", {"translated_anew": 1}) == (dict(letter.headers)["config"], outcomes(driver))


def test_what_today_makes_no_request_of_goes_to_dead_letters(topology: str) -> None:
    """The mapping takes other events now: the request is kept whole as it was, says why, and the others go on."""
    with running(topology) as driver:
        command(driver, parked=True)
        send(driver, 1, 2)
        driver.apply(changed(trigger='event = "E2"'))
        command(driver, parked=False)
        assert [request(2, NEW)] == sent(driver)
        (letter,) = driver.read("dead.deliver")
        headers = dict(letter.headers)
        assert (b"mapping_failed", True) == (headers["dead_reason"], OLD.encode() in (letter.value or b""))
        assert b"No mapping of the destination has a trigger that matches." in headers["dead_detail"]


def test_what_has_outlived_its_event_goes_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost for an event that is no longer kept, and it is counted."""

    async def none(*_: object) -> dict[str, object]:
        return {}

    monkeypatch.setattr("pipeline.runtime.translated_anew.read_events", none)
    with running() as driver:
        command(driver, parked=True)
        send(driver, 1)
        driver.apply(changed())
        command(driver, parked=False)
        assert ([request(1, OLD)], {"event_expired": 1}) == (sent(driver), outcomes(driver))


def test_a_change_that_changes_no_request_sends_the_same_bytes() -> None:
    """Another rate is another version of the destination, and makes the same requests."""
    with running() as driver:
        command(driver, parked=True)
        send(driver, 1)
        driver.apply(replace(SHOP, destinations={"crm": replace(CRM, rate=50.0)}))
        command(driver, parked=False)
        assert ([request(1, OLD)], {"unchanged": 1}) == (sent(driver), outcomes(driver))


def test_what_is_held_in_order_is_translated_anew_too() -> None:
    """With `order: user` what waits behind a failed request goes after it, each with its new body."""
    with running(workspace=replace(SHOP, destinations={"crm": replace(CRM, order="user")})) as driver:
        driver.http.answering = lambda _request: an_answer(503)
        send(driver, 1, 2)
        command(driver, parked=True)
        driver.apply(changed(order="user"))
        assert {("translated anew", ""): 2} == look(driver, changed(order="user"), 2).lines
        driver.http.answering = lambda _request: an_answer()
        driver.http.requests.clear()
        command(driver, parked=False)
        driver.advance(60)
        assert [request(1, NEW), request(2, NEW)] == sent(driver)


def test_a_crash_after_resuming_sends_what_was_not_committed_again_under_the_same_id(topology: str) -> None:
    """The command and the change survive it: the next owner translates anew as well."""
    with running(topology) as driver:
        command(driver, parked=True)
        send(driver, 1)
        driver.apply(changed())
        driver.crash("deliver.crm", "before commit")
        command(driver, parked=False)
        driver.advance(30)
        assert {request(1, NEW)} == set(sent(driver))
