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
from tests.faults.laws import Verdict, bounded, hold
from tests.faults.report import Row
from tests.faults.trial import ROUNDS, Trial, note, prove, trying

pytestmark = [pytest.mark.faults, pytest.mark.integration]

BACKLOG = int(os.environ.get("HEADRACE_FAULT_BACKLOG", "100000"))
"""Events that wait for a member; `make faults` asks for a million."""
RSS_MOST = 500_000_000
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
    chance = random.Random(18)  # noqa: S311 (when it ends need not be secret)
    times = 5 * ROUNDS
    longest = 0.0

    async def scenario(trial: Trial) -> None:
        nonlocal longest
        load = asyncio.create_task(trial.load.send(1_500 * times, 3.5 * times))
        for _ in range(times):
            number = await trial.join(state="kept")
            await trial.progress(50, seconds=20)
            await asyncio.sleep(chance.uniform(0.0, 0.5))
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
            assert status == 0, trial.log_of(number)
            # The broker would count one that says no goodbye as a member for the rest of its session, 6 s.
            assert not await trial.broker.admin().members(f"{prefix}.split"), "a member that ended in order has not left its group"
            longest = max(longest, time.monotonic() - began)
            trial.faults += 1
            if trial.broken == "deaf":
                break
        await load
        await trial.join(state="kept")
        await trial.settle()

    try:
        await prove(row, kafka.bootstrap, prefix, tmp_path, scenario, ["deaf"])
    finally:
        row.figures = f"slowest end {longest:.1f} s"


@pytest.mark.fault("T43")
async def test_a_backlog_is_caught_up_with(kafka: Kafka, prefix: str, tmp_path: Path, row: Row) -> None:
    """Members that were away find a backlog while more comes in: they catch up at least twice as fast as it grows, in bounded memory."""
    async with trying(kafka.bootstrap, prefix, tmp_path / "trial") as trial:
        await trial.load.send(BACKLOG, BACKLOG / 20_000)
        inflow = asyncio.create_task(trial.load.send(BACKLOG // 10, 20))
        await trial.join()
        await trial.progress(1)
        began, cpu = time.monotonic(), 0.0
        rss = 0
        while len(trial.observer.ids) < BACKLOG and time.monotonic() - began < 600:
            rss = max(rss, trial.rss_bytes())
            await asyncio.sleep(0.2)
        seconds = time.monotonic() - began
        cpu = trial.cpu_seconds()
        await inflow
        await trial.settle(300)
        verdicts = await trial.verdicts()
        note(row, trial, verdicts)
        row.figures = (
            f"{BACKLOG} events in {seconds:.0f} s, {BACKLOG / seconds:.0f}/s beside the reader, {cpu / BACKLOG * 1e6:.0f} us of CPU each; "
            f"inflow {BACKLOG / 200:.0f}/s; member's memory at most {rss / 1e6:.0f} MB"
        )
        faster = () if BACKLOG / seconds >= 2 * BACKLOG / 200 else (row.figures,)
        hold(
            [
                *verdicts,
                Verdict("L8 catches up twice as fast as it grows", 1, faster),
                bounded({"rss": rss}, {"rss": RSS_MOST}),
            ]
        )


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
    async with trying(kafka.bootstrap, prefix, tmp_path / "trial") as trial:
        await trial.load.send(BACKLOG, BACKLOG / 20_000)
        inside = ("sh", "-c", f'echo $$ > {memory_group}/cgroup.procs; exec "$@"', "sh")
        limit.write_text(str(60_000_000), encoding="ascii")
        for _ in range(3 * ROUNDS):
            number = await trial.join(wrap=inside)
            assert await trial.alive.pop(number).wait() == -signal.SIGKILL
            trial.faults += 1
        limit.write_text(str(RSS_MOST), encoding="ascii")
        number = await trial.join(wrap=inside)
        await trial.settle(300)
        peak = int((memory_group / "memory.max_usage_in_bytes").read_text(encoding="ascii"))
        assert trial.alive[number].returncode is None
        verdicts = await trial.verdicts()
        note(row, trial, verdicts)
        row.figures = (
            f"killed by the kernel at 60 MB; with {RSS_MOST / 1e6:.0f} MB it worked off {BACKLOG} events, at most {peak / 1e6:.0f} MB with its files"
        )
        hold(verdicts)


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
    async with trying(kafka.bootstrap, prefix, small_disk) as trial:
        trial.load.path = tmp_path / "sent"
        keeping = asyncio.create_task(_keep_alive(trial))
        load = asyncio.create_task(trial.load.send(12_000, 24))
        await trial.progress(300)
        with contextlib.suppress(OSError), (small_disk / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(4096))
        trial.faults += 1
        await asyncio.sleep(12)
        (small_disk / "ballast").unlink()
        room = time.monotonic()
        await trial.progress(100)
        row.figures = f"came through again {time.monotonic() - room:.1f} s after there was room"
        await load
        await trial.settle()
        keeping.cancel()
        verdicts = await trial.verdicts()
        note(row, trial, verdicts)
        hold(verdicts)


async def _keep_alive(trial: Trial) -> None:
    """Start the member again whenever it ends, as the supervisor does."""
    while True:
        number = await trial.join(state="kept")
        await trial.alive[number].wait()
        await asyncio.sleep(1)
