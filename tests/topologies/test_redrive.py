"""Dead letters go back to where they are judged anew: each once, to those alone that went without, and the accounts add up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from pipeline.app.cli.audit import Range, examine
from pipeline.app.cli.deadletters_choice import read_in_force
from pipeline.dead_letters import Choice
from pipeline.model.outcomes import Outcome
from pipeline.model.record import Message, Record
from pipeline.model.workspace import Destination, MappingDeclaration, Source, Storage, Workspace
from pipeline.ports.broker import BrokerError
from pipeline.resources import resource
from pipeline.runtime.http.memory import an_answer
from pipeline.runtime.redrive import Redriver, Summary
from pipeline.testing import Driver, event

CRM = Destination("crm", "webhook", ("web",), settings={"url": "https://crm.example/"})
MAIL = Destination("mail", "webhook", ("web",), settings={"url": "https://mail.example/"})
LAKE = Storage("lake", "parquet", ("web",), settings={"path": "lake"})
SHOP = Workspace("shop", sources={"web": Source("web")}, destinations={"crm": CRM, "mail": MAIL}, storage={"lake": LAKE})
BROKEN = replace(CRM, mappings=(MappingDeclaration("send", 'type = "track"', {"@path": "$.properties.nothing"}),))
ALL = Choice()
STRICT = {"type": "object", "properties": {"properties": {"type": "object", "required": ["price"]}}}


@pytest.fixture(params=["default", "fused"])
def topology(request: pytest.FixtureRequest) -> str:
    """Each topology in turn."""
    return str(request.param)


def with_crm(crm: Destination) -> Workspace:
    """Declare another crm."""
    return replace(SHOP, destinations={**SHOP.destinations, "crm": crm})


def start(topology: str, workspace: Workspace = SHOP) -> Driver:
    """Run a topology."""
    return Driver(resource("topologies") / f"{topology}.yaml", workspace)


def redrive(driver: Driver, choice: Choice = ALL, **options: Any) -> Summary:  # noqa: ANN401 (as the function takes them)
    """Redrive letters, and let the processors work until nothing is left to do."""

    async def work() -> Summary:
        in_force = await read_in_force(driver.broker, "shop", driver.topology)
        assert in_force is not None
        as_sent = options.pop("as_sent", False)
        return await Redriver(driver.broker, in_force, driver.clock, as_sent=as_sent).redrive(choice, **options)

    summary: Summary = driver._asyncio.run(work())
    driver.run_until_idle()
    return summary


def residue(driver: Driver) -> int:
    """Audit the run."""
    report = driver._asyncio.run(examine(driver.broker, "shop", driver.topology, Range(None, None)))
    assert report.whole
    return report.residue


def ids(records: list[Record]) -> list[str]:
    """Give the message ids of events."""
    return [orjson.loads(record.value or b"{}")["messageId"] for record in records]


def sent(driver: Driver) -> list[tuple[str, str]]:
    """Give the tool and the message id of each request that was sent."""
    return [(request.url.removeprefix("https://"), orjson.loads(request.body)["messageId"]) for request in driver.http.requests]


class Fault:
    """A bug in enrich, while it is there."""

    def __init__(self) -> None:
        self.there = True

    def __call__(self, message: Message) -> Outcome | None:
        """Raise on what is named so."""
        if self.there and message.body.get("event") == "Poison":
            raise KeyError("boom")
        return None


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Fault:
    """Put a bug in enrich."""
    bug = Fault()
    monkeypatch.setattr("pipeline.assembly.steps._enrich", lambda _processor, _workspace: bug)
    return bug


def test_what_broke_a_schema_is_judged_by_the_new_one_and_copies_are_found(topology: str) -> None:
    """Both copies of an event died; redriven, one passes and the other is a duplicate. A second run adds nothing."""
    strict = replace(SHOP, sources={"web": Source("web", schemas={"Sold": STRICT}, on_violation="dead")})
    with start(topology, strict) as driver:
        for _ in range(2):
            driver.send(event(event="Sold", messageId="m-1", properties={}), source="web")
        driver.send(event(event="Sold", messageId="m-2", properties={"price": 1}), source="web")
        driver.advance(5)
        assert (["m-1", "m-1"], ["m-2"]) == (ids(driver.read("dead.validate")), ids(driver.read("routed")))
        driver.apply(SHOP)
        assert {("raw", "judged anew"): 2} == {(line.topic, line.how): count for line, count in redrive(driver).lines.items()}
        assert ["m-2", "m-1"] == ids(driver.read("routed"))
        again = redrive(driver)
        assert (0, 2) == (again.done, again.earlier)
        driver.advance(5)
        assert {"m-1", "m-2"} == {row["id"] for row in driver.rows("lake")}
        assert 0 == residue(driver)


def test_what_a_bug_crashed_on_passes_dedup_once_it_is_mended(topology: str, fault: Fault) -> None:
    """Dedup may have seen the copy that died: redriven it passes all the same, once, and an SDK's retry is still a duplicate."""
    with start(topology) as driver:
        driver.send(event(event="Tick", messageId="m-0"), source="web")
        driver.send(event(event="Poison", messageId="m-1"), source="web")
        driver.advance(1)
        (letter,) = driver.read("dead.enrich")
        assert b"crashed" == dict(letter.headers)["dead_reason"]
        fault.there = False
        assert 1 == redrive(driver).done
        driver.send(event(event="Poison", messageId="m-1"), source="web")
        driver.run_until_idle()
        assert ["m-0", "m-1"] == ids(driver.read("routed"))
        assert 0 == redrive(driver).done
        assert [letter] == driver.read("dead.enrich")
        assert 0 == residue(driver)


def test_a_letter_that_dies_again_keeps_the_time_of_its_first_failure(topology: str, fault: Fault) -> None:
    """It is a new letter that says how often it was redriven; redriven again, it passes dedup again."""
    with start(topology) as driver:
        driver.send(event(event="Tick"), source="web")
        driver.send(event(event="Poison", messageId="m-1"), source="web")
        driver.advance(60)
        assert 1 == redrive(driver).done
        first, second = (dict(letter.headers) for letter in driver.read("dead.enrich"))
        assert first["dead_first_failure"] == second["dead_first_failure"] < second["dead_last_failure"]
        assert (b"1", first["received_at"]) == (second["redriven"], second["received_at"])
        fault.there = False
        summary = redrive(driver)
        assert (1, 1) == (summary.done, summary.earlier)
        assert b"2" == dict(driver.read("routed")[-1].headers)["redriven"]
        assert 2 == len(driver.read("routed"))


def test_a_mapping_that_failed_is_tried_again_for_its_destination_alone(topology: str) -> None:
    """The other tool and the lake, which had the event, do not get it again."""
    with start(topology, with_crm(BROKEN)) as driver:
        driver.send(event(messageId="m-1"), source="web")
        driver.advance(5)
        assert [("mail.example/", "m-1")] == sent(driver)
        driver.apply(SHOP)
        assert 0 == redrive(driver, Choice(destination="mail")).done
        summary = redrive(driver, Choice(stage="translate", destination="crm"))
        assert [("routed", "judged anew")] == [(line.topic, line.how) for line in summary.lines]
        driver.advance(5)
        assert [("mail.example/", "m-1"), ("crm.example/", "m-1")] == sent(driver)
        assert ["m-1"] == [row["id"] for row in driver.rows("lake")]
        assert 0 == redrive(driver).done
        assert 0 == residue(driver)


@pytest.mark.parametrize(("as_sent", "url", "how"), [(False, "new.example/", "translated anew"), (True, "crm.example/", "as sent")])
def test_a_refused_request_is_translated_anew_unless_it_is_to_go_as_it_was(topology: str, url: str, how: str, *, as_sent: bool) -> None:
    """It goes to the tool's requests with the same id, and starts its four hours anew; the other tool hears nothing of it."""
    with start(topology) as driver:
        driver.http.answering = lambda request: an_answer(400 if "crm" in request.url else 200)
        driver.send(event(messageId="m-1"), source="web")
        driver.advance(1)
        driver.http.answering = lambda _request: an_answer()
        driver.apply(with_crm(replace(CRM, settings={"url": "https://new.example/"})))
        before = driver.http.requests[:]
        summary = redrive(driver, dry_run=True)
        assert ([], before) == (driver.read("handled"), driver.http.requests)
        assert 1 == len(summary.changes)
        assert {("requests.crm.retry", how): 1} == {(line.topic, line.how): count for line, count in redrive(driver, as_sent=as_sent).lines.items()}
        (request,) = driver.http.requests[len(before) :]
        (refused,) = [one for one in before if "crm" in one.url]
        assert (url, refused.headers["webhook-id"]) == (request.url.removeprefix("https://"), request.headers["webhook-id"])
        assert 0 == redrive(driver).done
        assert 0 == residue(driver)


def test_what_nothing_has_changed_for_goes_as_it_was(topology: str) -> None:
    """A tool that only had a bad day gets the same bytes; one that refuses them again makes a letter that counts both tries."""
    with start(topology) as driver:
        driver.http.answering = lambda request: an_answer(400 if "crm" in request.url else 200)
        driver.send(event(messageId="m-1"), source="web")
        driver.advance(1)
        assert ["as sent"] == [line.how for line in redrive(driver).lines]
        first, second = driver.read("dead.deliver")
        assert first.value == second.value
        assert (b"1", b"2") == (dict(first.headers)["dead_attempt"], dict(second.headers)["dead_attempt"])


def test_a_letter_without_a_way_stays(topology: str) -> None:
    """A destination that is gone, or whose mapping fails still, gets nothing, and the letter is open until it does."""
    with start(topology) as driver:
        driver.http.answering = lambda _request: an_answer(400)
        driver.send(event(messageId="m-1"), source="web")
        driver.advance(1)
        driver.apply(replace(with_crm(BROKEN), destinations={"crm": BROKEN}))
        summary = redrive(driver)
        assert (0, 2) == (summary.done, summary.stayed)
        assert {"no destination mail is declared", "its mapping fails still: crm/send: the mapping finds nothing in this event"} == {
            line.why for line in summary.lines
        }
        driver.http.answering = lambda _request: an_answer()
        driver.apply(SHOP)
        assert 2 == redrive(driver).done


@pytest.mark.parametrize(("moment", "left"), [("before commit", 1), ("after commit", 0)])
def test_a_run_that_crashes_is_completed_by_the_next(topology: str, fault: Fault, moment: Any, left: int) -> None:  # noqa: ANN401 (a literal)
    """Whether its transaction was stored or lost: afterwards each letter has gone once."""
    with start(topology) as driver:
        driver.send(event(event="Tick", messageId="m-0"), source="web")
        driver.send(event(event="Poison", messageId="m-1"), source="web")
        driver.advance(1)
        fault.there = False
        driver.broker.crashes["shop.dead-letters"] = moment
        with pytest.raises(BrokerError):
            redrive(driver)
        assert left == redrive(driver).done
        assert ["m-0", "m-1"] == ids(driver.read("routed"))
        assert 0 == residue(driver)
