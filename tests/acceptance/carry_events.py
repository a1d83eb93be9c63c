"""Uses a fresh clone as a new user would, and checks that every event arrives once, with equal values, and that nothing is unaccounted for.

    make acceptance
    python -m tests.acceptance.carry_events --calls 1000 --json report.json

Needs git, make, npm, node and kcat, and segment-analytics-python in this Python. Prints a line for each check; the exit code is not 0 if one failed.
"""

from __future__ import annotations

import argparse
import json  # stored messages hold integers beyond 64 bits
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import duckdb
import orjson

from tests.acceptance.checks import Checks
from tests.acceptance.conservation import Counts, laws, read_counts
from tests.acceptance.installation import Installation, request
from tests.acceptance.malformed import expected_reasons
from tests.acceptance.sent import TABLES, compare
from tests.acceptance.traffic import NODE, SUCCESS, Sent, send_all
from tests.sdks.installing import install
from tests.sdks.reconcile import comparable

REPOSITORY: Final = Path(__file__).parents[2]
CURL: Final = """curl -u demo: http://127.0.0.1:7070/v1/track -d '{"userId":"u1","event":"Hello"}'"""
"""What `headrace up` shows, should the README show no command."""
OTHERS: Final = ("kafka", "receiver")
"""What stands for other people's systems, and counts nothing for us."""
SETTLE_SECONDS: Final = 240
"""Longest wait until everything is stored and delivered: the receiver refuses 2 % of all requests, and these are retried after 10 s and 1 min."""


def first_event(one: Installation, checks: Checks) -> dict[str, str]:
    """Send the first event of the README; give its message id, and the name of the event."""
    text = (one.clone / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.search(r"^\s*\$?\s*(curl .*/v1/.*)$", text, re.MULTILINE)
    command = (found[1] if found else CURL).replace(":7070", f":{one.port}")
    answer = one.output(["bash", "-c", command.replace("curl ", "curl --silent --show-error ", 1)])
    answered = time.monotonic()
    checks.equal("the README's curl" if found else "curl", orjson.loads(answer), SUCCESS)
    ids: list[dict[str, Any]] = []
    while not ids and time.monotonic() - answered < 30:
        ids = one.headrace("query", "select id, event_text from tracks")
    checks.check("it is in the lake", len(ids) == 1, f"{time.monotonic() - answered:.1f} s after its 200, a query of up to a second included")
    return {row["id"]: row["event_text"] for row in ids}


def counts_of(one: Installation, ports: dict[str, int]) -> Counts:
    """Read the metrics of all processes that have some."""
    pages = [request(port, "GET", "/metrics") for name, port in ports.items() if name not in OTHERS]
    return read_counts(page.body.decode() for page in pages if page.status == 200)


def settle(one: Installation, ports: dict[str, int], sent: Sent, *, events: int, delivered: int, orders: int) -> None:
    """Wait until everything is stored and delivered, or the time is over."""
    end = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < end:
        receipts = one.receipts()
        if receipts["/crm"]["distinct"] >= delivered and receipts["/orders"]["distinct"] >= orders:
            counts = counts_of(one, ports)
            if counts.rows >= events and all(law.left == law.right for law in laws(counts, foreign=sent.foreign)):
                return
        time.sleep(1)


def check_lake(one: Installation, sent: Sent, others: dict[str, str], checks: Checks) -> None:
    """Every message once, with equal values; also in the files, which views could hide."""
    stored = [json.loads(row["message_json"]) for table in TABLES for row in one.headrace("query", f"select message_json from {table}")]  # noqa: S608 (our own names)
    given = {message_id: comparable(call) for message_id, call in sent.calls.items()}
    found = compare(given, map(comparable, stored), others=frozenset(others))
    checks.equal("messages in the lake", len(stored), len(sent.calls) + len(others))
    checks.check("none missing", not found.missing, ", ".join(found.missing[:5]))
    checks.check("none twice", not found.doubled, ", ".join(found.doubled[:5]))
    checks.check("none that nobody sent", not found.unknown, ", ".join(found.unknown[:5]))
    checks.check("all with equal values", not found.different, ", ".join(found.different[:5]))
    files = f"{one.home}/lake/**/*.parquet"
    rows = duckdb.execute("select count(*) from read_parquet(?, union_by_name = true, hive_partitioning = false)", [files]).fetchone()
    checks.equal("rows in the lake's files", rows[0] if rows else 0, len(sent.calls) + len(others))


def check_webhooks(one: Installation, expected: dict[str, set[str]], checks: Checks) -> None:
    """Every message once at each tool that it is for."""
    receipts = one.receipts("?ids=1")
    for tool, message_ids in expected.items():
        got = receipts[f"/{tool}"]
        made = {
            line["value"]["id"]: line["headers"]["message_id"]
            for line in one.headrace("tail", f"requests.{tool}", "--from", "beginning", "--until", "now")
        }
        arrived = Counter(made.get(identifier, "?") for identifier in got["ids"])
        figures = f"{got['total']} accepted, {got['distinct']} distinct, {got['duplicates']} repeated, answered {got['answered']}"
        checks.check(
            f"{tool}: each of {len(message_ids)} messages once", arrived == Counter(message_ids) and got["total"] == len(message_ids), figures
        )
        checks.equal(f"{tool}: requests with a wrong signature", got["unverified"], 0)


def check_accounts(one: Installation, ports: dict[str, int], sent: Sent, checks: Checks) -> None:
    """Dead letters by reason, and conservation."""
    dead = Counter({(row["processor"], row["reason"]): row["open"] for row in one.headrace("dead", "list")["dead"]})
    expected = expected_reasons()
    wrong = {
        f"{stage}/{reason}": dead[stage, reason] for stage, reason in dead.keys() | expected.keys() if dead[stage, reason] != expected[stage, reason]
    }
    checks.check(f"{expected.total()} dead letters for {len(expected)} reasons", not wrong, str(wrong) if wrong else "")
    without = [name for name, port in ports.items() if name not in OTHERS and request(port, "GET", "/metrics").status != 200]
    checks.check("metrics on every process", not without, f"none: {', '.join(without)}" if without else "")
    counts = counts_of(one, ports)
    checks.equal(
        "dead letters of the collector, in its metrics", counts.dead, sum(count for (stage, _), count in expected.items() if stage == "ingest")
    )
    checks.equal("duplicates dropped", sum(count for (_, reason), count in counts.reasons.items() if reason == "duplicate"), sent.duplicates)
    for law in laws(counts, foreign=sent.foreign):
        checks.check(law.name, law.left == law.right, f"{law.left} = {law.right}" if law.left == law.right else f"{law.left} ≠ {law.right}")


def check_end(one: Installation, checks: Checks) -> None:
    """Ctrl-C ends everything."""
    seconds, left = one.interrupt()
    checks.check("Ctrl-C ends everything within 20 s", seconds <= 20 and not left, f"{seconds:.1f} s{', left: ' if left else ''}{', '.join(left)}")
    checks.check("nothing answers any more", request(one.port, "GET", "/health/ready").status == 0)


def carry(one: Installation, start: list[str], node: Sequence[str], calls: int, folder: Path, checks: Checks) -> None:
    """Start a topology, send everything, and check everything."""
    seconds = one.start(*start)
    checks.note(f"ready {seconds:.1f} s after `{' '.join(start)}`")
    others = first_event(one, checks)
    ports = one.ports
    began = time.monotonic()
    sent = send_all(one, node, calls, folder, checks)
    names = others | {message_id: call.get("event", "") for message_id, call in sent.calls.items()}
    elsewhere = {message_id for message_id, call in sent.calls.items() if (call.get("integrations") or {}).get("All") is False}
    delivered = names.keys() - elsewhere
    orders = {message_id for message_id in delivered if names[message_id] == "Order Completed"}
    settle(one, ports, sent, events=len(names), delivered=len(delivered), orders=len(orders))
    checks.note(f"sent, stored and delivered, with retries, in {time.monotonic() - began:.0f} s")
    check_lake(one, sent, others, checks)
    check_webhooks(one, {"crm": set(delivered), "orders": orders}, checks)
    check_accounts(one, ports, sent, checks)
    check_end(one, checks)


def main() -> int:
    """Run all of it.

    Returns:
        0 if every check passed.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10_000, help="SDK calls to each topology (10,000)")
    parser.add_argument("--port", type=int, default=7070, help="the collector's port (7070)")
    parser.add_argument("--json", type=Path, help="file for the report")
    parser.add_argument("--only", choices=("default", "fused"), help="only this topology")
    arguments = parser.parse_args()
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="headrace-acceptance-") as name:
        folder = Path(name)
        clone = folder / "headrace"
        runs = {topology: Installation(clone, arguments.port, folder / topology) for topology in ("default", "fused")}
        checks.part("A fresh clone")
        runs["default"].clone = folder
        runs["default"].output(["git", "clone", "--quiet", str(REPOSITORY), str(clone)])
        runs["default"].clone = clone
        node = install(NODE, folder / NODE.folder)
        try:
            if arguments.only != "fused":
                carry(runs["default"], ["make", "run"], node, arguments.calls, folder / "sent", checks)
                start_again(runs["default"], checks)
            if arguments.only != "default":
                checks.part("The same with topologies/fused.yaml")
                runs["fused"].output(["make", "env"])
                carry(runs["fused"], [".venv/bin/headrace", "up", "--topology", "fused"], node, arguments.calls, folder / "sent-fused", checks)
        except (OSError, RuntimeError) as error:
            checks.check("every command works", passed=False, figures=str(error))
        finally:
            for run in runs.values():
                run.end()
    return checks.finish(arguments.json)


def start_again(one: Installation, checks: Checks) -> None:
    """A second start is quick and finds what was there."""
    checks.part("A second start")
    before = [row["n"] for row in one.headrace("query", "select count(*) as n from tracks")]
    seconds = one.start("make", "run")
    checks.note(f"ready {seconds:.1f} s after `make run`")
    checks.equal("tracks in the lake, as before", [row["n"] for row in one.headrace("query", "select count(*) as n from tracks")], before)
    others = one.headrace("query", "select id from tracks")
    answer = request(one.port, "POST", "/v1/track", orjson.dumps({"writeKey": "demo", "userId": "kafka", "event": "Again", "messageId": "kafka-1"}))
    fresh = request(one.port, "POST", "/v1/track", orjson.dumps({"writeKey": "demo", "userId": "kafka", "event": "Later", "messageId": "later"}))
    checks.equal("answers", (answer.status, fresh.status), (200, 200))
    end = time.monotonic() + 30
    while len(others) < before[0] + 1 and time.monotonic() < end:
        others = one.headrace("query", "select id from tracks")
    checks.check("a message from before is still a duplicate, a new one is stored", len(others) == before[0] + 1, f"{len(others)} tracks")
    check_end(one, checks)


if __name__ == "__main__":
    sys.exit(main())
