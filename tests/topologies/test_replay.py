"""Replay jobs on whole topologies in memory: to the targets that they name, exactly once, with the ids of live requests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import orjson
import pytest

from pipeline.app.cli.audit import Range, examine
from pipeline.model import headers as names
from pipeline.model.workspace import Destination, Source, Storage, Workspace
from pipeline.replay.board import wanted_record
from pipeline.replay.jobs import Job
from pipeline.resources import resource
from pipeline.runtime.http.memory import an_answer
from pipeline.testing import Driver, event

EVENTS = 12
CRM = Destination("crm", "webhook", ("web",), settings={"url": "https://crm.example/hook"})
NEW = Destination("new", "webhook", ("web",), settings={"url": "https://new.example/hook"})
SHOP = Workspace(
    "shop",
    sources={"web": Source("web"), "app": Source("app")},
    destinations={"crm": CRM},
    storage={"lake": Storage("lake", "parquet", ("web",), settings={"path": "lake"})},
)


@pytest.fixture(params=["default", "fused"])
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """Twelve events of which the last is for nobody, all gone their live way."""
    with Driver(resource("topologies") / f"{request.param}.yaml", SHOP) as driver:
        for number in range(EVENTS - 1):
            driver.send(event(event="Even" if number % 2 == 0 else "Odd", messageId=f"m-{number}", anonymousId=f"a-{number % 5}"), source="web")
        driver.send(event(event="Even", messageId="m-app", anonymousId="a-1"), source="app")
        driver.run_until_idle()
        driver.advance(2)
        yield driver


def a_job(driver: Driver, topic: str = "", **fields: object) -> Job:
    """Make a job over all that lies in a topic: by default, the one that the topology's jobs read."""
    topic = topic or next(one.input for one in driver.topology.processors.values() if one.kind == "replay")
    job = Job(topic, 0, 1, driver.spans(topic), created_ms=driver.clock.now_ms())
    return replace(job, rate=1e6, **fields)  # type: ignore[arg-type]  # any of its fields


def ids(driver: Driver, topic: str) -> list[str]:
    """Idempotency ids of requests, sorted."""
    return sorted(orjson.loads(record.value or b"{}")["id"] for record in driver.read(topic))


def run(driver: Driver, job: Job) -> None:
    """Run a job to its end."""
    driver.replay(job)
    driver.run_until_idle()
    driver.advance(10)


def test_a_job_sends_again_with_the_ids_of_live_requests(driver: Driver) -> None:
    """Each request once, marked with the job; the same bodies; delivered; a second run of it adds nothing."""
    job = a_job(driver, destinations=("crm",))
    run(driver, job)
    live, again = driver.read("requests.crm"), driver.read("requests.crm.replay")
    assert EVENTS - 1 == len(live)
    assert sorted((record.key, record.value) for record in live) == sorted((record.key, record.value) for record in again)
    assert {job.id.encode()} == {dict(record.headers)[names.REPLAY] for record in again}
    assert 2 * (EVENTS - 1) == len(driver.http.requests)
    run(driver, job)
    assert EVENTS - 1 == len(driver.read("requests.crm.replay"))
    assert 0 == driver._asyncio.run(examine(driver.broker, "shop", driver.topology, Range(None, None))).residue  # the loop that it runs on


def test_a_new_destination_gets_past_events_and_nobody_else_does(driver: Driver) -> None:
    """Also those that were for nobody then, from raw; with what its source and name select."""
    driver.apply(replace(SHOP, destinations={"crm": CRM, "new": replace(NEW, sources=("web", "app"))}))
    run(driver, a_job(driver, "raw", destinations=("new",), events=("Even",)))
    assert 7 == len(driver.read("requests.new.replay"))
    assert [] == driver.read("requests.crm.replay")
    assert [] == driver.read("requests.new")
    run(driver, a_job(driver, "raw", destinations=("new",), events=("Even",), sources=("app",)))
    assert 8 == len(driver.read("requests.new.replay"))


def test_raw_again_gives_what_came_of_it(driver: Driver) -> None:
    """Validate and enrich judge again; dedup does not; a record that was sent back under its key counts once."""
    driver.write("raw", b"elsewhere", event(event="Odd", messageId="m-x", anonymousId="a-7"), {"source": b"web"}, partition=0)
    driver.run_until_idle()
    run(driver, a_job(driver, "raw", destinations=("crm",)))
    assert ids(driver, "requests.crm") == ids(driver, "requests.crm.replay")
    assert [] == driver.read("dead.validate")


def test_a_job_adds_to_the_lake_what_it_lacks(driver: Driver) -> None:
    """One row for each message id, whatever is replayed, and from where."""
    before = sorted(row["id"] for row in driver.rows("lake"))
    assert EVENTS - 1 == len(before)
    run(driver, a_job(driver, storages=("lake",)))
    assert before == sorted(row["id"] for row in driver.rows("lake"))
    driver.apply(replace(SHOP, storage={"lake": replace(SHOP.storage["lake"], sources=("web", "app"))}))
    driver.advance(2)
    for _ in range(2):
        run(driver, a_job(driver, "raw", storages=("lake",)))
        assert sorted([*before, "m-app"]) == sorted(row["id"] for row in driver.rows("lake"))
    assert 0 == driver._asyncio.run(examine(driver.broker, "shop", driver.topology, Range(None, None))).residue  # the loop that it runs on


@pytest.mark.parametrize("when", ["before commit", "after commit"])
def test_a_crash_neither_loses_nor_doubles_a_request(driver: Driver, when: str) -> None:
    """A job goes on where its last transaction ended."""
    job = a_job(driver, destinations=("crm",), storages=("lake",))
    driver.broker.crashes[f"shop.replay.{job.id}"] = when  # type: ignore[assignment]  # one of the two moments
    run(driver, job)
    assert ids(driver, "requests.crm") == ids(driver, "requests.crm.replay")
    assert EVENTS - 1 == len({row["id"] for row in driver.rows("lake")}) == len(driver.rows("lake"))


def test_a_paused_job_waits_and_a_cancelled_one_ends(driver: Driver) -> None:
    """At a slow rate one is paused on its way, resumed, and cancelled."""
    job = replace(a_job(driver, destinations=("crm",)), rate=0.4)
    driver.replay(job)
    driver.run_until_idle()
    begun = len(driver.read("requests.crm.replay"))
    assert 0 < begun < EVENTS - 1
    for state, grows in (("paused", False), ("running", True), ("cancelled", False)):
        driver.write("jobs", *wanted_record(job.id, state, 0))  # type: ignore[arg-type]  # one of the states
        driver.run_until_idle()
        before = len(driver.read("requests.crm.replay"))
        driver.advance(12)
        assert grows == (len(driver.read("requests.crm.replay")) > before)


def test_what_a_tool_refuses_for_now_comes_back_as_replay(driver: Driver) -> None:
    """A retry of a replayed request never goes before live ones."""
    answers = iter((503, 503))
    driver.http.answering = lambda _request: an_answer(next(answers, 200))  # the answers of all tools from here on
    run(driver, a_job(driver, destinations=("crm",)))
    driver.advance(120)
    assert [] == driver.read("requests.crm.retry")
    assert EVENTS - 1 + 2 == len(driver.read("requests.crm.replay"))
    assert 0 == driver._asyncio.run(examine(driver.broker, "shop", driver.topology, Range(None, None))).residue  # the loop that it runs on


def test_a_sink_of_requests_outside_the_transaction_is_caught(driver: Driver) -> None:
    """A job whose offsets are lost writes everything again: the tests above can fail."""
    job = a_job(driver, destinations=("crm",))
    run(driver, job)
    other = replace(job, end_ms=2)  # the same range under another name, as a job without a memory would be
    run(driver, other)
    assert ids(driver, "requests.crm") != ids(driver, "requests.crm.replay")
