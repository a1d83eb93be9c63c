"""`headrace replay`, on a cluster in memory: what a dry run counts, what a job is, and what is refused."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from pipeline.model.record import Output
from pipeline.model.times import time_text
from pipeline.runtime.brokers.memory import MemoryBroker
from pipeline.runtime.clock import SystemClock
from pipeline.testing import event
from tests.unit.app.cli.commands import Shell

START = ("replay", "--from", "-1h", "--destination", "crm")


@pytest.fixture
def shop(shell: Shell, cluster: MemoryBroker) -> Shell:
    """A shell with a workspace, a tool, and three enriched events."""
    shell.run("init", "--name", "shop")
    shell.run("source", "add", "web")
    shell.run("destination", "add", "webhook", "--id", "crm", "--set", "url=https://crm.example/hook")
    assert 0 == shell.run("apply").status

    async def write() -> None:
        events = [event(messageId=f"m-{number}", event=name) for number, name in enumerate(("Even", "Odd", "Even"))]
        cluster.append([Output("shop.enriched", b"k", orjson.dumps(one), (("source", b"web"), ("config", b"1")), 0) for one in events])

    asyncio.run(write())
    return shell


def jobs_written(cluster: MemoryBroker) -> int:
    """Count the records of the topic `jobs`."""
    return sum(len(records) for records in cluster.log("shop.jobs"))


def test_a_dry_run_counts_and_writes_nothing(shop: Shell, cluster: MemoryBroker) -> None:
    """Requests by target, of the events that the options choose."""
    said = shop.run(*START, "--event", "Even", "--dry-run", "--json").json
    assert (True, {"crm": 2}, "m-0", "m-2") == (said["dry_run"], said["destinations"], said["first"]["message_id"], said["last"]["message_id"])
    assert "this was a dry run" in shop.run(*START, "--dry-run").out
    assert 0 == jobs_written(cluster)


def test_a_job_is_started_listed_and_shown(shop: Shell) -> None:
    """It is named by its id, or the beginning of it."""
    started = shop.run(*START, "--rate", "5", "--json").json
    assert (True, ["crm"], 5, 3) == (started["new"], started["job"]["destinations"], started["job"]["rate"], started["job"]["offsets"])
    ident = started["job"]["id"]
    assert [(ident, "running", 3)] == [(one["id"], one["state"], one["left"]) for one in shop.run("replay", "list", "--json").json]
    shown = shop.run("replay", "show", ident[:6])
    assert f"job {ident} is running: 0 % of 3 offsets of enriched" in shown.out
    assert "for crm; reads everything; at most 5 events a second" in shown.out


def test_a_job_is_paused_resumed_and_cancelled(shop: Shell) -> None:
    """Each command says the state that it leads to; what has been cancelled is not resumed."""
    ident = shop.run(*START, "--json").json["job"]["id"]
    states = [shop.run("replay", command, ident, "--json").json["state"] for command in ("pause", "resume", "cancel")]
    assert ["paused", "running", "cancelled"] == states
    refused = shop.run("replay", "resume", ident)
    assert (1, True) == (refused.status, ident in refused.err)


def test_the_same_job_is_not_made_twice(shop: Shell, cluster: MemoryBroker) -> None:
    """Asked for with the same bounds, it is there already, and nothing is written."""
    now = time_text(SystemClock().now_ms())
    bounds = ("replay", "--from", "2026-01-01T00:00:00Z", "--to", now, "--destination", "crm", "--json")
    first, second = shop.run(*bounds).json, shop.run(*bounds).json
    assert (first["job"]["id"], True, False) == (second["job"]["id"], first["new"], second["new"])
    assert 1 == jobs_written(cluster)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("replay",), "--from is missing"),
        (("replay", "--from", "-1h"), "for whom?"),
        (("replay", "--from", "-1h", "--destination", "cmr"), "did you mean crm?"),
        (("replay", "--from", "soon", "--destination", "crm"), "--from"),
        (("replay", "show", "nothing"), "there is no job nothing"),
    ],
)
def test_what_cannot_be_meant_is_wrong_use(shop: Shell, arguments: tuple[str, ...], problem: str) -> None:
    """The message names the option or the job, and what to write."""
    done = shop.run(*arguments)
    assert (2, True) == (done.status, problem in done.err), done.err
