"""A replay job whose process is killed again and again beside live traffic: each request and each row once."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.app.local.kafka import free_port
from tests.acceptance.installation import Installation, request

pytestmark = [pytest.mark.integration, pytest.mark.faults]

REPOSITORY = Path(__file__).parents[2]
HEADRACE = (sys.executable, "-m", "pipeline.app.cli")
KILLS = 5
SECONDS = 120


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Installation]:
    """A run of this tree with some traffic behind it."""
    installation = Installation(REPOSITORY, free_port(), tmp_path / "home", HEADRACE)
    installation.start(*HEADRACE, "up")
    demo(installation, 10)
    yield installation
    installation.end()


def demo(one: Installation, seconds: int) -> None:
    """Send a shop's traffic."""
    one.run_command([*HEADRACE, "demo", "--rate", "60", "--seconds", str(seconds)])


def lake(one: Installation) -> dict[str, Any]:
    """Rows and checksum of the lake."""
    (found,) = one.headrace("offsets", "show", "lake.lake")["groups"]
    contents: dict[str, Any] = found["store"]
    return contents


def settled(one: Installation) -> None:
    """Wait until the lake has what was routed and no job runs."""
    end = time.monotonic() + SECONDS
    before: Any = None
    while time.monotonic() < end:
        running = [job for job in one.headrace("replay", "list") if job["state"] == "running"]
        now = (lake(one), request(one.run["receiver"], "GET", "/receipts").body)
        if not running and now == before:
            return
        before = now
        time.sleep(2)
    raise AssertionError("it did not come to rest")


def written(one: Installation, topic: str, job: str = "") -> Counter[str]:
    """Count the ids of requests, without retries that came back."""
    found: Counter[str] = Counter()
    for line in one.headrace("tail", topic, "--from", "beginning", "--until", "now"):
        if line["headers"].get("replay", "") == job and "attempt" not in line["headers"]:
            found[line["value"]["id"]] += 1
    return found


def test_a_job_that_is_killed_writes_each_request_once(one: Installation) -> None:
    """Killed on its way while live events come, a job is at its end what it would have been; a second run of it adds nothing."""
    settled(one)
    to = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
    time.sleep(1.5)
    live, range_of_time = written(one, "requests.crm"), ("--from", "2020-01-01", "--to", to)
    started = one.headrace("replay", *range_of_time, "--destination", "crm", "--storage", "lake", "--rate", "40")
    job = started["job"]["id"]
    kills = 0
    while kills < KILLS and next(each for each in one.headrace("replay", "list") if each["id"] == job)["state"] == "running":
        demo(one, 1)
        with suppress(ProcessLookupError):  # it has not been started again yet
            os.kill(one.pid_of("replay"), signal.SIGKILL)
            kills += 1
    assert kills > 1
    settled(one)
    assert live == written(one, "requests.crm.replay", job)
    assert {1} == set(live.values())
    before = lake(one)
    assert not one.headrace("replay", *range_of_time, "--destination", "crm", "--storage", "lake", "--rate", "40")["new"]
    settled(one)
    assert live == written(one, "requests.crm.replay", job)
    assert before == lake(one)
    receipts = orjson.loads(request(one.run["receiver"], "GET", "/receipts").body)["/crm"]
    assert len(written(one, "requests.crm")) == receipts["distinct"]
    assert 0 == one.headrace("audit")["residue"]
