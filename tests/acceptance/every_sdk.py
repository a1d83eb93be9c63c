"""Sends with every SDK that can be had here, unmodified and pointed at a fresh clone's run, and compares what came out with what was given.

    make acceptance
    make sdks
    python -m tests.acceptance.every_sdk --here --only analytics-go --json report.json --report report.md

First all of them in peace; then all at once, while the collector is killed and comes back. An SDK that cannot be installed here is
noted with the reason. Prints a line for each check; the exit code is not 0 if one failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json  # stored messages hold integers beyond 64 bits
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from tests.acceptance.carry_events import check_webhooks
from tests.acceptance.checks import Checks
from tests.acceptance.installation import Installation, request
from tests.acceptance.sent import TABLES
from tests.sdks import report, script
from tests.sdks.clients import CLIENTS, Client
from tests.sdks.installing import NotInstalled, install
from tests.sdks.reconcile import Result, call_id, reconcile

REPOSITORY: Final = Path(__file__).parents[2]
ROUNDS: Final = 20
BROWSER_ROUNDS: Final = 5
PAUSE_MS: Final = 60
"""Between two calls while the collector is killed: a run lasts long enough to be hit in its middle."""
ASKING_PAUSE_MS: Final = 250
"""The same for those that ask for their settings first: the first one still sends when the last one has its own."""
LONGEST_START: Final = 40
"""Seconds after which the collector is killed anyway."""
LONGEST_RUN: Final = 150
"""Seconds after which an SDK's program is ended: the longest back-off, Java's, is a minute."""
QUIET_SECONDS: Final = 20
SETTLE_SECONDS: Final = 200


@dataclass(frozen=True, eq=False)
class Run:
    """One run of one SDK.

    Attributes:
        client: The SDK.
        mode: Its way of sending.
        prefix: Before the ids of its calls.
        calls: What it was given.
        command: The program, with its arguments.
    """

    client: Client
    mode: str
    prefix: str
    calls: Sequence[script.Call]
    command: list[str]

    @property
    def title(self) -> str:
        """Name for a person."""
        return f"{self.client.package}{f', {self.mode}' if self.mode else ''}"

    @property
    def expected(self) -> int:
        """How many calls it has."""
        return sum(self.client.kept(call) is not None for call in self.calls)


class Ended(NamedTuple):
    """What a program said.

    Attributes:
        code: Exit code.
        gave_up: Message ids of calls that the SDK could not send.
        errors: The end of its error output.
        seconds: How long it took.
    """

    code: int
    gave_up: frozenset[str]
    errors: str
    seconds: float


def installed(clients: Sequence[Client], folder: Path, checks: Checks) -> dict[str, list[str]]:
    """Install the SDKs; note those that cannot be had."""
    commands = {}

    def one(client: Client) -> list[str] | str:
        try:
            return install(client, folder / client.folder)
        except (NotInstalled, OSError) as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        for client, made in zip(clients, pool.map(one, clients), strict=True):
            if isinstance(made, str):
                checks.note(f"{client.package} cannot be installed here: {made}")
            else:
                commands[client.package] = made
    checks.check("SDKs are installed", bool(commands), f"{len(commands)} of {len(clients)}")
    return commands


def planned(clients: Sequence[Client], commands: dict[str, list[str]], folder: Path, part: str, port: int, pause: int) -> list[Run]:
    """Write the calls of each run; give the runs."""
    folder.mkdir(parents=True, exist_ok=True)
    runs = []
    for client in clients:
        for mode in client.modes if client.package in commands else ():
            prefix = f"{part}-{client.folder}-{mode or 'default'}"
            calls = script.calls(prefix, BROWSER_ROUNDS if client.kind == "browser" or pause else ROUNDS)
            file = folder / f"{prefix}.ndjson"
            script.write(file, calls)
            # Beacons that are under way have 64 KiB in all; the browser refuses what is beyond.
            between = max(pause, PAUSE_MS) if mode in client.unanswered else pause
            arguments = [f"http://127.0.0.1:{port}", "demo", str(file), str(between), *([mode] if mode else [])]
            runs.append(Run(client, mode, prefix, calls, [*commands[client.package], *arguments]))
    return runs


def taken(port: int) -> float:
    """How many events the collector took since its start, from its metrics."""
    lines = request(port, "GET", "/metrics").body.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("headrace_ingest_events_total{") and 'outcome="accepted"' in line)


def perform(run: Run, port: int, *, alone: bool) -> Ended:
    """Run a program to its end.

    Args:
        run: The run.
        port: The collector's port.
        alone: Whether nothing else sends.

    Returns:
        What it said.
    """
    began = time.monotonic()
    errors: list[str] = []
    with subprocess.Popen(run.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        if run.client.kind == "browser":
            threading.Thread(target=leave, args=(process.stdin, port, run.expected if alone else None), daemon=True).start()
        timer = threading.Timer(LONGEST_RUN, process.kill)
        timer.start()
        reader = threading.Thread(target=lambda pipe: errors.append(pipe.read()), args=(process.stderr,))
        reader.start()
        printed = process.stdout.read()
        reader.join()
        process.wait()
        timer.cancel()
    gave_up = frozenset(line.removeprefix("gave up ") for line in printed.splitlines() if line.startswith("gave up "))
    ended = Ended(process.returncode, gave_up, errors[0][-400:].strip(), time.monotonic() - began)
    print(f"         {run.title} ended after {ended.seconds:.1f} s", file=sys.stderr, flush=True)
    return ended


def leave(page: IO[str], port: int, expected: int | None) -> None:
    """Leave a page, by closing its program's input, once the collector took what the page had, or nothing for as long as an SDK backs off."""
    before = last = taken(port)
    quiet_since = time.monotonic()
    end = quiet_since + LONGEST_RUN - 30
    while time.monotonic() < min(end, quiet_since + QUIET_SECONDS):
        time.sleep(0.5)
        now = taken(port)
        if now != last:
            last, quiet_since = now, time.monotonic()
        if expected is not None and now - before >= expected:
            break
    with contextlib.suppress(OSError):  # it ended by itself
        page.close()


def read_lake(one: Installation) -> list[dict[str, Any]]:
    """Give every stored message."""
    return [json.loads(row["message_json"]) for table in TABLES for row in one.headrace("query", f"select message_json from {table}")]  # noqa: S608 (our own names)


def settle(one: Installation, runs: Sequence[Run], ended: Sequence[Ended]) -> list[dict[str, Any]]:
    """Wait until all that can come is in the lake; give what is there."""
    wanted = sum(run.expected - len(done.gave_up) for run, done in zip(runs, ended, strict=True))
    end = time.monotonic() + 30
    stored: list[dict[str, Any]] = []
    while time.monotonic() < end:
        stored = [message for message in read_lake(one) if any(call_id(run.client, message).startswith(f"{run.prefix}-") for run in runs)]
        if len(stored) >= wanted:
            break
        time.sleep(1)
    return stored


def check_runs(
    runs: Sequence[Run], ended: Sequence[Ended], stored: Sequence[dict[str, Any]], checks: Checks, *, killed: bool = False
) -> list[report.Row]:
    """Check each run by id and by value."""
    rows = []
    for run, done in zip(runs, ended, strict=True):
        silent = {call["messageId"] for call in run.calls} if killed and run.mode in run.client.unanswered else set()
        result = reconcile(run.client, run.calls, stored, done.gave_up | silent, run.prefix)
        passed = done.code == 0 and result.clean
        checks.check(run.title, passed, _figures(result, done, passed))
        rows.append(report.Row(run.client, run.mode, result, done.seconds))
    return rows


def _figures(result: Result, done: Ended, passed: bool) -> str:  # noqa: FBT001 (whether to say more)
    figures = f"{result.sent} sent, {result.stored} stored, {result.equal} equal, {len(result.doubled)} twice, {done.seconds:.1f} s"
    if result.gave_up:
        figures += f", {len(result.gave_up)} given up by the SDK"
    if passed:
        return figures
    more = {"missing": result.missing, "twice": result.doubled, "unknown": result.unknown, "different": result.different}
    figures += "".join(f"; {name}: {', '.join(found[:3])}" for name, found in more.items() if found)
    return f"{figures}; exit code {done.code}; {done.errors[-300:]}"


def kill_collector(one: Installation, runs: Sequence[Run]) -> threading.Thread:
    """Kill the collector, as a machine that fails does, in the middle of some runs.

    It is killed once it took a quarter of their events. An SDK that asks for its settings first, and asks once only, sends nothing at all where it
    finds nobody (as RudderStack's in the browser, also without us), so the kill waits until an event of each such run is in the lake.
    """
    pid, before, after = one.pid_of("collector"), taken(one.port), sum(run.expected for run in runs) / 4
    waiting = {f"{run.prefix}-" for run in runs if run.client.asks_first}

    def kill() -> None:
        end = time.monotonic() + LONGEST_START
        while taken(one.port) - before < after and time.monotonic() < end:
            time.sleep(0.1)
        while waiting and time.monotonic() < end:
            ids = [call_id(run.client, message) for message in read_lake(one) for run in runs]
            waiting.difference_update([prefix for prefix in waiting if any(ident.startswith(prefix) for ident in ids)])
        print(f"         the collector is killed{f', before {sorted(waiting)} began' if waiting else ''}", file=sys.stderr, flush=True)
        os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def send(one: Installation, clients: Sequence[Client], commands: dict[str, list[str]], folder: Path, checks: Checks) -> report.Report:
    """Run every SDK in peace, then under a kill; check the lake and both tools."""
    checks.part("Each SDK, pointed at the collector by its host option")
    runs = planned(clients, commands, folder, "peace", one.port, 0)
    with ThreadPoolExecutor(3) as pool:  # a page is alone, so that it is known when the collector took all that it had
        of_servers = {run: pool.submit(perform, run, one.port, alone=False) for run in runs if run.client.kind != "browser"}
    ended = [of_servers[run].result() if run in of_servers else perform(run, one.port, alone=True) for run in runs]
    in_peace = check_runs(runs, ended, settle(one, runs, ended), checks)
    checks.part("The collector is killed while they send")
    under_kill: list[report.Row] = []
    for asking in (False, True):
        of_kind = [client for client in clients if client.asks_first == asking]
        hit = planned(of_kind, commands, folder, "kill", one.port, ASKING_PAUSE_MS if asking else PAUSE_MS)
        if not hit:
            continue
        before = one.pid_of("collector")
        killer = kill_collector(one, hit)
        with ThreadPoolExecutor(len(hit)) as pool:
            done = list(pool.map(lambda run: perform(run, one.port, alone=False), hit))
        killer.join()
        checks.check("the collector came back", one.pid_of("collector") != before)
        under_kill += check_runs(hit, done, settle(one, hit, done), checks, killed=True)
    checks.part("Both tools")
    check_tools(one, checks)
    return report.Report(in_peace, under_kill)


def check_tools(one: Installation, checks: Checks) -> None:
    """Every stored message is once at each tool that it is for."""
    stored = read_lake(one)
    # The tool `orders` takes completed orders only; calls with integrations that name no tool of ours and turn off all others go to none.
    everywhere = [message for message in stored if (message.get("integrations") or {}).get("All") is not False]
    ids = {message["messageId"] for message in everywhere}
    orders = {message["messageId"] for message in everywhere if message.get("event") == "Order Completed"}
    end = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < end and one.receipts()["/crm"]["distinct"] < len(ids):
        time.sleep(1)
    check_webhooks(one, {"crm": ids, "orders": orders}, checks)


def main() -> int:
    """Run all of it.

    Returns:
        0 if every check passed.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=7070, help="the collector's port (7070)")
    parser.add_argument("--only", action="append", default=[], help="only SDKs whose package has this in its name; may be repeated")
    parser.add_argument("--here", action="store_true", help="run this checkout instead of a fresh clone")
    parser.add_argument("--json", type=Path, help="file for the checks as JSON")
    parser.add_argument("--report", type=Path, help="file for the table of all SDKs, as Markdown")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the run is stopped with this
    clients = [client for client in CLIENTS if not arguments.only or any(part in client.package for part in arguments.only)]
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="headrace-sdks-") as name:
        folder = Path(name)
        clone = REPOSITORY if arguments.here else folder / "headrace"
        one = Installation(clone, arguments.port, folder / "home")
        try:
            checks.part("A run, and the SDKs")
            if not arguments.here:
                subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], check=True)  # noqa: S607 (the user's git)
            commands = installed(clients, REPOSITORY / "build/sdks" if arguments.here else folder / "installed", checks)
            checks.note(f"ready {one.start('make', 'run'):.1f} s after `make run`")
            made = send(one, clients, commands, folder / "calls", checks)
            if arguments.report:
                arguments.report.write_text(report.markdown(made, clients), encoding="utf-8")
        except (OSError, RuntimeError) as error:
            checks.check("every command works", passed=False, figures=str(error))
        finally:
            one.end()
    return checks.finish(arguments.json)


if __name__ == "__main__":
    sys.exit(main())
