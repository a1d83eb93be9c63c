"""A whole local run that is killed piece by piece: its workspace, its processes, and the figures of all of them."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from pipeline.app.local.kafka import free_port
from tests.acceptance.conservation import read_counts
from tests.acceptance.installation import Installation, request
from tests.faults.receiver import SECRET, ReceiverProcess

REPOSITORY = Path(__file__).parents[2]
HEADRACE = [sys.executable, "-m", "pipeline.app.cli"]
RECEIVER = "receiver"
SPARED = "kafka"
"""`headrace up` ends when its only broker ends; brokers are killed in tests/faults/test_cluster.py."""
LOOK_SECONDS = 0.2
_DEDUP = "steps: [validate, dedup]"
_WORKSPACE = """\
workspace: faults
sources:
  - {{id: web, write_keys: [demo]}}
destinations:
  - {{id: crm, type: webhook, sources: [web], settings: {{url: "http://127.0.0.1:{port}/crm", shared_secret: "${{file:{secret}}}"}}}}
  - id: orders
    type: webhook
    sources: [web]
    settings: {{url: "http://127.0.0.1:{port}/orders", shared_secret: "${{file:{secret}}}"}}
    mappings:
      - {{name: order, trigger: 'type = "track" and event = "Order Completed"', fields: {{order: {{"@path": "$.properties.order_id"}}}}}}
storage:
  - {{id: lake, type: parquet, sources: [web], settings: {{path: "{lake}"}}}}
"""


class Plan(NamedTuple):
    """How hard a run is hurt.

    Attributes:
        kills: Least kills.
        events: Least events.
        rate: Events in a second.
        streams: How many killers work side by side.
        pause: Shortest and longest pause of a killer between two kills, in seconds.
        seconds: Longest time for all of it.
        spared: Names of processes that are not killed.
    """

    kills: int
    events: int
    rate: float
    streams: int
    pause: tuple[float, float]
    seconds: float
    spared: frozenset[str] = frozenset()


class WholeRun:
    """A run with a lake and a tool that writes down what it gets.

    Args:
        folder: Folder of everything.
        broken: A broken build that all its processes are, or empty.
        window: Dedup window, in seconds, where it is not a day.

    Attributes:
        one: The installation.
        receiver: The tool.
        lake: Folder of its lake.
        workspace: The file that declares it.
    """

    def __init__(self, folder: Path, broken: str = "", window: int = 0) -> None:
        self.receiver = ReceiverProcess(free_port(), folder / "receipts")
        self.one = Installation(REPOSITORY, free_port(), folder / "home", HEADRACE)
        self.lake = folder / "lake"
        if broken:
            path = os.pathsep.join([str(REPOSITORY / "tests/faults/broken_processes"), str(REPOSITORY)])
            self.one._environment |= {"HEADRACE_BROKEN": broken, "HEADRACE_BROKEN_GAP": "0.5", "PYTHONPATH": path}
        self._topology: str | Path = "default"
        if window:
            whole = (REPOSITORY / "topologies/default.yaml").read_text(encoding="utf-8")
            self._topology = folder / "topology.yaml"
            self._topology.write_text(whole.replace(_DEDUP, f"{_DEDUP}\n    dedup_window_seconds: {window}"), encoding="utf-8")
        secret = folder / "secret"
        secret.write_text(SECRET, encoding="utf-8")
        self.workspace = folder / "workspace.yaml"
        self.workspace.write_text(_WORKSPACE.format(port=self.receiver.port, secret=secret, lake=self.lake), encoding="utf-8")

    def start(self) -> None:
        """Start all of it, with retries ten times as fast as they are."""
        self.receiver.start()
        self.one.start(*HEADRACE, "up", "--time-scale", "0.1", "--workspace", str(self.workspace), "--topology", str(self._topology))

    def end(self) -> None:
        """End what still runs."""
        self.one.end()
        self.receiver.kill()

    @property
    def processes(self) -> dict[str, dict[str, Any]]:
        """The processes of the run that may be killed, by name."""
        return {process["name"]: process for process in self.one.run["processes"] if process["name"] != SPARED}


class Killer:
    """Kills each process of a run in turn, in several streams; one is killed again only after it has come back and worked.

    Args:
        run: The run.
        plan: How often and how fast.
        seed: Seed of order and pauses.

    Attributes:
        kills: Kills by process.
        recoveries: Longest time until a killed process worked again, by process, in seconds.
        peaks: Highest memory, open files and threads of any process.
    """

    def __init__(self, run: WholeRun, plan: Plan, seed: int) -> None:
        self._run = run
        self._plan = plan
        self._chance = random.Random(seed)  # noqa: S311 (when something is killed need not be secret)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._busy: set[str] = set()
        self._turn: list[str] = []
        self._threads = [threading.Thread(target=self._stream, name=f"killer {number}") for number in range(plan.streams)]
        self.kills: Counter[str] = Counter()
        self.recoveries: dict[str, float] = {}
        self.peaks: dict[str, float] = {"rss_mb": 0, "fds": 0, "threads": 0}

    def start(self) -> None:
        """Begin to kill."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Kill no more, and wait until the last victims are back."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _stream(self) -> None:
        while not self._stop.wait(self._pause()):
            name = self._next()
            if name:
                began = time.monotonic()
                self._kill(name)
                self._await_back(name)
                with self._lock:
                    self._busy.discard(name)
                    self.recoveries[name] = max(self.recoveries.get(name, 0.0), time.monotonic() - began)

    def _pause(self) -> float:
        with self._lock:
            return self._chance.uniform(*self._plan.pause)

    def _next(self) -> str:
        """Choose who is next: each in its turn, in an order of chance."""
        with self._lock:
            if not self._turn:
                self._turn = [name for name in (*self._run.processes, RECEIVER) if name not in self._plan.spared]
                self._chance.shuffle(self._turn)
            free = [name for name in self._turn if name not in self._busy]
            if not free:
                return ""
            self._turn.remove(free[0])
            self._busy.add(free[0])
            return free[0]

    def _kill(self, name: str) -> None:
        if name == RECEIVER:
            self._run.receiver.kill()
        else:
            pid = self._run.processes[name]["pid"]
            self._measure()
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with self._lock:
            self.kills[name] += 1

    def _await_back(self, name: str) -> None:
        if name == RECEIVER:
            self._run.receiver.start()
            return
        end = time.monotonic() + 60
        while time.monotonic() < end and not _works(self._run.processes.get(name, {})):
            time.sleep(LOOK_SECONDS)

    def _measure(self) -> None:
        for process in self._run.processes.values():
            with suppress(psutil.Error):
                one = psutil.Process(process["pid"])
                self.peaks["rss_mb"] = max(self.peaks["rss_mb"], one.memory_info().rss / 1e6)
                self.peaks["fds"] = max(self.peaks["fds"], one.num_fds())
                self.peaks["threads"] = max(self.peaks["threads"], one.num_threads())


def _works(process: dict[str, Any]) -> bool:
    """Whether it has taken records since it was started, so that a kill hits work and not a start; what takes none here need only answer."""
    if not process:
        return False
    if process["name"] == "monitor":
        return request(process["port"], "GET", "/volumes.json").status == 200
    page = request(process["port"], "GET", "/metrics")
    if page.status != 200:
        return False
    if process["name"] == "replay":
        return True  # it has no job
    counts = read_counts([page.body.decode()])
    return bool(counts.inputs.total() or counts.accepted)
