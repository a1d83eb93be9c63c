"""Micro-batches: what many requests want stored goes to the broker at once, and each request learns whether it was stored."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from pipeline.ingest import Refused, refusals
from pipeline.model.record import Output
from pipeline.ports.broker import BrokerError, Producer, RecordRefused
from pipeline.ports.clock import Clock

_log = logging.getLogger(__name__)

MOST_BYTES: Final = 64 * 1024 * 1024
"""Most bytes that wait to be stored or are being read; beyond it requests are refused."""
FLIGHT_BYTES: Final = 4 * 1024 * 1024
"""Bytes of one send, unless a single request has more."""
FLIGHTS: Final = 2
"""Most sends at once."""
BESIDE_BYTES: Final = 64 * 1024
"""Bytes that are worth a send of their own, beside another one and without a rest: a send costs about as much for one record as for fifty."""
REST_SECONDS: Final = 0.004
"""Least time from the start of one send to the next, in which requests gather, while many come. After a silence a request goes at once."""
MANY_REQUESTS: Final = 3
"""Requests of one send that make it worth the wait: those of a client that sends one after the other go at once, each on its own."""
PATIENCE_SECONDS: Final = 5.0
"""How long a request waits until it is told to come back: less than the shortest time-out of an SDK."""
RECORD_BYTES: Final = 256
"""What a record takes in memory beside its bytes, about."""


Told = Callable[[bool], None]
"""Told once whether a request's records were stored."""


class Waiting:
    """One request's records, and who is told whether they were stored."""

    __slots__ = ("_told", "outputs", "since", "size")

    def __init__(self, outputs: Sequence[Output], size: int, told: Told, since: float) -> None:
        self._told: Told | None = told
        self.outputs = outputs
        self.size = size
        self.since = since

    @property
    def untold(self) -> bool:
        """Whether nobody was told yet."""
        return self._told is not None

    def tell(self, *, stored: bool) -> None:
        """Tell whether the records were stored, unless that has been told before."""
        told, self._told = self._told, None
        if told is not None:
            told(stored)


class Outbox:
    """Gathers records and sends them.

    Attributes:
        held_bytes: Bytes that are held for requests: bodies that are being read, records that wait or are under way.
        crashed: Becomes an exception when sending failed in a way that is a bug of ours.
        trouble: Why the broker does not take events now, or empty.
    """

    def __init__(self, producer: Producer, clock: Clock, *, most_bytes: int = MOST_BYTES, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._producer = producer
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._most_bytes = most_bytes
        self._patience_seconds = patience_seconds
        self._waiting: deque[Waiting] = deque()
        self._waiting_bytes = 0
        self._flights: dict[asyncio.Task[None], list[Waiting]] = {}
        self._scheduled: asyncio.Handle | None = None
        self._resting = False
        self._began = 0.0
        self._gathered = 0
        self.held_bytes = 0
        self.trouble = ""
        self.crashed: asyncio.Future[None] = self._loop.create_future()

    def has_room(self, size: int) -> bool:
        """Say whether so many bytes more may be held; what is alone is always taken."""
        return self.held_bytes == 0 or self.held_bytes + size <= self._most_bytes

    def give(self, outputs: Sequence[Output], size: int, told: Told) -> None:
        """Give records to be stored, all together.

        Args:
            outputs: Records in order.
            size: Bytes of their keys and values.
            told: Told True once the broker has stored all of them, and False where they may not be stored: after an error, or when it
                takes too long.
        """
        size += RECORD_BYTES * len(outputs)
        self.held_bytes += size
        self._waiting.append(Waiting(outputs, size, told, self._clock.monotonic()))
        self._waiting_bytes += size
        self._schedule()

    def put(self, outputs: Sequence[Output], size: int) -> asyncio.Future[bool]:
        """Give records to be stored, as `give` does.

        Returns:
            A future of what is told.
        """
        stored: asyncio.Future[bool] = self._loop.create_future()
        self.give(outputs, size, lambda whether: None if stored.done() else stored.set_result(whether))
        return stored

    async def store(self, outputs: Sequence[Output], size: int) -> Refused | None:
        """Store records, all together.

        Args:
            outputs: Records in order.
            size: Bytes of their keys and values.

        Returns:
            The refusal where there is no room for them, or the broker has not stored them in time; None once all are stored.
        """
        if not self.has_room(size):
            return refusals.OVERLOADED
        return None if await self.put(outputs, size) else refusals.UNAVAILABLE

    def _schedule(self) -> None:
        worth_it = self._waiting_bytes >= BESIDE_BYTES
        if self._scheduled is not None and self._resting and worth_it:
            self._scheduled.cancel()
            self._scheduled = None
        if not self._waiting or self._scheduled is not None:
            return
        if not self._flights or (len(self._flights) < FLIGHTS and worth_it):
            rest = 0.0 if worth_it or self._gathered < MANY_REQUESTS else self._began + REST_SECONDS - self._loop.time()
            self._resting = rest > 0
            self._scheduled = self._loop.call_later(rest, self._take_off) if self._resting else self._loop.call_soon(self._take_off)

    def _take_off(self) -> None:
        self._scheduled = None
        self._began = self._loop.time()
        flight: list[Waiting] = []
        size = 0
        while self._waiting and (not flight or size + self._waiting[0].size <= FLIGHT_BYTES):
            waiting = self._waiting.popleft()
            size += waiting.size
            flight.append(waiting)
        self._waiting_bytes -= size
        self._gathered = len(flight)
        if flight:
            task = self._loop.create_task(self._send(flight))
            self._flights[task] = flight
            task.add_done_callback(self._landed)
        self._schedule()

    def _landed(self, task: asyncio.Task[None]) -> None:
        for waiting in self._flights.pop(task):
            self.held_bytes -= waiting.size
            waiting.tell(stored=False)  # no effect on one that was stored
        if not task.cancelled() and (error := task.exception()) is not None and not self.crashed.done():
            self.crashed.set_exception(error)
        self._schedule()

    async def _send(self, flight: list[Waiting]) -> None:
        try:
            await self._producer.send([output for waiting in flight for output in waiting.outputs])
        except RecordRefused as error:
            _log.warning("The broker refused a record: %s", error)
            if len(flight) > 1:  # only the request that it belongs to shall fail; what is stored twice is a duplicate by its message id
                for waiting in flight:
                    await self._send([waiting])
            return
        except BrokerError as error:
            _log.warning("Events of %d requests could not be stored: %s", len(flight), error)
            self.trouble = str(error)
            return
        self.trouble = ""
        for waiting in flight:
            waiting.tell(stored=True)

    def give_up_on_late(self) -> None:
        """Tell the requests that have waited too long; what is under way for them stays held until its send ends."""
        late = self._clock.monotonic() - self._patience_seconds
        while self._waiting and self._waiting[0].since <= late:
            waiting = self._waiting.popleft()
            self._waiting_bytes -= waiting.size
            self.held_bytes -= waiting.size
            waiting.tell(stored=False)
        for flight in self._flights.values():
            for waiting in flight:
                if waiting.since <= late and waiting.untold:
                    self.trouble = "the broker does not answer in time"
                    waiting.tell(stored=False)

    async def look(self) -> None:
        """Ask whether the broker is back, where it was away: who reads the trouble may send no events meanwhile that would show it."""
        if self.trouble and not self._flights:
            try:
                await self._producer.start()
            except BrokerError as error:
                self.trouble = str(error)
            else:
                self.trouble = ""

    async def drain(self) -> None:
        """Wait until everything given is stored or given up; the caller goes on calling `give_up_on_late`."""
        while self._waiting or self._flights:
            if self._flights:
                await asyncio.wait(list(self._flights), timeout=self._patience_seconds)
            else:
                await asyncio.sleep(0)
