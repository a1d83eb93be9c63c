"""What a machine does to a member: its clock jumps, its memory and its disk end, it is shut down, and it comes back to a backlog."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Kafka
from tests.faults.report import Row
from tests.faults.trial import ROUNDS, Trial, prove

pytestmark = [pytest.mark.faults, pytest.mark.integration]

BACKLOG = int(os.environ.get("HEADRACE_FAULT_BACKLOG", "100000"))
"""Events that wait for a member."""
PADDING = 4_000
"""Bytes that each of them is larger, so that a member that keeps all of them would take some 500 MB."""
BACKLOG_RSS_MOST = 256_000_000
STOPS = int(os.environ.get("HEADRACE_FAULT_STOPS", "10"))
"""Times that a member is asked to end; `make faults` asks for 50."""
MEMORY = Path("/sys/fs/cgroup/memory")


@pytest.mark.fault("T15")
@pytest.mark.parametrize("clock", ["ahead", "behind", "strobing"])
async def test_a_clock_that_lies_changes_nothing(kafka: Kafka, prefix: str, tmp_path: Path, row: Row, clock: str) -> None:
    """The wall clock of a member is an hour off, or another hour at each look, beyond the dedup window of half an hour."""

    async def scenario(trial: Trial) -> None:
        await trial.join("--clock", clock)
        await trial.load.send(4_000, 8)
        trial.faults += 1
        await trial.progress(1, seconds=20)
        number = await trial.join()
        await trial.load.send(2_000, 6)
        await trial.kill(number)
        await trial.settle()

    await prove(row, kafka.bootstrap, prefix, tmp_path, scenario, ["wall_clock"] if clock == "strobing" else [])


@pytest.mark.fault("T18")
async def test_a_member_asked_to_end_under_load_ends_in_order(kafka: Kafka, prefix: str, tmp_path: Path, row: Row) -> None:
    """SIGTERM at a random moment under load, again and again: exit 0 within 30 s, its group left by then, nothing lost or doubled."""
    longest = 0.0

    async def scenario(trial: Trial) -> None:
        nonlocal longest
        chance = random.Random(18)  # noqa: S311 (when it ends need not be secret)
        await trial.join()
        load = asyncio.create_task(trial.load.flow(400))
        while trial.faults < STOPS:
            await trial.until_assigned(await trial.join())
            await trial.progress(20, seconds=10)
            await asyncio.sleep(chance.uniform(0.0, 0.3))
            longest = max(longest, await _stop_in_order(trial, min(trial.alive)))
            trial.faults += 1
        trial.load.end_flow()
        await load
        await trial.settle()

    try:
        await prove(row, kafka.bootstrap, prefix, tmp_path, scenario, ["deaf"])
    finally:
        row.figures = f"slowest end {longest:.1f} s"


async def _stop_in_order(trial: Trial, number: int) -> float:
    """Ask a member to end, and see that it does and has left its group; give the seconds that it took."""
    process = trial.alive.pop(number)
    began = time.monotonic()
    process.terminate()
    try:
        async with asyncio.timeout(30):
            status = await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise AssertionError("a member does not end within 30 s of SIGTERM") from None
    took = time.monotonic() - began
    assert status == 0, trial.log_of(number)
    # The broker would count one that says no goodbye as a member for the rest of its session, 6 s.
    members = await trial.broker.admin().members(f"{trial.prefix}.split")
    assert len(members) <= len(trial.alive), "a member that ended in order has not left its group"
    return took


@pytest.mark.fault("T43")
async def test_a_backlog_is_caught_up_with(kafka: Kafka, prefix: str, tmp_path: Path, row: Row) -> None:
    """Members that were away find a backlog while more comes in: they catch up at least twice as fast as it grows, in bounded memory."""

    async def scenario(trial: Trial) -> None:
        trial.load.padding = PADDING
        await trial.load.send(BACKLOG, BACKLOG / 20_000)
        inflow = asyncio.create_task(trial.load.send(BACKLOG // 10, 20))
        await trial.join()
        await trial.progress(1)
        began, rss = time.monotonic(), 0
        while len(trial.observer.ids) < BACKLOG and time.monotonic() - began < 600:
            rss = max(rss, trial.rss_bytes())
            assert rss <= BACKLOG_RSS_MOST, f"the member takes {rss / 1e6:.0f} MB"
            await asyncio.sleep(0.2)
        seconds, cpu = time.monotonic() - began, trial.cpu_seconds()
        await inflow
        await trial.settle(300)
        text = (
            f"{BACKLOG} events of {PADDING + 200} bytes in {seconds:.0f} s, {BACKLOG / seconds:.0f}/s beside the reader, "
            f"{cpu / BACKLOG * 1e6:.0f} us of the member's CPU each; inflow {BACKLOG / 200:.0f}/s; member's memory at most {rss / 1e6:.0f} MB"
        )
        row.figures = row.figures if trial.broken else text
        assert BACKLOG / seconds >= 2 * BACKLOG / 200, text

    await prove(row, kafka.bootstrap, prefix, tmp_path, scenario, ["unbounded"], at_once=1)


@pytest.fixture
def memory_group() -> Iterator[Path]:
    """A memory cgroup of our own."""
    path = MEMORY / f"headrace-faults-{os.getpid()}"
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"no memory cgroup (v1) can be made here: {error.strerror}")
    yield path
    with contextlib.suppress(OSError):
        path.rmdir()


@pytest.mark.fault("T17")
async def test_a_member_out_of_memory_starts_again_and_works(kafka: Kafka, prefix: str, tmp_path: Path, row: Row, memory_group: Path) -> None:
    """The kernel kills members that find a backlog in too small a group; with that of a container one works it off."""
    limit = memory_group / "memory.limit_in_bytes"
    inside = ("sh", "-c", f'echo $$ > {memory_group}/cgroup.procs; exec "$@"', "sh")

    async def scenario(trial: Trial) -> None:
        trial.load.padding = PADDING
        await trial.load.send(BACKLOG, BACKLOG / 20_000)
        limit.write_text(str(60_000_000), encoding="ascii")
        for _ in range(3 * ROUNDS):
            number = await trial.join(wrap=inside)
            assert await trial.alive.pop(number).wait() == -signal.SIGKILL
            trial.faults += 1
        limit.write_text(str(BACKLOG_RSS_MOST), encoding="ascii")
        (memory_group / "memory.max_usage_in_bytes").write_text("0", encoding="ascii")
        number = await trial.join(wrap=inside)
        settling = asyncio.create_task(trial.settle(300))
        ending = asyncio.create_task(trial.alive[number].wait())
        await asyncio.wait({settling, ending}, return_when=asyncio.FIRST_COMPLETED)
        for task in (settling, ending):
            task.cancel()
        peak = int((memory_group / "memory.max_usage_in_bytes").read_text(encoding="ascii"))
        assert trial.alive[number].returncode is None, "the kernel kills it"
        text = f"killed by the kernel at 60 MB; with {BACKLOG_RSS_MOST / 1e6:.0f} MB it worked off {BACKLOG} events of {PADDING + 200} bytes, "
        row.figures = row.figures if trial.broken else f"{text}at most {peak / 1e6:.0f} MB with its files"

    await prove(row, kafka.bootstrap, prefix, tmp_path, scenario, ["unbounded"], at_once=1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(path)], check=False, capture_output=True, text=True)  # noqa: S607 (where mount lies differs)
    if done.returncode:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=False)  # noqa: S607 (the same)


@pytest.mark.fault("T16")
async def test_a_member_whose_disk_is_full_goes_on_when_there_is_room(kafka: Kafka, prefix: str, tmp_path: Path, row: Row, small_disk: Path) -> None:
    """The disk of the local state fills up under load: what the member cannot keep it does not commit; with room, it goes on within 30 s."""

    async def scenario(trial: Trial) -> None:
        trial.load.path = tmp_path / f"sent{trial.broken}"
        keeping = asyncio.create_task(_keep_alive(trial))
        load = asyncio.create_task(trial.load.flow(500))
        await trial.progress(300)
        full = trial.load.sent
        with contextlib.suppress(OSError), (small_disk / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(4096))
        trial.faults += 1
        await asyncio.sleep(12)
        (small_disk / "ballast").unlink()
        room = time.monotonic()
        await trial.progress(100)
        trial.recovery_seconds = time.monotonic() - room
        assert trial.recovery_seconds <= 30
        await trial.load.send_again(range(full, trial.load.sent - 2_000))  # of what was not kept nothing may pass twice
        trial.load.end_flow()
        await load
        await trial.settle()
        keeping.cancel()

    await prove(row, kafka.bootstrap, prefix, small_disk, scenario, ["write_errors_swallowed"], at_once=1)


async def _keep_alive(trial: Trial) -> None:
    """Start the member again whenever it ends, as the supervisor does."""
    while True:
        number = await trial.join(state="kept")
        await trial.alive[number].wait()
        await asyncio.sleep(1)
