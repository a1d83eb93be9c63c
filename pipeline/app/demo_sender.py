"""Sends the made-up shop's traffic to a collector, at its pace."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import orjson

from pipeline.app.cli.errors import CommandError
from pipeline.demo import DemoCall, shop_events
from pipeline.ports.clock import Clock
from pipeline.ports.http import Answer, HttpClient, Request

TICK_SECONDS: Final = 0.1
BATCH: Final = 100
"""Most calls in one request."""
AGAIN_SECONDS: Final = 0.2
PATIENCE_SECONDS: Final = 60.0
"""How long one request is tried again where the collector may be away."""


class DemoSender:
    """Sends until told to stop.

    Args:
        client: HTTP client.
        clock: Time.
        collector: Address of the collector.
        write_key: Write key of the source.
        patient: Whether a request that is not acknowledged is sent again, as SDKs do; else it is an error.
        acknowledged: Called with the calls of each request that was answered 2xx.

    Attributes:
        counts: Calls `sent`, `requests`, and calls of each kind.
    """

    def __init__(
        self,
        client: HttpClient,
        clock: Clock,
        *,
        collector: str,
        write_key: str,
        patient: bool = False,
        acknowledged: Callable[[Sequence[DemoCall]], None] = lambda _calls: None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._collector = collector
        self._headers = {"authorization": f"Basic {b64encode(f'{write_key}:'.encode()).decode()}", "content-type": "application/json"}
        self._patient = patient
        self._acknowledged = acknowledged
        self.counts: Counter[str] = Counter()

    async def run(self, rate: float, seed: int, stop: asyncio.Event, show: Callable[[], None] = lambda: None) -> None:
        """Send the shop's traffic.

        Args:
            rate: Calls a second.
            seed: The same seed gives the same shop.
            stop: Set by the caller to end it; the request under way is finished.
            show: Called after each round.

        Raises:
            CommandError: Nothing answers, or the answer is an error that no other try helps.
        """
        calls = shop_events(seed, self._clock.now_ms(), rate)
        waiting = next(calls)
        while not stop.is_set():
            due: list[DemoCall] = []
            while waiting.at_ms <= self._clock.now_ms():
                due.append(waiting)
                waiting = next(calls)
            for start in range(0, len(due), BATCH):
                await self._send(due[start : start + BATCH])
            show()
            await self._clock.sleep(TICK_SECONDS)

    async def _send(self, calls: Sequence[DemoCall]) -> None:
        request = Request("POST", f"{self._collector}/v1/batch", self._headers, orjson.dumps({"batch": [call.body for call in calls]}))
        until = self._clock.monotonic() + PATIENCE_SECONDS
        answer = await self._client.send(request)
        while self._patient and answer.status in (0, 429, 503) and self._clock.monotonic() < until:
            await self._clock.sleep(AGAIN_SECONDS)
            answer = await self._client.send(request)
        self._check(answer)
        self.counts["requests"] += 1
        self.counts["sent"] += len(calls)
        self.counts.update(call.kind for call in calls)
        if answer.status == 200:
            self._acknowledged(calls)

    def _check(self, answer: Answer) -> None:
        if answer.status == 0:
            remedy = "start it with `headrace up`, or set HEADRACE_PORT to its port"
            raise CommandError(f"nothing answers at {self._collector} ({answer.error})", remedy)
        if answer.status not in (200, 429, 503):
            raise CommandError(f"the collector answered {answer.status}: {answer.body[:200].decode('utf-8', 'replace')}", "check --write-key")
