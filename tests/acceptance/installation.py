"""A clone of the repository as a user has it: started by its commands, asked by its commands, stopped by Ctrl-C."""

from __future__ import annotations

import json  # answers hold integers beyond 64 bits
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import psutil


class Answer(NamedTuple):
    """An HTTP answer."""

    status: int
    body: bytes


def request(port: int, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Answer:
    """Send one HTTP request to a process on this machine.

    Args:
        port: Its port.
        method: HTTP method.
        path: Path with query.
        body: Body, or None.
        headers: Header names and values.

    Returns:
        The answer; status 0 where nothing answers.
    """
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return Answer(answer.status, answer.read())
    except OSError:
        return Answer(0, b"")
    finally:
        connection.close()


class Installation:
    """A clone and at most one run of it.

    Args:
        clone: Folder of the clone.
        port: The collector's port.
        home: Home of its runs.
        headrace: The command, where it is not the clone's own.
    """

    def __init__(self, clone: Path, port: int, home: Path, headrace: Sequence[str] = ()) -> None:
        self.clone = clone
        self.port = port
        self.home = home
        self.log = home.with_suffix(".log")
        self._headrace = headrace
        foreign = ("HEADRACE_", "VIRTUAL_ENV", "PYTHON", "MAKE")
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        self._environment |= {"HEADRACE_HOME": str(home), "HEADRACE_PORT": str(port)}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *command: str) -> float:
        """Start a run in the background and wait until it is ready.

        Args:
            command: What a user would type.

        Returns:
            Seconds until it was ready.

        Raises:
            RuntimeError: It ended, or was not ready after ten minutes, or something else answers on its port.
        """
        if request(self.port, "GET", "/health/live").status:
            raise RuntimeError(f"something else answers on port {self.port}; choose another one with --port")
        started = time.monotonic()
        process = self.begin(*command)
        while request(self.port, "GET", "/health/ready").status != 200:
            if process.poll() is not None or time.monotonic() - started > 600:
                raise RuntimeError(f"not ready; the end of {self.log}:\n{self.log.read_text(encoding='utf-8')[-2000:]}")
            time.sleep(0.1)
        return time.monotonic() - started

    def begin(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a run in the background.

        Args:
            command: What a user would type.

        Returns:
            The process.
        """
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.clone, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        return self._process

    def wait(self, limit: float) -> int:
        """Wait until the run ends by itself.

        Args:
            limit: Longest wait, in seconds.

        Returns:
            Its exit code.
        """
        assert self._process is not None
        return self._process.wait(limit)

    @property
    def run(self) -> dict[str, Any]:
        """What `run.json` says."""
        described: dict[str, Any] = json.loads((self.home / "run.json").read_text(encoding="utf-8"))
        return described

    @property
    def ports(self) -> dict[str, int]:
        """Port of each process, from `headrace status --json`."""
        return {process["name"]: process["port"] for process in self.headrace("status")["processes"]}

    def pid_of(self, name: str) -> int:
        """Give the process id of a process of the run, as `run.json` has it."""
        return next(int(process["pid"]) for process in self.run["processes"] if process["name"] == name)

    def run_command(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever it is.

        Args:
            command: The command.

        Returns:
            Exit code and what it printed.
        """
        return subprocess.run(command, cwd=self.clone, env=self._environment, capture_output=True, check=False, text=True)

    def receipts(self, query: str = "") -> dict[str, dict[str, Any]]:
        """Ask the local receiver what it got; on a machine that has no time for it, ask again.

        Args:
            query: Query of the request, with its question mark.

        Returns:
            What each tool got, by path.
        """
        answer = Answer(0, b"")
        tries = 5
        while answer.status != 200 and tries:
            answer = request(self.run["receiver"], "GET", f"/receipts{query}")
            tries -= 1
        received: dict[str, dict[str, Any]] = json.loads(answer.body)
        return received

    def output(self, command: Sequence[str], feed: bytes | None = None) -> bytes:
        """Run a command to its end.

        Args:
            command: The command.
            feed: Its standard input.

        Returns:
            Its standard output.

        Raises:
            RuntimeError: It failed.
        """
        done = subprocess.run(command, cwd=self.clone, env=self._environment, input=feed, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{command[:4]} ended with {done.returncode}: {done.stderr.decode()[-1000:]}")
        return done.stdout

    def headrace(self, *arguments: str) -> Any:  # noqa: ANN401 (JSON)
        """Run a `headrace` command with `--json`.

        Args:
            arguments: Its arguments.

        Returns:
            What it printed; a list where it prints one value a line.
        """
        printed = self.output([*(self._headrace or [str(self.clone / ".venv/bin/headrace")]), *arguments, "--json"]).decode()
        return [json.loads(line) for line in printed.split("\n") if line] if arguments[0] == "tail" else json.loads(printed)

    def interrupt(self, limit: float = 60) -> tuple[float, list[str]]:
        """Press Ctrl-C, as a terminal does: SIGINT to the whole foreground process group.

        Args:
            limit: Seconds after which it is given up.

        Returns:
            Seconds until the command ended, and what still runs.
        """
        assert self._process is not None
        processes = [psutil.Process(self.run["pid"]), *(psutil.Process(one["pid"]) for one in self.run["processes"])]
        started = time.monotonic()
        os.killpg(self._process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(limit)
        seconds = time.monotonic() - started
        self._process = None
        return seconds, [
            f"{one.pid} {' '.join(one.cmdline()[-4:])}" for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE
        ]

    def end(self) -> None:
        """Stop the run if there is still one."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
