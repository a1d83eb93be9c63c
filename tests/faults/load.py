"""A bounded load with a record of what was sent, a reader that runs during the faults, and the laws that both are held to."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable

import orjson

from pipeline.model.record import Output
from pipeline.ports.broker import Broker


class Sent:
    """What was written and acknowledged.

    Attributes:
        ids: Every message id, in order of its first copy.
        copies: How many records were written in all.
    """

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.copies = 0


async def send_load(broker: Broker, topic: str, *, events: int, seconds: float, users: int, seed: int, duplicates: float = 0.05) -> Sent:
    """Write events of some users, some of them twice, spread over a time.

    Args:
        broker: The cluster.
        topic: Where to.
        events: How many distinct events.
        seconds: How long it takes.
        users: How many keys.
        seed: Seed of the duplicates.
        duplicates: Share of events that are written once more, later.

    Returns:
        What was acknowledged.
    """
    chance = random.Random(seed)  # noqa: S311 (test traffic, not secrets)
    producer = broker.producer()
    await producer.start()
    sent = Sent()
    batch = max(1, events // max(1, int(seconds * 20)))
    old: list[Output] = []
    try:
        for start in range(0, events, batch):
            outputs = []
            for number in range(start, min(start + batch, events)):
                user = f"user-{number % users}"
                body = {"type": "track", "event": "Load", "messageId": f"m-{number}", "userId": user, "n": number}
                output = Output(topic, user.encode(), orjson.dumps(body))
                outputs.append(output)
                sent.ids.append(f"m-{number}")
                if chance.random() < duplicates:
                    old.append(output)
            if old and chance.random() < 0.5:
                outputs.extend(old)
                old = []
            await producer.send(outputs)
            sent.copies += len(outputs)
            await asyncio.sleep(seconds * batch / events)
    finally:
        await producer.stop()
    return sent


class Observer:
    """Reads topics as any other consumer would, while faults happen.

    Attributes:
        seen: How often each message id came.
        disorder: Events that came after a later one of the same user.
    """

    def __init__(self, broker: Broker, topics: Iterable[str]) -> None:
        self._broker = broker
        self._topics = list(topics)
        self._tasks: list[asyncio.Task[None]] = []
        self._last: dict[tuple[str, str], int] = {}
        self.seen: Counter[str] = Counter()
        self.disorder: list[str] = []

    def start(self) -> None:
        """Begin to read from the beginning."""
        self._tasks = [asyncio.create_task(self._read(topic)) for topic in self._topics]

    async def _read(self, topic: str) -> None:
        async for records in self._broker.reader().read(topic, follow=True):
            for record in records:
                body = orjson.loads(record.value or b"{}")
                self.seen[body["messageId"]] += 1
                place = (topic, body["userId"])
                if body["n"] < self._last.get(place, -1):
                    self.disorder.append(body["messageId"])
                self._last[place] = body["n"]

    async def until(self, count: int, seconds: float) -> None:
        """Wait until so many different ids were seen, or the time is over."""
        async with asyncio.timeout(seconds):
            while len(self.seen) < count:
                for task in self._tasks:
                    if task.done():
                        task.result()
                await asyncio.sleep(0.2)

    async def stop(self) -> None:
        """End reading."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
