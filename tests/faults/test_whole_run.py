"""The whole product under load while each of its processes is killed again and again: nothing lost, doubled or unaccounted for.

HEADRACE_FAULT_KILLS says how often each process is killed (3); HEADRACE_FAULT_REPORT names a file for a report.
"""

from __future__ import annotations

import asyncio
import os
import platform
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.app.local.kafka import free_port
from pipeline.runtime.brokers.kafka import KafkaBroker
from tests.acceptance.conservation import read_counts
from tests.acceptance.installation import Installation, request
from tests.faults.http_load import HttpLoad
from tests.faults.whole_run_accounts import Ledger, ledger_laws, read_ledger, stored_ids

pytestmark = [pytest.mark.faults, pytest.mark.integration]

REPOSITORY = Path(__file__).parents[2]
HEADRACE = [sys.executable, "-m", "pipeline.app.cli"]
KILLS = int(os.environ.get("HEADRACE_FAULT_KILLS", "3"))
RATE = 400
SETTLE_SECONDS = 180
SPARED = ("kafka", "receiver")
"""Kafka's own crashes are not what this is about, and the receiver is somebody else's tool."""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Installation]:
    """Give a whole run of this tree, with retries ten times as fast as they are."""
    one = Installation(REPOSITORY, free_port(), tmp_path / "home", HEADRACE)
    try:
        one.start(*HEADRACE, "up", "--time-scale", "0.1")
        yield one
    finally:
        one.end()


def kill_each(one: Installation, times: int) -> Counter[str]:
    """Kill every process so many times with SIGKILL, each only after it has come back and taken records again.

    Args:
        one: The run.
        times: How often.

    Returns:
        Kills by process.
    """
    chance = random.Random(times)  # noqa: S311 (when something is killed need not be secret)
    kills: Counter[str] = Counter()
    killed: set[int] = set()
    end = time.monotonic() + 60 * times
    while time.monotonic() < end:
        processes = {process["name"]: process for process in one.run["processes"] if process["name"] not in SPARED}
        if all(kills[name] >= times for name in processes):
            return kills
        for name, process in processes.items():
            if kills[name] < times and process["pid"] not in killed and _works(process):
                os.kill(process["pid"], signal.SIGKILL)
                killed.add(process["pid"])
                kills[name] += 1
                time.sleep(chance.uniform(0.1, 1.0))  # so that kills are spread over each other's recoveries
        time.sleep(0.2)
    return kills


def _works(process: dict[str, Any]) -> bool:
    """Whether it has taken records since it was started, so that a kill hits work and not a start."""
    page = request(process["port"], "GET", "/metrics")
    if page.status != 200:
        return False
    counts = read_counts([page.body.decode()])
    return bool(counts.inputs.total() or counts.accepted)


def ledger_of(one: Installation) -> Ledger:
    """Read the ledger."""
    return read_ledger(line["value"] for line in one.headrace("tail", "ledger", "--from", "beginning", "--until", "now"))


async def count_committed(bootstrap: str, topic: str) -> int:
    """Count the committed records of a topic."""
    count = 0
    async for records in KafkaBroker(bootstrap).reader().read(topic):
        count += len(records)
    return count


def settle(one: Installation, lake: Path, messages: int, orders: int) -> float:
    """Wait until everything is stored and delivered and the accounts are closed; give the seconds that it took."""
    began = time.monotonic()
    while time.monotonic() - began < SETTLE_SECONDS:
        receipts = one.receipts()
        if receipts["/crm"]["distinct"] >= messages and receipts["/orders"]["distinct"] >= orders and stored_ids(lake).total() >= messages:
            raw = asyncio.run(count_committed(one.run["bootstrap"], f"{one.run['workspace']}.raw"))
            if all(law.left == law.right for law in ledger_laws(ledger_of(one), raw=raw)):
                break
        time.sleep(1)
    return time.monotonic() - began


def check_webhook(one: Installation, tool: str, expected: set[str]) -> str:
    """Every message at least once, and every repeat with the id of the first time."""
    got = one.receipts("?ids=1")[f"/{tool}"]
    lines = one.headrace("tail", f"requests.{tool}", "--from", "beginning", "--until", "now")
    message_of = {line["value"]["id"]: line["headers"]["message_id"] for line in lines}
    arrived = Counter(message_of.get(identifier, "unknown") for identifier in got["ids"])
    assert expected - arrived.keys() == set(), f"lost at {tool}"
    assert arrived == Counter(expected), f"not one id for each message at {tool}"
    assert got["unverified"] == 0
    return (
        f"{tool}: {len(expected)} messages, {got['total']} accepted, {got['duplicates']} of them repeats with an equal id, answered {got['answered']}"
    )


def write_report(lines: list[str]) -> None:
    """Write a dated report where one is wanted."""
    print("\n".join(lines))
    path = os.environ.get("HEADRACE_FAULT_REPORT")
    if path:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
        head = ["# Whole run under kill -9", "", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}", ""]
        target.write_text("\n".join([*head, *(f"- {line}" for line in lines), ""]), encoding="utf-8")


def test_a_whole_run_loses_and_doubles_nothing_while_its_processes_are_killed(run: Installation, tmp_path: Path) -> None:
    """SIGKILL to each process of the run, several times under load, leaves each acknowledged event once in the lake and every account closed."""
    load = HttpLoad(run.port, rate=RATE, record=tmp_path / "acknowledged", seed=1)
    load.start()
    began = time.monotonic()
    try:
        kills = kill_each(run, KILLS)
    finally:
        load.stop()
    seconds = time.monotonic() - began
    acknowledged = load.acknowledged()
    assert acknowledged == load.events.keys(), "each event was acknowledged in the end"
    assert min(kills.values()) >= KILLS, f"not every process came back in time: {kills}"
    lake = run.home / "lake"
    orders = {message_id for message_id, event in load.events.items() if event["event"] == "Order Completed"}
    settled = settle(run, lake, len(acknowledged), len(orders))

    stored = stored_ids(lake)
    assert acknowledged - stored.keys() == set(), "lost in the lake"
    assert [message_id for message_id, count in stored.items() if count > 1] == [], "doubled in the lake"
    assert stored.keys() - acknowledged == set(), "invented in the lake"
    webhooks = [check_webhook(run, "crm", acknowledged), check_webhook(run, "orders", orders)]
    assert run.headrace("dead", "list")["dead"] == []
    raw = asyncio.run(count_committed(run.run["bootstrap"], f"{run.run['workspace']}.raw"))
    ledger = ledger_of(run)
    assert ledger.overlaps == []
    laws = ledger_laws(ledger, raw=raw)
    assert [law for law in laws if law.left != law.right] == []
    ending, left = run.interrupt()
    assert left == []
    write_report(
        [
            f"{len(acknowledged)} events acknowledged and {load.copies} sent again, {len(acknowledged) / seconds:.0f} events/s for {seconds:.0f} s",
            f"{kills.total()} kills: {', '.join(f'{name} {count}' for name, count in sorted(kills.items()))}",
            f"answers of the collector: {dict(sorted(load.answers.items()))} (0: no answer; sent again)",
            f"lake: {stored.total()} rows, {len(stored)} messages; lost 0, doubled 0, invented 0",
            *webhooks,
            f"raw: {raw} records, {ledger.reasons['validate', 'duplicate']} dropped as duplicates",
            *(f"{law.name}: {law.left} = {law.right}, residue {law.left - law.right}" for law in laws),
            f"everything stored, delivered and accounted for {settled:.0f} s after the last event; Ctrl-C took {ending:.1f} s",
        ]
    )
