"""The supervisor keeps its processes alive, whatever keeps it from starting them."""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path

import pytest

from pipeline.app.processes.supervisor import RESTART_SECONDS, STEADY_SECONDS, Supervisor
from tests.unit.runtime.jumping import jumping


class _Process:
    """A process that ends when the test says.

    Attributes:
        ended: Gets its exit status.
        returncode: Exit status once it has ended.
    """

    def __init__(self) -> None:
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.returncode: int | None = None

    async def wait(self) -> int:
        self.returncode = await asyncio.shield(self.ended)
        return self.returncode

    def send_signal(self, _number: int) -> None:
        self.ended.set_result(0)


class _Machine:
    """Starts processes, or fails as it is told.

    Attributes:
        failures: What the next starts raise, None where they succeed; all later ones succeed.
        started: When each process was started, in seconds.
        processes: All of them.
    """

    def __init__(self, *failures: OSError | None) -> None:
        self.failures = deque(failures)
        self.started: list[float] = []
        self.processes: list[_Process] = []

    async def spawn(self, *_arguments: str, **_settings: object) -> _Process:
        """Start a process."""
        if self.failures and (failure := self.failures.popleft()) is not None:
            raise failure
        self.started.append(asyncio.get_running_loop().time())
        self.processes.append(_Process())
        return self.processes[-1]


def test_a_start_that_fails_is_said_and_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the machine cannot start a process that died, that is said, and tried again after the next wait, until it can."""
    machine = _Machine(None, OSError(12, "out of memory"), OSError(28, "no space left"))
    monkeypatch.setattr(asyncio, "create_subprocess_exec", machine.spawn)
    said: list[str] = []

    @jumping
    async def run() -> None:
        supervisor = Supervisor(tmp_path, {}, said.append)
        await supervisor.start("filter", ["work"], 1, "/health/ready")
        machine.processes[0].ended.set_result(-9)
        await asyncio.sleep(sum(RESTART_SECONDS))
        assert [0, pytest.approx(sum(RESTART_SECONDS[:3]))] == machine.started
        machine.processes[1].ended.set_result(1)
        await asyncio.sleep(2 * RESTART_SECONDS[-1])
        assert 3 == len(machine.started)
        await supervisor.stop([])
        assert all(process.returncode is not None for process in machine.processes)

    run()
    assert ["filter ended with status -9", "out of memory", "no space left", "filter ended with status 1"] == [
        next(part for part in ("filter ended with status -9", "out of memory", "no space left", "filter ended with status 1") if part in text)
        for text in said
    ]


def test_a_process_that_lived_long_starts_again_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only deaths soon after a start lengthen the wait: one that was killed once an hour is no crash loop."""
    machine = _Machine()
    monkeypatch.setattr(asyncio, "create_subprocess_exec", machine.spawn)

    @jumping
    async def run() -> None:
        supervisor = Supervisor(tmp_path, {}, lambda _text: None)
        await supervisor.start("filter", ["work"], 1, "/health/ready")
        for number in range(3):
            await asyncio.sleep(STEADY_SECONDS + 1)
            machine.processes[number].ended.set_result(-9)
            await asyncio.sleep(RESTART_SECONDS[0])
        await supervisor.stop([])

    run()
    lived = STEADY_SECONDS + 1 + RESTART_SECONDS[0]
    assert [pytest.approx(number * lived) for number in range(3)] == machine.started[:3]
