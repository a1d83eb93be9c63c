"""The collector before a broker that stops answering: what it answers, what it holds, and that no acknowledged event is lost.

Run: `python -m benchmarks.stopped_broker [--json]`. 256 connections send requests of 400 KB; the broker is frozen (SIGSTOP) in between, so that more
comes than the collector may hold (64 MiB). Looked for: memory stays bounded; every refusal is a 503 with Retry-After, at once where there is no room,
and else within a second of the collector's patience (5 s); once the broker answers again, everything that got a 200 is in its log.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import psutil
import uvloop

from benchmarks.cluster import Cluster, Running, cluster, rounded, running, shop_bodies
from pipeline.app.collector.outbox import MOST_BYTES, PATIENCE_SECONDS
from pipeline.model.topics import topic_name

CONNECTIONS: Final = 256
EVENTS: Final = 40
EVENT_BYTES: Final = 10_000
"""Events of a request and their size: 256 such requests at once are more than the collector may hold."""
PAUSE_SECONDS: Final = 4.0
"""What a connection waits after a 200, so that the frozen broker is what limits."""
EAGER_SECONDS: Final = 0.25
"""What it waits after a refusal: less than Retry-After says."""
READY_SECONDS: Final = 60
LOOK_SECONDS: Final = 0.1
_AUTHORIZATION: Final = base64.b64encode(b"demo:").decode()


@dataclass
class Seen:
    """What the clients saw.

    Attributes:
        acknowledged: Message ids of requests with a 200.
        slowest: Longest time to an answer, seconds, by status and reason.
        answers: How many, by the same.
        without_retry_after: Refusals that lacked the header.
        back: Loop time of the first 200 to a request that was sent after the broker went on; 0 before.
        went_on: Loop time at which it went on; infinite before.
    """

    acknowledged: set[str] = field(default_factory=set)
    slowest: dict[str, float] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    without_retry_after: int = 0
    back: float = 0.0
    went_on: float = float("inf")

    def note(self, head: bytes, body: bytes, identities: list[str], began: float, ended: float) -> bool:
        """Write an answer down; gives whether it was a 200."""
        status = head[9:12].decode()
        refused = status != "200"
        reason = f"{status} {orjson.loads(body).get('code', '')}".strip() if refused else status
        self.answers[reason] += 1
        self.slowest[reason] = max(self.slowest.get(reason, 0.0), ended - began)
        if refused:
            self.without_retry_after += b"\r\nretry-after:" not in head.lower()
            return False
        self.acknowledged.update(identities)
        if not self.back and began > self.went_on:
            self.back = ended
        return True


async def _client(port: int, number: int, seen: Seen, until: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    bodies = list(shop_bodies(EVENTS, EVENT_BYTES))
    turn = 0
    await asyncio.sleep(PAUSE_SECONDS * number / CONNECTIONS)
    while not until.is_set():
        turn += 1
        mark = b"-%03d-%04d" % (number, turn)
        identities = [f"{orjson.loads(body)['messageId']}{mark.decode()}" for body in bodies]
        events = [body.replace(orjson.loads(body)["messageId"].encode(), name.encode(), 1) for body, name in zip(bodies, identities, strict=True)]
        body = b'{"batch":[' + b",".join(events) + b"]}"
        head = f"POST /v1/batch HTTP/1.1\r\nhost: a\r\nauthorization: Basic {_AUTHORIZATION}\r\ncontent-type: application/json\r\n"
        began = loop.time()
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        stored = seen.note(answer, await reader.readexactly(length), identities, began, loop.time())
        await asyncio.sleep(PAUSE_SECONDS if stored else EAGER_SECONDS)
    writer.close()


async def _most_memory(collector: Running, seconds: float) -> int:
    loop = asyncio.get_running_loop()
    process, most, end = psutil.Process(collector.process.pid), 0, loop.time() + seconds
    while loop.time() < end:
        most = max(most, process.memory_info().rss)
        await asyncio.sleep(LOOK_SECONDS)
    return most


async def _stored(ready: Cluster) -> set[str]:
    found: set[str] = set()
    async for records in ready.broker.reader().read(topic_name(ready.prefix, "raw")):
        found.update(orjson.loads(record.value or b"{}")["messageId"] for record in records)
    return found


async def measure(frozen_seconds: float, calm_seconds: float) -> dict[str, Any]:
    """Freeze the broker under load.

    Args:
        frozen_seconds: How long it answers nothing.
        calm_seconds: How long it answers before and after.

    Returns:
        The answers, their times, memory, and how many acknowledged events are missing.
    """
    loop = asyncio.get_running_loop()
    seen, until = Seen(), asyncio.Event()
    async with cluster() as bare:
        ready = await bare.publish(bare.workspace, 4, "fused")
        broker = psutil.Process(ready.pid)
        async with running(ready, "fused", ["collector"], "collector") as collector:
            async with asyncio.timeout(READY_SECONDS):
                while not await collector.is_ready():  # noqa: ASYNC110 (another process tells nobody)
                    await asyncio.sleep(0.2)
            clients = [asyncio.create_task(_client(collector.port, number, seen, until)) for number in range(CONNECTIONS)]
            await asyncio.sleep(calm_seconds)
            calm = (await collector.usage()).rss
            broker.suspend()
            try:
                early = await _most_memory(collector, frozen_seconds / 2)
                late = await _most_memory(collector, frozen_seconds / 2)
            finally:
                broker.resume()
                seen.went_on = loop.time()
            await asyncio.sleep(calm_seconds)
            until.set()
            await asyncio.gather(*clients)
        missing = seen.acknowledged - await _stored(ready)
    return rounded(
        {
            "frozen_seconds": frozen_seconds,
            "bound_mb": MOST_BYTES / 1e6,
            "patience_seconds": PATIENCE_SECONDS,
            "answers": dict(seen.answers),
            "slowest_seconds": rounded(seen.slowest),
            "without_retry_after": seen.without_retry_after,
            "acknowledged": len(seen.acknowledged),
            "acknowledged_and_lost": len(missing),
            "calm_rss_mb": calm / 1e6,
            "frozen_rss_mb": rounded({"first_half": early / 1e6, "second_half": late / 1e6}),
            "back_after_seconds": seen.back - seen.went_on if seen.back else None,
        }
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frozen", type=float, default=12.0, help="seconds without an answer of the broker")
    parser.add_argument("--calm", type=float, default=6.0, help="seconds before and after")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(measure(arguments.frozen, arguments.calm))
    if arguments.json:
        print(orjson.dumps(found).decode())
        return
    for name, value in found.items():
        print(f"{name:24} {value}")


if __name__ == "__main__":
    main()
