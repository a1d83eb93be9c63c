"""`headrace up` as a whole: an event goes all the way, what is in the way is named, and nothing is left running."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest
from segment.analytics.client import Client

from pipeline.app.local.kafka import free_port
from pipeline.dedup import digest
from tests.acceptance.conservation import read_counts
from tests.acceptance.installation import Installation, request

pytestmark = [pytest.mark.integration, pytest.mark.sdk]

REPOSITORY = Path(__file__).parents[2]
HEADRACE = (sys.executable, "-m", "pipeline.app.cli")


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Installation]:
    """Give a home and a port for a run of this tree; what a test leaves running is stopped."""
    installation = Installation(REPOSITORY, free_port(), tmp_path / "home", HEADRACE)
    yield installation
    installation.end()


def up(one: Installation, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `headrace up` where it cannot start."""
    return one.run_command([*HEADRACE, "up", *arguments])


def track(port: int, message_id: str) -> None:
    """Send one call with the unmodified SDK."""
    errors: list[Any] = []
    client = Client("demo", host=f"http://127.0.0.1:{port}", on_error=lambda error, _items: errors.append(error))
    client.track("u1", "Order Completed", {"order_id": "o1", "total": 2**53 + 1, "text": "Zoë"}, message_id=message_id)
    client.shutdown()
    assert errors == []


def until(found: Any, seconds: float = 30) -> Any:  # noqa: ANN401 (whatever is waited for)
    """Ask again until the answer is something; fail when the time is over."""
    end = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.2)
    return answer


def started_by(one: Installation) -> list[psutil.Process]:
    """List everything that the run has started."""
    return psutil.Process(one.run["pid"]).children(recursive=True)


def stored(one: Installation) -> list[dict[str, Any]]:
    """Read the events from the lake."""
    rows: list[dict[str, Any]] = one.headrace("query", "select id, message_json from tracks where event = 'order_completed'")
    return rows


def test_an_event_goes_all_the_way_and_outlives_the_broker(one: Installation) -> None:
    """An SDK's event reaches lake, tools and metrics; a broker that dies ends the run with a clear message; the next run has the event."""
    one.start(*HEADRACE, "up")
    track(one.port, "first")
    (row,) = until(lambda: stored(one))
    assert row["id"] == "first"
    assert orjson.loads(row["message_json"])["properties"] == {"order_id": "o1", "total": 2**53 + 1, "text": "Zoë"}
    receiver = one.run["receiver"]
    for tool in ("/crm", "/orders"):
        until(lambda tool=tool: orjson.loads(request(receiver, "GET", "/receipts").body)[tool]["total"])
    ports = [process["port"] for process in one.run["processes"] if process["name"] not in ("kafka", "receiver")]
    counts = read_counts(request(port, "GET", "/metrics").body.decode() for port in ports)
    assert (counts.accepted, counts.rows, counts.inputs["validate"], counts.inputs["deliver.crm"]) == (1, 1, 1, 1)

    validate = next(process["port"] for process in one.run["processes"] if process["name"] == "validate")
    known, unknown = (request(validate, "GET", f"/dedup.json?digest={digest('web', name).hex()}") for name in ("first", "never"))
    assert (200, 404, 0) == (known.status, unknown.status, orjson.loads(known.body)["offset"])

    again = up(one)
    assert again.returncode != 0
    assert "is up already" in again.stderr

    processes = started_by(one)
    next(process for process in processes if process.pid == one.pid_of("kafka")).kill()
    status = one.wait(30)
    assert status != 0
    assert "Kafka ended" in one.log.read_text(encoding="utf-8")
    assert psutil.wait_procs(processes, timeout=10)[1] == []

    one.start(*HEADRACE, "up")
    assert [row["id"] for row in stored(one)] == ["first"]
    track(one.port, "first")
    track(one.port, "second")
    until(lambda: len(stored(one)) == 2)
    seconds, left = one.interrupt()
    assert left == []
    assert seconds <= 20
    assert not (one.home / "run.json").exists()


def test_what_is_declared_wrongly_is_said_before_anything_is_started(one: Installation) -> None:
    """A workspace with a fault, or a topology that does not exist, costs no start of a broker and leaves no state."""
    wrong = one.home.parent / "wrong.yaml"
    wrong.write_text("workspace: wrong\nsuorces: []\n")
    done = up(one, "--workspace", str(wrong))
    assert 1 == done.returncode
    assert "wrong.yaml:2:1: suorces" in done.stderr
    assert "there is no topology nosuch" in up(one, "--topology", "nosuch").stderr
    assert not (one.home / "kafka").exists()


def test_a_taken_port_is_named(one: Installation) -> None:
    """A port that something else listens on is named before anything is started."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", one.port))
        taken.listen()
        answer = up(one)
    assert answer.returncode != 0
    assert str(one.port) in answer.stderr
    assert "HEADRACE_PORT" in answer.stderr
    assert not (one.home / "run.json").exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_start_that_is_broken_off_leaves_nothing_running(one: Installation, how: signal.Signals) -> None:
    """SIGINT and even SIGKILL in the middle of a start take everything down that was started."""
    process = one.begin(*HEADRACE, "up")
    until(lambda: len(psutil.Process(process.pid).children()) >= 3)
    processes = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(how)
    process.wait(30)
    assert psutil.wait_procs(processes, timeout=10)[1] == []
