"""Uses a fresh clone as the owner of a running shop does afterwards: audits, explains, previews, replays in three ways, redrives, parks, and kills.

    python -m tests.acceptance.look_back --json report.json

Needs git and make. Prints a line for each check; the exit code is not 0 if one failed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.acceptance.checks import Checks
from tests.acceptance.installation import Installation, request

REPOSITORY: Final = Path(__file__).parents[2]
SETTLE_SECONDS: Final = 180
"""Longest wait until everything is stored and delivered: the receiver refuses 2 % of all requests, and these are retried after 10 s and 1 min."""
EXPLAIN_SECONDS: Final = 2.0
"""What an explanation may take beside the start of the command itself."""


def until(condition: Callable[[], bool], seconds: float = SETTLE_SECONDS) -> bool:
    """Wait until something is so; says whether it came to be."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(RuntimeError, KeyError):
            if condition():
                return True
        time.sleep(0.5)
    return False


def lake(one: Installation) -> tuple[int, int, int]:
    """Give rows, distinct ids and a checksum over the ids of the lake's tracks."""
    row = one.headrace("query", "select count(*) n, count(distinct id) d, coalesce(sum(hash(id) % 1000000007), 0)::bigint c from tracks")[0]
    return int(row["n"]), int(row["d"]), int(row["c"])


def idle(one: Installation) -> bool:
    """Say whether every group has read all there is."""
    return all(group["lag"] == 0 for process in one.headrace("status")["processes"] for group in process.get("groups", ()))


def send_shop(one: Installation, checks: Checks) -> None:
    """Let the shop send for a while, and wait until all of it has arrived."""
    sent = one.headrace("demo", "--rate", "50", "--seconds", "30")
    checks.note(f"the shop sent {sent['sent']} events, {sent.get('duplicate', 0)} of them duplicates")
    checks.check("everything was read", until(lambda: idle(one)))
    before = (0, 0)

    def quiet() -> bool:
        nonlocal before
        receipts = one.receipts()
        now = (receipts["/crm"]["total"], receipts["/orders"]["total"])
        same, before = now == before, now
        time.sleep(12)  # the shortest retry delay: what has not come by then waits for a longer one
        return same

    until(quiet)


def check_audit(one: Installation, checks: Checks) -> None:
    """The ledger accounts for everything."""
    report = one.headrace("audit")
    checks.equal("audit: residue", report["residue"], 0)


def message_ids(one: Installation, topic: str, most: int = 1) -> list[str]:
    """Give message ids from a topic."""
    lines = one.headrace("tail", topic, "--from", "beginning", "--until", "now")
    return [line["value"]["messageId"] for line in lines if isinstance(line["value"], dict) and "messageId" in line["value"]][:most]


def check_explain(one: Installation, checks: Checks) -> None:
    """One event of each kind, explained in time, and nothing recomputed differently."""
    checks.part("Explain")
    delivered = message_ids(one, "routed")
    dead = message_ids(one, "dead.validate")
    for kind, ids in (("delivered", delivered), ("dead", dead)):
        began = time.monotonic()
        explained = one.headrace("explain", ids[0])
        seconds = time.monotonic() - began
        text = str(explained)
        checks.check(
            f"a {kind} event, within {EXPLAIN_SECONDS:g} s", seconds <= EXPLAIN_SECONDS + 1, f"{seconds:.1f} s with the start of the command"
        )
        checks.check("it names the stage that it ended in", ("deliver" in text) if kind == "delivered" else ("validate" in text and "dead" in text))
        checks.check("what is recomputed is what is stored", explained["same"])
    unknown = one.run_command([str(one.clone / ".venv/bin/headrace"), "explain", "nobody-sent-this"])
    checks.check("an unknown id says what was searched", unknown.returncode == 1 and "nobody-sent-this" in unknown.stderr + unknown.stdout)


def check_resets(one: Installation, checks: Checks) -> None:
    """Ways (a) and (b): the offsets of a tool's and of the lake's group."""
    checks.part("Replay by offsets")
    before = one.receipts()["/crm"]
    rows = lake(one)
    one.headrace("offsets", "reset", "translate.crm", "--to", "earliest", "--yes")
    again = until(lambda: one.receipts()["/crm"]["duplicates"] >= before["duplicates"] + before["distinct"] * 0.95 and idle(one))
    after = one.receipts()["/crm"]
    checks.check("translate.crm: the tool gets all of it again", again, f"{after['total'] - before['total']} of {before['distinct']} requests")
    checks.equal("with the ids that it knows", after["distinct"], before["distinct"])
    one.headrace("offsets", "reset", "lake.lake", "--to", "earliest", "--yes")
    until(lambda: idle(one))
    checks.equal("lake.lake: row for row the same", lake(one), rows)
    warned = one.run_command([str(one.clone / ".venv/bin/headrace"), "offsets", "reset", "validate", "--to", "earliest", "--dry-run"])
    checks.check("validate's own group is warned of", "replay" in warned.stdout + warned.stderr, (warned.stdout + warned.stderr).strip()[-160:])


def check_job(one: Installation, checks: Checks) -> None:
    """Way (c): a job, twice."""
    checks.part("Replay by a job")
    rows, before = lake(one), one.receipts()["/crm"]
    counted = one.headrace("replay", "--from", "-1h", "--destination", "crm", "--dry-run")
    checks.note(f"a dry run: {str(counted)[:200]}")
    one.headrace("replay", "--from", "-1h", "--destination", "crm", "--rate", "500")
    done = until(lambda: all(job["state"] == "done" for job in one.headrace("replay", "list")))
    checks.check("the job ends", done, str([job["state"] for job in one.headrace("replay", "list")]))
    until(lambda: idle(one))
    after = one.receipts()["/crm"]
    checks.check("the tool got requests of the job", after["total"] > before["total"], f"{after['total'] - before['total']}")
    checks.equal("with the ids that it knows", after["distinct"], before["distinct"])
    one.headrace("replay", "--from", "-1h", "--storage", "lake")
    until(lambda: all(job["state"] == "done" for job in one.headrace("replay", "list")) and idle(one))
    checks.equal("a job into the lake adds nothing that is there", lake(one), rows)
    check_audit(one, checks)


def check_preview_and_new_tool(one: Installation, checks: Checks) -> None:
    """A mapping changed in the file is previewed, applied, and yesterday's events are sent by it."""
    checks.part("Preview")
    workspace = next(one.home.glob("*.yaml"), one.clone / "workspace.yaml")
    text = workspace.read_text(encoding="utf-8")
    old = 'order: {"@path": "$.properties.order_id"}'
    assert old in text, "the demo workspace has changed: edit this script"
    workspace.write_text(text.replace(old, f"{old}\n          preview: yes"), encoding="utf-8")
    # One order of our own: the shop of a short run may have sold nothing.
    order = b'{"writeKey":"demo","userId":"u-order","event":"Order Completed","messageId":"own-order","properties":{"order_id":"o-own"}}'
    checks.equal("an order is taken", request(one.port, "POST", "/v1/track", order).status, 200)
    until(lambda: idle(one))
    orders = ("--from", "-1h", "--destination", "orders", "--event", "Order Completed")
    preview = one.headrace("preview", *orders, "--workspace", str(workspace))
    checks.check("a changed mapping shows what would differ", "preview" in str(preview), str(preview)[:200])
    workspace.write_text(text, encoding="utf-8")
    same = one.headrace("preview", *orders)
    checks.note(f"unchanged: {str(same)[:200]}")


def check_parking(one: Installation, checks: Checks) -> None:
    """A tool is parked and resumed by command; nothing is lost meanwhile."""
    checks.part("Park and resume")
    one.headrace("destination", "park", "crm")
    before = one.receipts()["/crm"]["distinct"]
    time.sleep(3)
    body = b'{"writeKey":"demo","userId":"u-parked","event":"While Parked","messageId":"while-parked"}'
    checks.equal("an event is taken", request(one.port, "POST", "/v1/track", body).status, 200)
    time.sleep(5)
    checks.equal("a parked tool gets nothing", one.receipts()["/crm"]["distinct"], before)
    one.headrace("destination", "resume", "crm")
    checks.check("resumed, it gets what waited", until(lambda: one.receipts()["/crm"]["distinct"] > before, 60))


def check_redrive(one: Installation, checks: Checks) -> None:
    """Dead letters of a tool that refused everything are driven again, twice."""
    checks.part("Redrive")
    request(one.run["receiver"], "POST", "/faults", b'{"busy": 0, "failing": 0, "refusing": 1}')
    for number in range(20):
        body = b'{"writeKey":"demo","userId":"u%d","event":"Refused","messageId":"refused-%d"}' % (number, number)
        request(one.port, "POST", "/v1/track", body)

    def dead() -> int:
        return int(sum(row["open"] for row in one.headrace("dead", "list", "--destination", "crm")["dead"]))

    checks.check("20 letters", until(lambda: dead() == 20, 60), f"{dead()}")
    request(one.run["receiver"], "POST", "/faults", b'{"busy": 0, "failing": 0, "refusing": 0}')
    before = one.receipts()["/crm"]["distinct"]
    dry = one.headrace("dead", "redrive", "--destination", "crm", "--dry-run")
    checks.note(f"a dry run: {str(dry)[:200]}")
    checks.equal("a dry run drives nothing", one.receipts()["/crm"]["distinct"], before)
    first = one.headrace("dead", "redrive", "--destination", "crm")
    checks.check("redriven, the tool has them", until(lambda: one.receipts()["/crm"]["distinct"] == before + 20, 60), str(first)[:200])
    second = one.headrace("dead", "redrive", "--destination", "crm")
    checks.equal("a second run drives none", second["redriven"], 0)
    check_audit(one, checks)


def check_kills(one: Installation, checks: Checks) -> None:
    """Processes are killed under load, for anyone to see."""
    checks.part("Kill")
    ended = one.headrace("demo", "--kill", "--rate", "100", "--seconds", "40")
    kills = sum(ended["kills"].values())
    figures = f"{kills} kills, {ended['sent']} sent, {ended['stored']} stored, {ended['lost']} lost, {ended['doubled']} doubled"
    checks.check("nothing lost, nothing doubled", not ended["lost"] and not ended["doubled"] and kills >= 4, figures)
    until(lambda: idle(one))
    check_audit(one, checks)


def main() -> int:
    """Run all of it.

    Returns:
        0 if every check passed.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=7070, help="the collector's port (7070)")
    parser.add_argument("--json", type=Path, help="file for the report")
    parser.add_argument("--clone", type=Path, help="a clone with its environment, instead of a fresh one")
    arguments = parser.parse_args()
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="headrace-acceptance-") as name:
        folder = Path(name)
        clone = arguments.clone or folder / "headrace"
        checks.part("A fresh clone")
        if not arguments.clone:
            subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], check=True)  # noqa: S607 (the user's git)
        one = Installation(clone, arguments.port, folder / "home")
        try:
            checks.note(f"ready {one.start('make', 'run'):.1f} s after `make run`")
            send_shop(one, checks)
            check_audit(one, checks)
            for step in (check_explain, check_resets, check_job, check_preview_and_new_tool, check_parking, check_redrive, check_kills):
                try:
                    step(one, checks)
                except (OSError, RuntimeError, LookupError) as error:
                    checks.check(f"{step.__name__.removeprefix('check_')}: every command works", passed=False, figures=str(error)[-300:])
            seconds, left = one.interrupt()
            checks.check("Ctrl-C ends everything within 20 s", seconds <= 20 and not left, f"{seconds:.1f} s")
        except (OSError, RuntimeError) as error:
            checks.check("every command works", passed=False, figures=str(error)[-300:])
        finally:
            one.end()
    return checks.finish(arguments.json)


if __name__ == "__main__":
    sys.exit(main())
