"""All connections of a collector: takes them from the listening socket, as many as it may, and ends those that are late."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from pipeline.app.collector.bodies import Bodies
from pipeline.app.collector.connection import Connection
from pipeline.app.collector.http import Head, date_line, rendered
from pipeline.ingest import Refused, answers
from pipeline.ports.clock import Clock

PIECE_BYTES: Final = 64 * 1024
"""Most that is read at once."""
_TAKEN_AT_ONCE: Final = 64
"""Connections that are taken in one turn of the loop."""

Handle = Callable[[Head, bytes | Refused, Connection], None]
"""Answers a request, now or later, by `Connection.respond`."""


class Connections:
    """The connections.

    Args:
        listening: The listening socket; closed at the end.
        most: Most connections at once; further ones wait in the backlog.
        handle: Answers a request.
        bodies: Holds what is read against its bounds.
        clock: Clock.

    Attributes:
        now: Time of the last look, seconds of a clock that never goes back.
        date: The line of the Date header.
        stored: The answer to a request whose events are stored.
        buffer: What each read goes into.
        stopping: Whether each answer is the last one of its connection.
    """

    def __init__(self, listening: socket.socket, most: int, handle: Handle, bodies: Bodies, clock: Clock) -> None:
        self._listening = listening
        self._most = most
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._all: set[Connection] = set()
        self._coming: set[asyncio.Task[object]] = set()
        self._taking = False
        self._second = -1
        self.handle = handle
        self.bodies = bodies
        self.buffer = memoryview(bytearray(PIECE_BYTES))
        self.stopping = False
        self.look()

    def look(self) -> None:
        """End what is late, and see what time it is; called a few times a second."""
        self.now = self._clock.monotonic()
        second = self._clock.now_ms() // 1000
        if second != self._second:
            self._second = second
            self.date = date_line(second)
            self.stored = rendered(answers.STORED, self.date, bodiless=False, last=False)
        for connection in list(self._all):
            connection.look(self.now)
        if not self.stopping:
            self._take_on()

    def _take_on(self) -> None:
        if not self._taking and len(self._all) + len(self._coming) < self._most:
            self._taking = True
            self._loop.add_reader(self._listening, self._take)

    def _rest(self) -> None:
        if self._taking:
            self._taking = False
            self._loop.remove_reader(self._listening)

    def _take(self) -> None:
        for _ in range(_TAKEN_AT_ONCE):
            if len(self._all) + len(self._coming) >= self._most:
                self._rest()
                return
            try:
                taken, _address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no file, no memory: at the next look there may be
                self._rest()
                return
            coming = self._loop.create_task(self._loop.connect_accepted_socket(lambda: Connection(self), taken))
            self._coming.add(coming)
            coming.add_done_callback(self._came)

    def _came(self, coming: asyncio.Task[object]) -> None:
        self._coming.discard(coming)
        if not coming.cancelled():
            coming.exception()  # a client that has gone meanwhile

    def add(self, connection: Connection) -> None:
        """Look after a connection from now on."""
        self._all.add(connection)

    def remove(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        self._all.discard(connection)
        if not self.stopping:
            self._take_on()

    async def stop(self, seconds: float) -> None:
        """Take no more connections and requests, and wait for the answers to those that have begun.

        Args:
            seconds: Longest wait; what goes on then is cut.
        """
        self.stopping = True
        self._rest()
        self._listening.close()
        end = self._loop.time() + seconds
        while self._all or self._coming:
            for connection in list(self._all):
                connection.end()
            if self._loop.time() > end:
                for connection in list(self._all):
                    connection.abort()
                break
            await asyncio.sleep(0.01)
