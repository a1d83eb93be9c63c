"""CPU time of deliver for each request: read, rendered for sending, signed, sent, judged, written down, committed.

The tool is the local receiver in a process of its own, the broker one in memory, so that only deliver's own work counts.
Run: `python -m benchmarks.deliver [--json]`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import subprocess
import sys
import time

import orjson
import uvloop

from pipeline.app.local.kafka import free_port
from pipeline.destinations.webhook import DESTINATION as WEBHOOK
from pipeline.model.record import Record, TopicPartition
from pipeline.model.topics import declared_topics
from pipeline.ports.broker import Position
from pipeline.ports.http import Request
from pipeline.runtime.brokers.memory import MemoryBroker
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.delivery.lane import DeliveryLane, DeliverySettings
from pipeline.runtime.delivery.worker import DeliverWorker
from pipeline.runtime.http.pooled_client import PooledClient
from pipeline.runtime.inbox import Inbox
from pipeline.runtime.metrics.prometheus import PrometheusMetrics

BUDGET_MICROSECONDS = 60
SECRET = "whsec_c2VjcmV0LW9mLXRoZS1iZW5jaG1hcms"
RECEIVER = "from pipeline.app.receiver import Faults, run_receiver; run_receiver(port={port}, secret='', faults=Faults(busy=0, failing=0))"


def a_record(number: int, url: str) -> Record:
    """Make the record of a request of about 1 KB."""
    body = {
        "type": "track",
        "event": "Product Viewed",
        "messageId": f"m-{number}",
        "anonymousId": f"a-{number % 5000}",
        "context": {"page": {"url": "https://shop.example/p/" + "x" * 60}, "userAgent": "Mozilla/5.0 " + "y" * 120},
        "properties": {f"property_{index}": f"value {index} of {number}" for index in range(18)},
    }
    value = {"id": f"r-{number}", "method": "POST", "url": url, "headers": {"content-type": "application/json"}, "body": body}
    headers = (
        ("destination", b"crm"),
        ("message_id", b"m-%d" % number),
        ("mapping", b"send"),
        ("source", b"web"),
        ("type", b"track"),
        ("event_origin", b"shop.routed/0/%d" % number),
        ("event", b"Product Viewed"),
        ("received_at", b"1700000000000"),
        ("config", b"1"),
    )
    return Record("shop.requests.crm", 0, number, 0, b"a-%d" % (number % 5000), orjson.dumps(value), headers)


async def through_the_worker(count: int, url: str) -> float:
    """Deliver requests; gives the CPU time of this process in seconds."""
    broker = MemoryBroker()
    for topic in declared_topics("shop", destinations=["crm"], dedup_processors=[], partitions=4):
        broker.create(topic.name, topic.partitions)
    clock, metrics, client = SystemClock(), PrometheusMetrics(), PooledClient(private_addresses=True)
    lane = DeliveryLane(DeliverySettings("crm", WEBHOOK, {"shared_secret": SECRET}), clock=clock, metrics=metrics)
    partition = TopicPartition("shop.requests.crm", 0)
    worker = DeliverWorker(
        partition,
        lane=lane,
        transactions=broker.transactions("t"),
        client=client,
        clock=clock,
        metrics=metrics,
        processor="deliver.crm",
        group="shop.deliver.crm",
        prefix="shop",
    )

    async def nowhere() -> Position | None:
        return None

    await worker.open(nowhere, (0, count))
    inbox = Inbox(1 << 30, lambda: None)
    inbox.put([a_record(number, url) for number in range(count)])
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)  # as every process of a run
    started = time.process_time()
    running = asyncio.create_task(worker.run(inbox))
    while broker.positions("shop.deliver.crm").get(partition, Position(0)).offset < count:  # noqa: ASYNC110 (what it waits for is not of our making)
        await asyncio.sleep(0.02)
    used = time.process_time() - started
    inbox.close()
    await running
    await worker.close()
    await client.close()
    return used


async def through_the_client(count: int, url: str) -> float:
    """Send the same bodies with the client alone, 16 at once; gives the CPU time of this process in seconds."""
    client = PooledClient(private_addresses=True)
    numbers = iter(range(count))
    body = orjson.dumps(orjson.loads(a_record(0, url).value or b"")["body"])
    started = time.process_time()

    async def send() -> None:
        for _ in numbers:
            await client.send(Request("POST", url, {"content-type": "application/json"}, body))

    await asyncio.gather(*(send() for _ in range(16)))
    used = time.process_time() - started
    await client.close()
    return used


async def measure(count: int) -> dict[str, float]:
    """Start the receiver and measure.

    Args:
        count: Requests.

    Returns:
        CPU µs a request of the client alone and of all of deliver.
    """
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", RECEIVER.format(port=port)])  # noqa: ASYNC220 (nothing else runs yet)
    url = f"http://127.0.0.1:{port}/crm"
    client = PooledClient(private_addresses=True)
    try:
        while (await client.send(Request("GET", f"http://127.0.0.1:{port}/health", {}, b""))).status != 200:  # noqa: ASYNC110 (the same)
            await asyncio.sleep(0.05)
        alone = await through_the_client(count, url)
        whole = await through_the_worker(count, url)
        return {"client_cpu_us": round(alone / count * 1e6, 2), "cpu_us": round(whole / count * 1e6, 2)}
    finally:
        await client.close()
        process.terminate()
        process.wait(10)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000, help="how many requests")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(measure(arguments.requests))
    if arguments.json:
        print(orjson.dumps(found).decode())
        return
    print(f"client alone   {found['client_cpu_us']:6.1f} CPU µs a request")
    print(f"deliver        {found['cpu_us']:6.1f} CPU µs a request (budget {BUDGET_MICROSECONDS})")


if __name__ == "__main__":
    main()
