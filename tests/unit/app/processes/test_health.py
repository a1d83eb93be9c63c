"""What a process says of its health: what stands in its way, by name, and when it ends itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pipeline.app.processes.health import END_SECONDS, Health, StandsStillError, free_bytes
from pipeline.runtime.clock import SystemClock
from pipeline.testing import MemoryMetrics
from tests.unit.runtime.jumping import jumping


class _Host:
    """A group member that a test moves."""

    def __init__(self) -> None:
        self.ready = True
        self.trouble = ""
        self.blocked = 0
        self.topics = ["shop.in"]
        self.assigned: Sequence[Any] = ()
        self.still: list[str] = []

    async def lag(self) -> int:
        return 7

    async def look(self, now: float) -> list[str]:
        return self.still


class _LoopClock(SystemClock):
    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class Bench:
    """A process with one group member."""

    def __init__(self, folder: Path = Path("/"), free: int = 0) -> None:
        self.host = _Host()
        self.stopped: dict[str, str] = {}
        self.metrics = MemoryMetrics()
        runner = SimpleNamespace(processor=SimpleNamespace(name="filter"), members=[("filter", self.host)], ready=True, stopped=self.stopped)
        configuration = SimpleNamespace(workspace=SimpleNamespace(version=3))
        self.health = Health(
            cast("Any", [runner]),
            cast("Any", configuration),
            clock=_LoopClock(),
            metrics=self.metrics,
            folders=lambda: {"state": folder},
            free_bytes=free,
        )


@jumping
async def test_what_stands_still_ends_the_process() -> None:
    """At first the process answers that it does not live, and counts it; a while later it ends with the line that says why."""
    bench = Bench()
    running = asyncio.create_task(bench.health.run())
    await asyncio.sleep(10)
    assert ("", "", 0) == (bench.health.live(), bench.health.ready(), bench.metrics.values["headrace_standing_still", ("filter",)])
    bench.host.still = ["shop.in-0 of shop.filter has stood still at offset 3 for 60 s"]
    await asyncio.sleep(END_SECONDS)
    assert bench.host.still == [bench.health.live()]
    assert 1 == bench.metrics.values["headrace_standing_still", ("filter",)]
    assert not running.done()
    await asyncio.sleep(END_SECONDS)
    with pytest.raises(StandsStillError, match="at offset 3"):
        running.result()


@jumping
async def test_what_moves_again_lives_again() -> None:
    """A process that moves before its time is over goes on."""
    bench = Bench()
    running = asyncio.create_task(bench.health.run())
    bench.host.still = ["x"]
    await asyncio.sleep(END_SECONDS / 2)
    bench.host.still = []
    await asyncio.sleep(5 * END_SECONDS)
    assert "" == bench.health.live()
    running.cancel()
    await asyncio.wait([running])


@jumping
async def test_a_full_disk_is_not_ready_but_lives(tmp_path: Path) -> None:
    """Below the floor the process takes no more and says which disk; to start again would make no room."""
    bench = Bench(tmp_path / "not" / "made", free_bytes(tmp_path) * 10)
    running = asyncio.create_task(bench.health.run())
    await asyncio.sleep(1)
    assert "are free on the disk of state" in bench.health.ready()
    assert "" == bench.health.live()
    assert bench.metrics.values["headrace_disk_free_bytes", ("state",)] > 0
    running.cancel()
    await asyncio.wait([running])


def test_what_must_be_mended_is_named() -> None:
    """The page names the group and its trouble."""
    bench = Bench()
    bench.host.trouble = "there is no topic shop.in"
    assert "filter: there is no topic shop.in" == bench.health.ready()
    assert "there is no topic shop.in" == bench.health.status("filter")["groups"][0]["trouble"]


@jumping
async def test_what_the_breaker_stopped_is_named_and_looked_at_no_more() -> None:
    """It has left its group, so it cannot stand still; the process lives, is not ready, and the page says why."""
    bench = Bench()
    bench.stopped["filter"] = "processor filter crashed on 100 records"
    bench.host.still = ["x"]
    running = asyncio.create_task(bench.health.run())
    await asyncio.sleep(3 * END_SECONDS)
    assert ("", "processor filter crashed on 100 records") == (bench.health.live(), bench.health.ready())
    group = bench.health.status("filter")["groups"][0]
    assert (False, True, "processor filter crashed on 100 records") == (group["ready"], group["stopped"], group["trouble"])
    assert 1 == bench.metrics.values["headrace_processor_stopped", ("filter",)]
    running.cancel()
    await asyncio.wait([running])
