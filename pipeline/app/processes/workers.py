"""`headrace run collector --workers N`: several collectors behind one port, started, kept alive and stopped by one process.

Each worker listens on a socket of its own for the same address (SO_REUSEPORT), over which Linux spreads the connections. One listening socket for
all would not do: whichever worker is awake takes all that waits there, so that one has the work and the others look on. A worker that dies takes the
connections along that it had or was about to take; what came over them was answered by nobody, so an SDK sends it again, and the others take it.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from pipeline.app.collector import Shared, reserve
from pipeline.app.processes.admission import TOKEN_SECRET
from pipeline.app.processes.options import ProcessOptions
from pipeline.app.processes.supervisor import Supervisor
from pipeline.app.settings import Secrets
from pipeline.runtime.metrics.merging import merged

DEATHS_MOST: Final = 5
"""Deaths in a row, each soon after a start, after which a worker is held to be unable to run; once all are, there is nothing to keep alive."""
STOP_SECONDS: Final = 25.0
"""Longest that workers have to end: requests under way 10 s, and what they brought its way to the broker."""
ASK_SECONDS: Final = 2.0


class WorkersUnavailable(Exception):
    """Several workers cannot be run; the message says why and what to do."""


class Said(NamedTuple):
    """What a worker says of itself.

    Attributes:
        trouble: Why it takes no events, or empty.
        metrics: Its metrics, Prometheus' text.
    """

    trouble: str
    metrics: str


class Worker(NamedTuple):
    """What a worker is told of itself and the others.

    Attributes:
        number: Its number, from 1.
        workers: How many there are.
        folder: What they share.
    """

    number: int
    workers: int
    folder: str

    def text(self) -> str:
        """Write it for a command line."""
        return orjson.dumps(tuple(self)).decode()

    @classmethod
    def read(cls, text: str) -> Worker:
        """Read what `text` wrote."""
        return cls(*orjson.loads(text))

    @property
    def shared(self) -> Shared:
        """What it shares with the others."""
        return Shared(Path(self.folder), self.workers)

    async def tell(self, say: Callable[[], Said]) -> asyncio.Server:
        """Answer the other workers' questions.

        Args:
            say: Gives what it says of itself now.

        Returns:
            The server on a socket of the shared folder; closed by the caller.
        """

        async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(orjson.dumps(tuple(say())))
            writer.close()

        path = self._path(self.number)
        path.unlink(missing_ok=True)  # an earlier worker of this number was killed
        return await asyncio.start_unix_server(answer, path)

    async def ask(self) -> dict[int, Said | None]:
        """Ask all workers, this one too; None for one that does not answer."""
        numbers = range(1, self.workers + 1)
        return dict(zip(numbers, await asyncio.gather(*(self._ask(number) for number in numbers)), strict=True))

    async def _ask(self, number: int) -> Said | None:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self._path(number))
                try:
                    return Said(*orjson.loads(await reader.read()))
                finally:
                    writer.close()
        except (OSError, ValueError):  # also TimeoutError, and an answer that was cut off
            return None

    def _path(self, number: int) -> Path:
        return Path(self.folder) / f"worker-{number}"


def trouble_of(said: Mapping[int, Said | None]) -> str:
    """Sum up why workers take no events.

    Args:
        said: What each says, by its number. One that says nothing takes no connection either: the others have its share until it is back.

    Returns:
        All that are in trouble, or empty.
    """
    return "; ".join(f"worker {number}: {one.trouble}" for number, one in said.items() if one is not None and one.trouble)


def metrics_of(said: Mapping[int, Said | None]) -> bytes:
    """Put the metrics of workers together, each sample with its worker.

    Args:
        said: What each says, by its number.

    Returns:
        Prometheus' text.
    """
    return merged({number: None if one is None else one.metrics.encode() for number, one in said.items()})


def run_workers(options: ProcessOptions, count: int, arguments: list[str], environment: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Run collectors until told to stop (SIGTERM, SIGINT); then all of them finish what they have begun.

    Args:
        options: How they find their work; the port is that of all.
        count: How many.
        arguments: Arguments of `headrace` that start one, without port and worker.
        environment: Environment of the workers.
        say: Says what is started, and that one died and was started again.

    Raises:
        PortTaken: The address cannot be listened on.
        WorkersUnavailable: This system does not spread connections, or none of the workers stays up.
    """
    if sys.platform != "linux":
        raise WorkersUnavailable(
            "only Linux spreads the connections of a port over processes; run one collector on each of several ports, behind a proxy"
        )
    asyncio.run(_run(options, count, arguments, {**environment, TOKEN_SECRET: _token_secret(options)}, say))


async def _run(options: ProcessOptions, count: int, arguments: list[str], environment: Mapping[str, str], say: Callable[[str], None]) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for asked in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(asked, stop.set)

    def note(text: str) -> None:
        say(text)
        if flapping():
            stop.set()

    def flapping() -> bool:
        return all(child.deaths >= DEATHS_MOST and not child.lives for child in supervisor.children.values())

    supervisor = Supervisor(None, environment, note, STOP_SECONDS)
    with reserve(options.host, options.port) as kept, tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        port = kept.getsockname()[1]
        try:
            for number in range(1, count + 1):
                told = [*arguments, "--port", str(port), "--worker", Worker(number, count, folder).text()]
                await supervisor.start(f"worker {number}", told, port, "/health/ready")
            say(f"{count} workers on {options.host}:{port}")
            await stop.wait()
        finally:
            await supervisor.stop([list(supervisor.children)])
    if flapping():
        raise WorkersUnavailable(f"none of the {count} workers stays up; their lines above say why")


def _token_secret(options: ProcessOptions) -> str:
    """Give what signs access tokens: the same for all workers, or the token of one would be no token to the others."""
    try:
        return Secrets(options.home).resolve(f"${{env:{TOKEN_SECRET}}}")
    except ValueError:
        return secrets.token_hex(32)
