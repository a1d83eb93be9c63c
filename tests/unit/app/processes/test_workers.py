"""What workers are told, and what one of them says for all."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pipeline.app.processes import workers
from pipeline.app.processes.options import ProcessOptions
from pipeline.app.processes.workers import DEATHS_MOST, Said, Worker, WorkersUnavailable, metrics_of, trouble_of
from pipeline.model.topology import Topology
from tests.unit.runtime.jumping import jumping


def test_one_worker_in_trouble_is_said_and_one_that_is_away_is_not() -> None:
    """Who is away takes no connections, so what comes is taken."""
    assert trouble_of({1: Said("", ""), 2: Said("the broker is stopped", ""), 3: None}) == "worker 2: the broker is stopped"
    assert trouble_of({1: Said("", ""), 2: None}) == ""


def test_a_worker_is_told_on_its_command_line() -> None:
    """What is written is read again."""
    worker = Worker(2, 3, "/a folder")
    assert worker == Worker.read(worker.text())


def test_any_worker_speaks_for_all(tmp_path: Path) -> None:
    """Each is asked; one that was killed and left its socket behind does not answer, and a new one takes its place."""

    async def run() -> None:
        first, second, third = [Worker(number, 3, str(tmp_path)) for number in (1, 2, 3)]
        telling = [await first.tell(lambda: Said("", "# TYPE a gauge\na 1\n")), await second.tell(lambda: Said("no broker", "# TYPE a gauge\na 2\n"))]
        (tmp_path / "worker-3").touch()
        said = await third.ask()
        assert said == {1: Said("", "# TYPE a gauge\na 1\n"), 2: Said("no broker", "# TYPE a gauge\na 2\n"), 3: None}
        assert b'a{worker="2"} 2\n' in metrics_of(said)
        assert b'headrace_worker_up{worker="3"} 0.0\n' in metrics_of(said)
        telling.append(await third.tell(lambda: Said("", "")))
        assert (await first.ask())[3] == Said("", "")
        for server in telling:
            server.close()
            await server.wait_closed()

    asyncio.run(run())


def test_workers_that_cannot_run_are_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each that ends soon after its start is tried five times, longer apart each time; once all have failed, the command ends and says so."""
    started: list[str] = []

    class Ending:
        """A process that ends at once."""

        returncode = 1

        async def wait(self) -> int:
            return 1

    async def spawn(*command: str, **_settings: object) -> Ending:
        started.append(Worker.read(command[-1]).text())
        return Ending()

    monkeypatch.setattr(asyncio, "create_subprocess_exec", spawn)
    said: list[str] = []

    @jumping
    async def run() -> None:
        options = ProcessOptions("kafka:9092", "shop", Topology("default", {}), tmp_path)
        with pytest.raises(WorkersUnavailable, match="none of the 2 workers stays up"):
            await workers._run(options, 2, ["run", "collector"], {}, said.append)

    run()
    assert len(started) in (2 * DEATHS_MOST - 1, 2 * DEATHS_MOST)
    assert len(set(started)) == 2
    assert "worker 1 ended with status 1; starting it again in 0.2 s" in said
