"""Laws that hold for every topology: the same outputs, nothing lost or doubled, nothing without a reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.model.ids import partition_of
from pipeline.model.topology import Processor
from pipeline.resources import resource
from pipeline.testing import Driver, event
from tests.topologies.traffic import SECRETS, WORKSPACE, examples, feed

DEFAULT, FUSED = (resource("topologies") / f"{name}.yaml" for name in ("default", "fused"))
BOTH = pytest.mark.parametrize("topology", [DEFAULT, FUSED], ids=["default", "fused"])


@pytest.fixture(scope="module")
def fed() -> Iterator[dict[Path, tuple[Driver, int]]]:
    """Both topologies, fed with the same traffic, and how many records that was."""
    with Driver(DEFAULT, WORKSPACE, secrets=SECRETS) as default, Driver(FUSED, WORKSPACE, secrets=SECRETS) as fused:
        drivers = {DEFAULT: default, FUSED: fused}
        yield {path: (driver, feed(driver)) for path, driver in drivers.items()}


def topics_of(driver: Driver, *prefixes: str) -> set[str]:
    """Name the topics that begin in one of these ways."""
    return {name.removeprefix("shop.") for name in driver.broker.topics() if name.removeprefix("shop.").startswith(prefixes)}


def at_work(driver: Driver) -> list[Processor]:
    """Give the processors that read their input without being asked to: all but that of the replay jobs."""
    return [processor for processor in driver.topology.processors.values() if processor.kind != "replay"]


def test_both_topologies_give_the_same_bytes(fed: dict[Path, tuple[Driver, int]]) -> None:
    """What lies in routed, requests.* and dead.* is the same, record by record, whichever topology wrote it."""
    default, fused = fed[DEFAULT][0], fed[FUSED][0]
    topics = topics_of(default, "routed", "requests.", "dead.")
    assert topics == topics_of(fused, "routed", "requests.", "dead.")
    for topic in sorted(topics):
        assert default.read(topic) == fused.read(topic), topic
    assert len(default.read("routed")) > 900
    assert len(default.read("dead.validate")) > 10
    assert len(default.read("requests.crm")) > 900


@BOTH
def test_every_input_ends_once(fed: dict[Path, tuple[Driver, int]], topology: Path) -> None:
    """For each processor: in = passed + dropped + dead + blocked, and in is what lies in its input, from the ledger alone."""
    driver, written = fed[topology]
    driver.advance(1)
    for processor in at_work(driver):
        totals = driver.totals(processor.name)
        assert totals["in"] == totals["passed"] + totals["dropped"] + totals["dead"] + totals["blocked"], processor.name
        inputs = {"destination": WORKSPACE.destinations, "storage": WORKSPACE.storage}.get(processor.for_each, [""])
        topics = [processor.input.replace("{destination}", name) for name in inputs]
        expected = sum(len(driver.read(topic)) for topic in topics if "{" not in topic)
        assert totals["in"] == expected, processor.name
    first = next(iter(driver.topology.processors))
    assert driver.totals(first)["in"] == written + driver_rekeyed(driver)


def driver_rekeyed(driver: Driver) -> int:
    """Count what validate wrote back to raw."""
    return sum(entry["lanes"].get("raw", 0) for entry in driver.ledger())


@BOTH
def test_nothing_is_left_over_from_first_to_last(fed: dict[Path, tuple[Driver, int]], topology: Path) -> None:
    """Raw less rekeyed, dropped and dead is what is routed; what is routed lies in the lake, once by source and message id."""
    driver, written = fed[topology]
    driver.advance(1)
    steps = [processor.name for processor in driver.topology.processors.values() if processor.kind == "steps" and processor.name != "translate"]
    ended = sum(driver.totals(name)["dropped"] + driver.totals(name)["dead"] for name in steps)
    assert 0 == written - ended - len(driver.read("routed"))
    rows = driver.rows("lake")
    assert len(driver.read("routed")) == len(rows) + driver.totals("lake")["dead"] + driver.totals("lake")["dropped"]
    assert len(rows) == len({(row["source"], row["id"]) for row in rows}) if "source" in rows[0] else len({row["id"] for row in rows})


@BOTH
def test_every_request_was_sent_once(fed: dict[Path, tuple[Driver, int]], topology: Path) -> None:
    """Each record of requests.* is one request at the tool and one delivery."""
    driver, _ = fed[topology]
    requests = [record for topic in topics_of(driver, "requests.") for record in driver.read(topic)]
    assert len(requests) == len(driver.http.requests) == len(driver.read("deliveries"))


@BOTH
def test_examples_twice_are_examples_once(topology: Path) -> None:
    """Every example of the schemas, written a second time, adds nothing to any output."""
    with Driver(topology, WORKSPACE, secrets=SECRETS) as driver:
        bodies = [body for _, body in examples()]
        assert len(bodies) > 80
        outputs = ("routed", "requests.crm", "requests.orders", "requests.quiet", "deliveries")
        for _ in range(2):
            for body in bodies:
                driver.send(body, source="web")
            driver.advance(1)
        once = len({body["messageId"] for body in bodies})
        assert [] == driver.read("dead.validate")
        assert once == len(driver.read("routed")) == len(driver.rows("lake"))
        assert once == len(driver.read("requests.crm"))
        first = next(iter(driver.topology.processors))
        assert 2 * len(bodies) - once == driver.totals(first)["dropped"]
        assert all(driver.read(topic) for topic in outputs)


@BOTH
def test_copies_meet_wherever_they_were_put(topology: Path) -> None:
    """A message without key in each wrong partition, and once under its key, is one row and one request."""
    body = event(anonymousId="ada")
    own = partition_of(b"ada", 4)
    with Driver(topology, WORKSPACE, secrets=SECRETS) as driver:
        for partition in range(4):
            driver.write("raw", None, body, {"source": b"web"}, partition=partition)
        driver.write("raw", b"ada", body, {"source": b"web"})
        driver.write("raw", b"someone else", body, {"source": b"web"})
        driver.advance(1)
        assert [(b"ada", own)] == [(record.key, record.partition) for record in driver.read("routed")]
        assert 1 == len(driver.rows("lake"))
        assert 1 == len(driver.read("requests.crm"))
        assert {own} == {record.partition for record in driver.read("raw") if dict(record.headers).get("rekeyed")}


@BOTH
def test_foreign_headers_stop_nothing(topology: Path) -> None:
    """Headers that the pipeline knows, null, absurd or from the future, written to raw by a foreign producer, hold nothing up."""
    known = ("source", "received_at", "config", "traceparent", "replay", "rekeyed", "routes", "attempt", "destination", "exact_json", "dead_reason")
    with Driver(topology, WORKSPACE, secrets=SECRETS) as driver:
        for number, value in enumerate((None, b"", b"9" * 5000, b"\xff", b"99")):
            headers = {**dict.fromkeys(known, value), "source": b"web"}
            driver.write("raw", b"ada", event(anonymousId="ada", messageId=f"m-{number}"), headers)
            driver.run_until_idle()
        driver.write("raw", b"ada", event(anonymousId="ada", writeKey="key-of-web", messageId="m-5"), {"source": None})
        driver.advance(10)  # the version from the future is waited for once, for five seconds
        driver.advance(1)
        assert 6 == len(driver.read("routed")) == len(driver.rows("lake"))
        assert 6 == len([request for request in driver.http.requests if "crm" in request.url])


@BOTH
@pytest.mark.parametrize("when", ["before commit", "after commit"])
def test_crashes_everywhere_change_no_output(topology: Path, when: str) -> None:
    """Whatever processor is cut off at whichever side of its commit, each event comes out once."""
    with Driver(topology, WORKSPACE, secrets=SECRETS) as driver:
        for number in range(12):
            for processor in at_work(driver):
                driver.crash(processor.name, "before commit" if when == "before commit" else "after commit", lose_state=number % 2 == 0)
            driver.send(event(anonymousId=f"a-{number % 5}", messageId=f"m-{number}"), source="web")
            driver.send(event(anonymousId=f"a-{number % 5}", messageId=f"m-{number}"), source="web")
            driver.advance(2)
        assert 12 == len(driver.read("routed")) == len(driver.rows("lake")) == len(driver.read("requests.crm"))
        for processor in at_work(driver):
            totals = driver.totals(processor.name)
            assert totals["in"] == totals["passed"] + totals["dropped"] + totals["dead"] + totals["blocked"]
