"""Two collectors behind a load balancer that shares nothing and cuts connections off: nothing lost, and what comes twice is once in the end (T1)."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import orjson
import pytest

from pipeline.app.local.kafka import free_port
from tests.conftest import Kafka
from tests.faults.laws import Verdict, no_duplicate, no_invention, no_loss
from tests.faults.load import HttpLoad
from tests.faults.proof import prove
from tests.faults.report import Row
from tests.faults.sent import read_sent
from tests.integration.collector_process import collecting, declare, headrace, message_ids

pytestmark = [pytest.mark.faults, pytest.mark.integration]

RATE = 1_500.0
CUT_SECONDS = (0.02, 0.4)
"""How long a connection lives: about a third of them end with a request under way."""
PHASE_SECONDS = 2.0
SETTLE_SECONDS = 30.0


class CountedLoad(HttpLoad):
    """A load that counts how often each event was sent.

    Attributes:
        tries: Times by message id.
    """

    tries: Counter[str]

    def _post(self, path: str, body: bytes) -> int:
        request = orjson.loads(body)
        self.tries.update(str(one["messageId"]) for one in request.get("batch", [request]))
        return super()._post(path, body)


@asynccontextmanager
async def balancer(*ports: int) -> AsyncIterator[int]:
    """Hand connections to the collectors in turn, to the next where one does not listen, and cut each off before long; give the port."""
    chance, turn, going = random.Random(1), 0, set[asyncio.Task[None]]()  # noqa: S311 (moments, not secrets)

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turn
        task = asyncio.current_task()
        assert task is not None
        going.add(task)
        try:
            for _ in ports:
                turn += 1
                with suppress(OSError):
                    behind_reader, behind = await asyncio.open_connection("127.0.0.1", ports[turn % len(ports)])
                    ways = [asyncio.create_task(pipe(reader, behind)), asyncio.create_task(pipe(behind_reader, writer))]
                    try:
                        await asyncio.wait(ways, timeout=chance.uniform(*CUT_SECONDS), return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        for way in ways:
                            way.cancel()
                        await asyncio.gather(*ways, return_exceptions=True)
                        behind.transport.abort()
                    return
        finally:
            writer.transport.abort()
            going.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in going:
            task.cancel()
        await asyncio.gather(*going, return_exceptions=True)
        await server.wait_closed()


@pytest.mark.fault("T1")
async def test_collectors_behind_a_balancer_need_no_shared_state(tmp_path: Path, kafka: Kafka, prefix: str, row: Row) -> None:
    """Connections are cut off all the time, one collector is killed and the other one stopped: each 2xx is in `validated`, and nothing is twice."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        folder, name = tmp_path / (broken or "product"), f"{prefix}{broken}".replace("_", "")
        folder.mkdir()
        await declare(folder, kafka, name)
        ports = free_port(), free_port()
        validate = headrace(folder, kafka, "run", "validate", broken=broken)
        try:
            async with balancer(*ports) as port:
                load = CountedLoad(port, rate=RATE, path=folder / "sent", seed=1)
                load.tries = Counter()
                async with collecting(folder, kafka, ports[1], broken=broken) as steady:
                    async with collecting(folder, kafka, ports[0], broken=broken) as killed:
                        load.start()
                        await asyncio.sleep(PHASE_SECONDS)
                        killed.kill()
                        await asyncio.sleep(PHASE_SECONDS)
                    async with collecting(folder, kafka, ports[0], broken=broken):
                        await asyncio.sleep(PHASE_SECONDS)
                        steady.send_signal(signal.SIGTERM)
                        await asyncio.sleep(PHASE_SECONDS)
                        await asyncio.to_thread(load.stop)
                        stopped = await asyncio.to_thread(steady.wait, 30)
            sent = read_sent([load.path])
            raw = Counter(await message_ids(kafka, f"{name}.raw"))
            validated = await _validated(kafka, name, set(sent.acknowledged) & set(raw))
        finally:
            validate.kill()
            validate.wait()
        copies = raw.total() - len(raw)
        if not broken:
            row.kills = 2
            row.figures = f"{load.answers[0]} requests cut off; {copies} copies in raw, {validated.total() - len(validated)} behind dedup"
        return [
            no_loss(sent, validated, where=" in validated"),
            no_duplicate(validated, where=" in validated"),
            no_invention(sent, validated),
            Verdict("raw has no more copies than were sent", len(raw), tuple(one for one, count in raw.items() if count > load.tries[one])),
            Verdict("clients were cut off and sent again", copies, () if copies else ("no copy",)),
            Verdict("a collector that is stopped ends well", 1, () if stopped == 0 else (f"status {stopped}",)),
        ]

    await prove(row, scenario, ["answers_early", "forgets_ids"])


async def _validated(kafka: Kafka, prefix: str, wanted: set[str]) -> Counter[str]:
    """Read `validated` until it has what is wanted, and no more comes, or for as long as a test may wait."""
    found: Counter[str] = Counter()
    with suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_SECONDS):
            while True:
                before, found = found, Counter(await message_ids(kafka, f"{prefix}.validated"))
                if wanted <= set(found) and found == before:
                    break
                await asyncio.sleep(1)
    return found
