"""Two loads with a durable ledger of what they sent: straight to a topic, and over HTTP as an SDK does it."""

from __future__ import annotations

import asyncio
import base64
import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import orjson

from pipeline.model.record import Output
from pipeline.ports.broker import Broker, BrokerError, Producer
from tests.faults.sent import SentLedger, event_of

BATCH = 50
"""Events in one request."""
HOLD_SECONDS = 0.2
COPIED_MOST = 100_000
"""How many events back a copy may lie: within the dedup window of a soak too."""


def load_body(number: int, users: int, padding: int = 0) -> dict[str, Any]:
    """Make an event of the load.

    Args:
        number: Which one.
        users: How many users there are.
        padding: Bytes that it is larger.

    Returns:
        A spec message; each twentieth is an order.
    """
    properties: dict[str, Any] = {"seq": number, "text": "Zoë" + "." * padding}
    if number % 20 == 0:
        properties |= {"order_id": f"o-{number}", "total": number / 4, "currency": "CHF"}
    name = "Order Completed" if number % 20 == 0 else "Load"
    return {"type": "track", "messageId": f"m-{number}", "userId": f"user-{number % users}", "event": name, "properties": properties}


class TopicLoad:
    """Writes events to a topic, some of them twice; what is not acknowledged is written again, until it is.

    Args:
        broker: The cluster.
        topic: Where to.
        path: File of the ledger.
        users: How many keys.
        seed: Seed of the duplicates.
        duplicates: Share of events that are written once more, later.

    Attributes:
        path: File of the ledger.
        padding: Bytes that each event is larger.
        refused: How many sends failed, and were made again.
        open: Cleared by whoever wants `flow` to wait after what it has begun.
    """

    def __init__(self, broker: Broker, topic: str, path: Path, *, users: int = 200, seed: int = 1, duplicates: float = 0.05) -> None:
        self._broker = broker
        self._topic = topic
        self.path = path
        self._users = users
        self._chance = random.Random(seed)  # noqa: S311 (test traffic, not secrets)
        self._duplicates = duplicates
        self._number = 0
        self._flowing = False
        self.padding = 0
        self.refused = 0
        self.open = asyncio.Event()
        self.open.set()

    async def flow(self, rate: float) -> None:
        """Write distinct events until `end_flow`.

        Args:
            rate: Events in a second.
        """
        self._flowing = True
        while self._flowing:
            await self.send(max(1, int(rate)), 1.0)
            await self.open.wait()

    def end_flow(self) -> None:
        """Let `flow` come to its end."""
        self._flowing = False

    async def send_again(self, numbers: Iterable[int]) -> None:
        """Write copies of events that were written.

        Args:
            numbers: Which ones.
        """
        await self.send_bodies([load_body(number, self._users, self.padding) for number in numbers])

    async def send_bodies(self, bodies: Sequence[dict[str, Any]]) -> None:
        """Write events of any kind beside the others.

        Args:
            bodies: The events.
        """
        producer = self._broker.producer()
        try:
            with SentLedger(self.path.with_suffix(".beside")) as ledger:
                await self._write(producer, ledger, bodies)
        finally:
            await producer.stop()

    async def send(self, events: int, seconds: float) -> None:
        """Write distinct events, spread over a time.

        Args:
            events: How many.
            seconds: How long it takes.
        """
        producer = self._broker.producer()
        first, end = self._number, self._number + events
        size = max(1, events // max(1, int(seconds * 10)))
        began = time.monotonic()
        old: list[dict[str, Any]] = []
        try:
            with SentLedger(self.path) as ledger:
                while self._number < end:
                    bodies = [load_body(number, self._users, self.padding) for number in range(self._number, min(self._number + size, end))]
                    self._number += len(bodies)
                    again = [body for body in bodies if self._chance.random() < self._duplicates]
                    if old and self._chance.random() < 0.5:
                        bodies, old = [*bodies, *old], []
                    old += again
                    await self._write(producer, ledger, bodies)
                    due = began + seconds * (self._number - first) / events
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
        finally:
            await producer.stop()

    async def send_elsewhere(self, topic: str, users: Sequence[str]) -> None:
        """Write one event for each of some users straight to another topic.

        Args:
            topic: The topic.
            users: Users that nobody else writes for.
        """
        producer = self._broker.producer()
        try:
            with SentLedger(self.path.with_suffix(".elsewhere")) as ledger:
                for index, user in enumerate(users):
                    body = {**load_body(index, 1), "userId": user, "messageId": f"{user}-{index}"}
                    tried = ledger.before([event_of(body)])
                    await producer.send([Output(topic, user.encode(), orjson.dumps(body), (), index)])
                    ledger.after(tried, 200)
        finally:
            await producer.stop()

    @property
    def sent(self) -> int:
        """How many distinct events were begun with."""
        return self._number

    @property
    def paths(self) -> list[Path]:
        """The files of the ledger."""
        return [path for path in (self.path, *map(self.path.with_suffix, (".elsewhere", ".beside"))) if path.exists()]

    async def _write(self, producer: Producer, ledger: SentLedger, bodies: Iterable[dict[str, Any]]) -> None:
        events = [event_of(body) for body in bodies]
        outputs = [Output(self._topic, body["userId"].encode(), orjson.dumps(body)) for body in bodies]
        while True:
            tried = ledger.before(events)
            try:
                await producer.send(outputs)
            except BrokerError:
                ledger.after(tried, 0)
                self.refused += 1
                await asyncio.sleep(0.2)
            else:
                ledger.after(tried, 200)
                return


class HttpLoad:
    """Sends batches in a thread of its own until told to stop.

    A batch without a 2xx is sent again, as SDKs do; some give up after their first failure, and their events stay in doubt. Now and then a copy of an
    old event rides along, and a request is one that the collector must refuse.

    Args:
        port: The collector's port.
        rate: Events in a second.
        path: File of the ledger.
        seed: Seed of duplicates, refusals and patience.
        users: How many users.

    Attributes:
        answers: How many requests were answered with each status; 0 where nothing answered.
        held: Set by whoever watches the lag, to keep the load below what the machine carries at the moment.
        held_seconds: How long it was held.
        sent: Distinct events sent.
    """

    def __init__(self, port: int, *, rate: float, path: Path, seed: int, users: int = 500) -> None:
        self._port = port
        self._rate = rate
        self.path = path
        self._users = users
        self._chance = random.Random(seed)  # noqa: S311 (test traffic, not secrets)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")
        self._connection: HTTPConnection | None = None
        self._given_up: set[int] = set()
        self._patient = True
        self.held = threading.Event()
        self.held_seconds = 0.0
        self.answers: Counter[int] = Counter()
        self.sent = 0

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self, *, patient: bool = True) -> None:
        """Send no new events, and wait until the last one has its answer.

        Args:
            patient: Whether to wait for an answer however long it takes; not where nobody may be there to give one.
        """
        self._patient = patient
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        with SentLedger(self.path) as ledger:
            while not self._stop.is_set():
                if self.held.is_set():
                    self.held_seconds += HOLD_SECONDS
                    self._stop.wait(HOLD_SECONDS)
                    continue
                first = self.sent
                bodies = [load_body(first + index, self._users) for index in range(BATCH)]
                self.sent += BATCH
                copy = self._chance.randrange(max(0, self.sent - COPIED_MOST), self.sent)
                if self._chance.random() < 0.5 and copy // BATCH not in self._given_up:  # what was given up may never have come: no copy of it
                    bodies.append(load_body(copy, self._users))
                if not self._send(ledger, "/v1/batch", bodies, {"batch": bodies}, patient=self._chance.random() < 0.9):
                    self._given_up.add(first // BATCH)
                if self._chance.random() < 0.05:
                    refused = {**load_body(self.sent, self._users), "messageId": f"refused-{self.sent}", "event": ""}
                    self._send(ledger, "/v1/track", [refused], refused, patient=False)
                due = max(due + BATCH / self._rate, time.monotonic() - 1)
                self._stop.wait(max(0.0, due - time.monotonic()))
        if self._connection is not None:
            self._connection.close()

    def _send(self, ledger: SentLedger, path: str, bodies: list[dict[str, Any]], request: dict[str, Any], *, patient: bool) -> bool:
        """Send a request, again and again where it is patient; tell whether it got an answer that settles it."""
        events = [event_of(body) for body in bodies]
        text = orjson.dumps(request)
        while True:
            tried = ledger.before(events)
            status = self._post(path, text)
            ledger.after(tried, status)
            settled = 200 <= status < 300 or 400 <= status < 429
            if settled or not (patient and self._patient):
                return settled
            time.sleep(0.1)

    def _post(self, path: str, body: bytes) -> int:
        if self._connection is None:
            self._connection = HTTPConnection("127.0.0.1", self._port, timeout=15)
        headers = {"authorization": "Basic " + base64.b64encode(b"demo:").decode(), "content-type": "application/json"}
        try:
            self._connection.request("POST", path, body, headers)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, HTTPException):
            self._connection.close()
            self._connection = None
            self.answers[0] += 1
            return 0
        self.answers[answer.status] += 1
        return answer.status
