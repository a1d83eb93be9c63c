"""A tool that behaves as badly as tools do: raw sockets on loopback, one behaviour for each path, all that it got written down.

`async with HostileTool() as tool:` serves until the block ends. `tool.url("/crm")` is an address; `tool.behave["/crm"] = silence` says what
comes of it. A behaviour gets the request and writes whatever it likes; `Closed` ends the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from typing import NamedTuple, Self

import orjson


class Seen(NamedTuple):
    """A request as it came.

    Attributes:
        path: Its path.
        id: Its `webhook-id`.
        body: Its body.
        at: When its last byte was read, monotonic seconds.
    """

    path: str
    id: str
    body: bytes
    at: float


Behaviour = Callable[[Seen, asyncio.StreamWriter], Awaitable[None]]


class HostileTool:
    """Serves on loopback.

    Args:
        host: Its address.
        port: Its port; 0 for a free one.

    Attributes:
        behave: What comes of a request, by path; 200 where nothing is said.
        seen: All requests, in the order in which they were read.
        accepted: The ids that were answered with 200, by path, in order.
        connections: How many connections were made.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.port = port
        self.connections = 0
        self.behave: dict[str, Behaviour] = {}
        self.seen: list[Seen] = []
        self.accepted: dict[str, list[str]] = defaultdict(list)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, self.host, self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cut every connection."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def url(self, path: str) -> str:
        """Give the address of a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{path}"

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                seen = await _read(reader)
                self.seen.append(seen)
                await self.behave.get(seen.path, self.accept)(seen, writer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, Closed):
            pass
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def accept(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        """Answer 200 and write the id down."""
        self.accepted[seen.path].append(seen.id)
        answer(writer, 200)

    def scripted(self, scripts: dict[str, list[int]]) -> Behaviour:
        """Answer each id with its script of statuses, then 200.

        Args:
            scripts: Statuses by id; they are used up.
        """

        async def behave(seen: Seen, writer: asyncio.StreamWriter) -> None:
            script = scripts.get(seen.id)
            if script:
                answer(writer, script.pop(0))
            else:
                await self.accept(seen, writer)

        return behave


class Closed(Exception):
    """A behaviour ends its connection."""


async def _read(reader: asyncio.StreamReader) -> Seen:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(lines[0].split(" ")[1], headers.get("webhook-id", "") or str(orjson.loads(body).get("id", "")), body, time.monotonic())


def answer(writer: asyncio.StreamWriter, status: int, headers: str = "", body: bytes = b"") -> None:
    """Write an answer."""
    writer.write(f"HTTP/1.1 {status} X\r\n{headers}content-length: {len(body)}\r\n\r\n".encode() + body)


def with_status(status: int, headers: str = "") -> Behaviour:
    """Answer every request alike."""

    async def behave(_seen: Seen, writer: asyncio.StreamWriter) -> None:
        answer(writer, status, headers)

    return behave


def after(tool: HostileTool, seconds: float) -> Behaviour:
    """Accept every request, after a while.

    Args:
        tool: Whose behaviour it is.
        seconds: How long it takes.
    """

    async def behave(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        await tool.accept(seen, writer)

    return behave


def in_turn(*statuses: int) -> Behaviour:
    """Answer with one status after the other, and begin again."""
    turn = itertools.cycle(statuses)

    async def behave(_seen: Seen, writer: asyncio.StreamWriter) -> None:
        answer(writer, next(turn))

    return behave


async def silence(_seen: Seen, _writer: asyncio.StreamWriter) -> None:
    """Read the request and never answer."""
    await asyncio.Event().wait()


async def slow_loris(_seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Answer a byte now and then."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.2)


async def slow_head(_seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Answer a head that never comes to its end, slowly."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x-more: y\r\n")
        await writer.drain()
        await asyncio.sleep(0.2)


async def endless_head(_seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Answer headers without end, as fast as they are taken."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x-more: " + b"y" * 8000 + b"\r\n")
        await writer.drain()


async def endless_line(_seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Answer one header that has no end."""
    writer.write(b"HTTP/1.1 200 OK\r\nx-more: ")
    while True:
        writer.write(b"y" * 65536)
        await writer.drain()


async def huge_body(_seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Answer 200 with ten gigabytes, as fast as they are taken."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


_BOMB = gzip.compress(b"0" * 200_000_000, 1)


async def bomb(_seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Answer 200 with a megabyte that unpacks to two hundred."""
    answer(writer, 200, "content-encoding: gzip\r\n", _BOMB)


@contextlib.contextmanager
def blackhole() -> Iterator[int]:
    """Give a port of loopback at which no connection is ever made: whoever tries waits."""
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):  # those that the kernel takes by itself; the next one finds the queue full
            caller = sockets.enter_context(socket.socket())
            caller.settimeout(0)
            caller.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def reset_first(tool: HostileTool, times: int) -> Behaviour:
    """Take the request, then reset the connection instead of answering, so many times for each id; then accept.

    Args:
        tool: Whose behaviour it is.
        times: How often.
    """
    taken: Counter[str] = Counter()

    async def behave(seen: Seen, writer: asyncio.StreamWriter) -> None:
        taken[seen.id] += 1
        if taken[seen.id] > times:
            await tool.accept(seen, writer)
            return
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        raise Closed

    return behave


def twice_first(tool: HostileTool) -> Behaviour:
    """Answer the first try of each id with 503 and 200 in one piece; accept the second.

    Args:
        tool: Whose behaviour it is.
    """
    taken: set[str] = set()

    async def behave(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.id in taken:
            await tool.accept(seen, writer)
            return
        taken.add(seen.id)
        # In one piece: what comes later, over a connection that is used again by then, nobody can tell from an answer to the next request.
        writer.write(b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 X\r\ncontent-length: 0\r\n\r\n")

    return behave
