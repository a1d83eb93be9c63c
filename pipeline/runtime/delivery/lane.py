"""What all partitions of one destination share in a process: how many requests at once, how many a second, and whether any at all."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from pipeline.deliver.answers import forms_to_mask
from pipeline.deliver.verdicts import Disable, Park, Retry, Verdict
from pipeline.destinations.declaration import DestinationType
from pipeline.ports.clock import Clock
from pipeline.ports.metrics import Metrics
from pipeline.runtime.delivery.entry import REPLAY, Entry, Member
from pipeline.runtime.translated_anew import Renewal

_log = logging.getLogger(__name__)

LaneState = Literal["open", "parked", "broken", "disabled"]
"""`open`: requests flow. `parked`, `broken`: one probe at a time, now and then. `disabled`: nothing until it is declared anew."""

BY_COMMAND: Final = "parked_by_command"
"""Reason of a destination that a person parked: it is not probed, and only a person resumes it."""

_BURST_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """A destination as deliver needs it.

    Attributes:
        destination: Destination id.
        type: Its type.
        secrets: Its secrets, resolved, by placeholder name; in no log, metric or error.
        missing: Names of secrets that are declared but cannot be resolved; what needs one of them waits.
        rate: Most requests a second from this process, or None for no limit.
        concurrency: Most requests at once from this process; a change counts from the next assignment on.
        ordered: Whether all requests of a user keep their order, also through retries.
    """

    destination: str
    type: DestinationType
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    missing: frozenset[str] = frozenset()
    rate: float | None = None
    concurrency: int = 16
    ordered: bool = False


@dataclass(frozen=True, slots=True)
class Patience:
    """When a destination counts as broken, and how often it is probed.

    Attributes:
        probe_seconds: Time between two probes of a parked destination.
        circuit_after: Network errors and 5xx answers in a row, without any other answer, that open the circuit.
        circuit_seconds: Time before the first probe of a broken destination; each further one takes twice as long.
        circuit_most_seconds: Longest time between two probes of a broken destination.
    """

    probe_seconds: float = 30.0
    circuit_after: int = 20
    circuit_seconds: float = 5.0
    circuit_most_seconds: float = 300.0


REPLAY_SHARE: Final = 4
"""A replay job has at most one of so many senders (and at least one), so that live requests never wait for it to finish."""


class TokenBucket:
    """Spreads requests over time.

    Args:
        rate: Requests a second; a tenth of a second's worth may go at once.
    """

    def __init__(self, rate: float) -> None:
        self._interval = 1 / rate
        self._burst = max(_BURST_SECONDS, self._interval)
        self._next = float("-inf")

    def reserve(self, now: float) -> float:
        """Take a token.

        Args:
            now: Monotonic time in seconds.

        Returns:
            How long to wait before it may be used, in seconds.
        """
        self._next = max(self._next, now - self._burst) + self._interval
        return max(0.0, self._next - now)


class DeliveryLane:
    """The way to one destination.

    Args:
        settings: The destination.
        clock: Time.
        metrics: Counts.
        patience: When it counts as broken, and how often it is probed.

    Attributes:
        renewal: Translates anew what was rendered before the destination changed; None where it goes as it was rendered.
    """

    def __init__(self, settings: DeliverySettings, *, clock: Clock, metrics: Metrics, patience: Patience | None = None) -> None:
        self._clock = clock
        self._metrics = metrics
        self._patience = patience or Patience()
        self._queues: tuple[deque[Entry], ...] = (deque(), deque(), deque())
        self._replaying = 0
        self._members: list[Member] = []
        self._senders: set[asyncio.Task[None]] = set()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._failures_in_a_row = 0
        self._probes_failed = 0
        self._probe: Entry | None = None
        self._may_probe = False
        self._timer: asyncio.Task[None] | None = None
        self._held = 0
        self._by_command = False
        self._commanded_ms = 0
        self.renewal: Renewal | None = None
        self.state: LaneState = "open"
        self.reason = ""
        self.update(settings)

    def update(self, settings: DeliverySettings) -> None:
        """Take new settings; a destination that was parked or disabled gets another chance at once.

        Args:
            settings: The same destination, declared anew.
        """
        self.settings = settings
        self.masks = forms_to_mask(settings.secrets.values())
        self._bucket = TokenBucket(settings.rate) if settings.rate else None
        self._resume()

    @property
    def busy(self) -> str:
        """What its requests wait for on purpose, or empty: then somebody is free to send one, and should."""
        if self.state != "open":
            return f"destination {self.settings.destination} ({self.state})"
        return f"answers of {self.settings.destination}" if len(self._senders) > len(self._idle) else ""

    @property
    def stopped_itself(self) -> bool:
        """Whether requests wait for what a tool answered, and not for a person."""
        return self.state != "open" and not self._by_command

    def command(self, *, parked: bool, at_ms: int) -> bool:
        """Obey a command to park or resume; one that was obeyed already changes nothing.

        Args:
            parked: Whether nothing may be sent from now on. Otherwise a destination that was parked, by whatever, gets another chance.
            at_ms: When the command was given, milliseconds since the epoch.

        Returns:
            Whether it is a new one.
        """
        if at_ms <= self._commanded_ms:
            return False
        self._commanded_ms = at_ms
        if parked:
            self._pause("parked", BY_COMMAND)
            self._by_command = True
        else:
            self._by_command = False
            self._resume()
        return True

    def join(self, member: Member) -> None:
        """Add a worker; the first one starts the senders."""
        self._members.append(member)
        while len(self._senders) < self.settings.concurrency:
            sender = asyncio.create_task(self._send(), name=f"deliver {self.settings.destination}")
            self._senders.add(sender)
        if self.state in ("parked", "broken") and self._timer is None:
            self._probe_later()

    def withdraw(self, member: Member) -> None:
        """Take back what a worker has put in and no sender has taken yet."""
        for queue in self._queues:
            kept = [entry for entry in queue if entry.owner is not member]
            queue.clear()
            queue.extend(kept)

    def leave(self, member: Member) -> None:
        """Remove a worker; the last one stops the senders and what they have under way."""
        if member not in self._members:
            return
        self.withdraw(member)
        self._members.remove(member)
        if self._probe is not None and self._probe.owner is member:
            self._probe = None
            self._probe_later()
        if not self._members:
            for task in (*self._senders, self._timer):
                if task is not None:
                    task.cancel()
            self._senders.clear()
            self._idle.clear()
            self._replaying = 0
            self._timer = None

    @property
    def unfinished(self) -> int:
        """How many requests were taken up and are not finished."""
        return sum(member.unfinished for member in self._members)

    @property
    def held(self) -> int:
        """How many requests wait for an earlier one of their user."""
        return self._held

    def count_held(self, change: int) -> None:
        """Note how many more, or fewer, requests of the destination wait for an earlier one of their user."""
        if change:
            self._held += change
            self._metrics.set("headrace_held_requests", self._held, destination=self.settings.destination)

    def put(self, entry: Entry) -> None:
        """Add a request at the end."""
        self._queues[entry.owner.rank].append(entry)
        self._wake(1)

    def put_back(self, entry: Entry) -> None:
        """Add a request that was kept at the front."""
        self._queues[entry.owner.rank].appendleft(entry)

    def keeps(self, entry: Entry, verdict: Verdict) -> str:
        """Note what an attempt came to.

        Args:
            entry: The request.
            verdict: What its answer means.

        Returns:
            The reason for which the request stays where it is, to be sent again by this lane; empty where the verdict stands.
        """
        probe = self._probe is entry
        if probe:
            self._probe = None
        if isinstance(verdict, Park):
            self._pause("parked", verdict.reason)
            return verdict.reason
        if isinstance(verdict, Disable):
            self._pause("disabled", verdict.reason)
            return verdict.reason
        if isinstance(verdict, Retry):
            return self._failed(verdict, probe=probe)
        self._failures_in_a_row = 0
        if probe:
            self._resume()
        return ""

    def _failed(self, verdict: Retry, *, probe: bool) -> str:
        self._failures_in_a_row = self._failures_in_a_row + 1 if verdict.broken else 0
        if self._by_command:
            return self.reason
        if self.state == "open" and self._failures_in_a_row >= self._patience.circuit_after:
            self._pause("broken", "circuit_open")
        elif probe:
            self._probes_failed += 1
            self._probe_later()
        return self.reason

    def _pause(self, state: LaneState, reason: str) -> None:
        if self._by_command:
            return
        if self.state != state:
            _log.warning("Destination %s is %s (%s); its backlog is kept.", self.settings.destination, state, reason)
            self._probes_failed = 0
        self.state, self.reason = state, reason
        self._may_probe = False
        self._metrics.set("headrace_destination_parked", 1, destination=self.settings.destination)
        if reason == BY_COMMAND and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._probe_later()

    def _resume(self) -> None:
        if self._by_command:
            return
        if self.state != "open":
            _log.info("Destination %s takes requests again.", self.settings.destination)
        self.state, self.reason = "open", ""
        self._failures_in_a_row = self._probes_failed = 0
        self._probe = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._metrics.set("headrace_destination_parked", 0, destination=self.settings.destination)
        self._wake(len(self._idle))

    def _probe_later(self) -> None:
        if self._timer is not None or self.state in ("open", "disabled") or self.reason == BY_COMMAND or not self._members:
            return
        self._timer = asyncio.create_task(self._allow_probe())

    async def _allow_probe(self) -> None:
        patience = self._patience
        wait = patience.probe_seconds
        if self.state == "broken":
            wait = min(patience.circuit_seconds * 2 ** min(self._probes_failed, 16), patience.circuit_most_seconds)
        await self._clock.sleep(wait)
        self._timer = None
        self._may_probe = True
        self._wake(1)

    def _wake(self, count: int) -> None:
        idle = self._idle
        while count > 0 and idle:
            waiter = idle.popleft()
            if not waiter.done():
                waiter.set_result(None)
                count -= 1

    def _next(self) -> Entry | None:
        if self.state != "open" and (not self._may_probe or self._probe is not None):
            return None
        for rank, queue in enumerate(self._queues):
            if queue:
                if rank == REPLAY:
                    if self._replaying >= max(1, self.settings.concurrency // REPLAY_SHARE):
                        return None
                    self._replaying += 1
                entry = queue.popleft()
                if self.state != "open":
                    self._may_probe = False
                    self._probe = entry
                return entry
        return None

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            entry = self._next()
            if entry is None:
                waiter = loop.create_future()
                self._idle.append(waiter)
                await waiter
                continue
            if self._bucket is not None and (wait := self._bucket.reserve(self._clock.monotonic())):
                await self._clock.sleep(wait)
                if self._by_command and entry.owner in self._members:
                    self.put_back(entry)  # it was parked while this one waited for its turn
                    continue
            await entry.owner.attempt(entry)
            if entry.owner.rank == REPLAY:
                self._replaying -= 1
