"""The collector over real HTTP, with a producer that the tests steer."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import socket
from collections.abc import AsyncIterator

import orjson
import pytest

from pipeline.app.collector import DemoKeyExposed, PortTaken, Reply, RouteRequest, Stream, serve_collector
from pipeline.ingest import WriteKeys
from tests.integration.collector_over_http import AUTHORIZATION, WORKSPACE, LeapingClock, SteeredProducer, ask, collector, connection

PAGE = b'{"type":"page","userId":"u","messageId":"m"}'
ORIGIN = "origin: https://shop.example"


async def test_an_event_is_stored_before_its_200() -> None:
    """The answer waits for the broker, and is what every SDK takes for a success."""
    producer = SteeredProducer()
    producer.gate.clear()
    async with collector(producer) as running:
        asking = asyncio.create_task(ask(running.port, "POST /v1/page", AUTHORIZATION, body=PAGE))
        await producer.asked.acquire()
        assert not asking.done()
        producer.gate.set()
        answer = await asking
        assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b'{"success":true}', "application/json")
        assert producer.events() == [orjson.loads(PAGE)]


@pytest.mark.parametrize("path", ["/v1/import/", "/v1/import", "/v1/batch", "/v1/b/"])
async def test_chunked_gzip_as_mobile_sdks_send_it(path: str) -> None:
    """No Authorization, no Content-Length, text/plain, gzip; and no path is redirected."""
    producer = SteeredProducer()
    packed = gzip.compress(b'{"writeKey":"demo","batch":[%s]}' % PAGE)
    async with collector(producer) as running, connection(running.port) as phone:
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n"
        phone.writer.write(head.encode())
        for part in (packed[:10], packed[10:]):
            phone.writer.write(b"%x\r\n%s\r\n" % (len(part), part))
            await phone.writer.drain()
        phone.writer.write(b"0\r\n\r\n")
        assert (await phone.answer()).status == 200
        assert producer.events() == [orjson.loads(PAGE)]


async def test_many_at_once_are_sent_together() -> None:
    """While a send is under way others gather; each of 400 requests is stored once and answered."""
    producer = SteeredProducer()
    async with collector(producer) as running:

        async def client(name: int) -> set[int]:
            async with connection(running.port) as kept:
                bodies = [b'{"userId":"u","messageId":"%d-%d"}' % (name, number) for number in range(20)]
                return {(await kept.ask("POST /v1/p", AUTHORIZATION, body=body)).status for body in bodies}

        assert {200} == set().union(*await asyncio.gather(*(client(name) for name in range(20))))
    assert len({event["messageId"] for event in producer.events()}) == len(producer.stored) == 400
    assert producer.sends <= 400
    assert running.metrics.sums["headrace_ingest_events_total", ("web", "accepted")] == 400
    assert running.metrics.sums["headrace_ingest_requests_total", ("page", "200")] == 400


async def test_a_stopped_broker_gives_503() -> None:
    """No 2xx, a time to come back, and a browser may read it; it is not ready, and is again with the broker, though nobody sends meanwhile."""
    producer = SteeredProducer()
    producer.broken = True
    async with collector(producer) as running:
        answer = await ask(running.port, "POST /v1/page", AUTHORIZATION, ORIGIN, body=PAGE)
        assert (answer.status, answer.headers["retry-after"], orjson.loads(answer.body)["code"]) == (503, "2", "unavailable")
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        await running.until_trouble("the broker is stopped")
        producer.broken = False
        await running.until_trouble("")
        assert (await ask(running.port, "POST /v1/page", AUTHORIZATION, body=PAGE)).status == 200
    assert len(producer.stored) == 1


async def test_a_silent_broker_gives_503() -> None:
    """Whether its send is under way or still waits, a request is answered after five seconds."""
    producer = SteeredProducer()
    producer.gate.clear()
    async with collector(producer) as running:
        asking = asyncio.gather(*(ask(running.port, "POST /v1/page", AUTHORIZATION, body=PAGE) for _ in range(20)))
        while not asking.done():
            running.clock.ahead += 5.0
            await asyncio.wait((asking,), timeout=0.05)
        assert {503} == {answer.status for answer in asking.result()}
        producer.gate.set()


async def test_bodies_beyond_8_mib_are_read_and_refused() -> None:
    """The answer is 413, not a cut connection, declared and chunked; the connection goes on."""
    producer = SteeredProducer()
    async with collector(producer) as running, connection(running.port) as kept:
        large = b" " * 20_000_000
        assert (await kept.ask("POST /v1/batch", AUTHORIZATION, body=large)).status == 413
        kept.writer.write(b"POST /v1/batch HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(large), large))
        assert (await kept.answer()).status == 413
        assert (await kept.ask("POST /v1/page", AUTHORIZATION, body=PAGE)).status == 200
        most = b'{"batch":[%s' % PAGE
        most += b" " * (8 * 1024 * 1024 - len(most) - 2) + b"]}"
        assert (await kept.ask("POST /v1/batch", AUTHORIZATION, body=most)).status == 200


async def test_preflight_needs_no_key() -> None:
    """OPTIONS is 2xx for every path, and allows what the browser asked for."""
    async with collector(SteeredProducer()) as running, connection(running.port) as browser:
        for path in ("/v1/t", "//v1/batch", "/v1/m"):
            answer = await browser.ask(f"OPTIONS {path}", ORIGIN, "access-control-request-headers: authorization,x-retry-count")
            assert answer.status == 204
            assert answer.headers["access-control-allow-headers"] == "authorization,x-retry-count"


async def test_what_is_not_there() -> None:
    """Unknown paths, methods and keys get JSON errors; SDK metrics are thanked and thrown away."""
    producer = SteeredProducer()
    async with collector(producer) as running, connection(running.port) as kept:
        assert (await kept.ask("POST /v1/nothing")).status == 404
        assert (await kept.ask("GET /v1/track")).status == 405
        assert (await kept.ask("POST /v1/page", body=PAGE)).status == 401
        assert (await kept.ask("POST /v1/page", AUTHORIZATION, body=b"{")).status == 400
        assert (await kept.ask("POST /v1/page", AUTHORIZATION, "content-encoding: gzip", body=b"no gzip")).status == 400
        assert (await kept.ask("POST /v1/m", body=b'{"series":[]}')).status == 200
    assert producer.stored == []


async def test_16_kb_of_request_headers() -> None:
    """A same-site page sends its cookies."""
    async with collector(SteeredProducer()) as running:
        assert (await ask(running.port, "POST /v1/page", AUTHORIZATION, "cookie: " + "x" * 60_000, body=PAGE)).status == 200


async def test_keys_change_while_it_runs() -> None:
    """The next request is judged by the keys of now; retries are counted."""
    async with collector(SteeredProducer()) as running:
        del running.keys["demo"]
        assert (await ask(running.port, "POST /v1/page", AUTHORIZATION, body=PAGE)).status == 401
        running.keys["demo"] = "app"
        assert (await ask(running.port, "POST /v1/page", AUTHORIZATION, "x-retry-count: 1", body=PAGE)).status == 200
    assert running.metrics.sums["headrace_ingest_retries_total", ("app", "1")] == 1


async def test_mounted_routes_and_streams() -> None:
    """A page is served, a stream flows until its client leaves, and a page that fails harms nothing."""
    ended = asyncio.Event()

    async def numbers() -> AsyncIterator[bytes]:
        try:
            for number in itertools.count():
                yield b"data: %d\n\n" % number
                await asyncio.sleep(0.005)
        finally:
            ended.set()

    async def live(request: RouteRequest) -> Reply | Stream:
        if request.path == "/live/events":
            return Stream(numbers())
        if request.path == "/live/fails":
            raise LookupError(request.path)
        return Reply(200, request.query.encode() + request.body, "text/plain")

    async with collector(SteeredProducer(), {("GET", "/live/"): live, ("POST", "/exact"): live}) as running:
        assert (await ask(running.port, "GET /live/page?a=1")).body == b"a=1"
        assert (await ask(running.port, "POST /exact", body=b"body")).body == b"body"
        assert (await ask(running.port, "POST /exact/more", body=b"body")).status == 404
        assert (await ask(running.port, "GET /live/fails")).status == 500
        async with connection(running.port) as page:
            page.writer.write(b"GET /live/events HTTP/1.1\r\nhost: x\r\n\r\n")
            assert b"data: 3" in await page.reader.readuntil(b"data: 3")
        await asyncio.wait_for(ended.wait(), 10)


async def test_stops_in_order() -> None:
    """Told to stop, it takes no new connection, ends streams, finishes what is under way with its 200, and returns."""
    producer = SteeredProducer()
    producer.gate.clear()

    async def silence() -> AsyncIterator[bytes]:
        yield b"data: first\n\n"
        await asyncio.Event().wait()

    async def live(_request: RouteRequest) -> Stream:
        return Stream(silence())

    async with collector(producer, {("GET", "/live"): live}) as running, connection(running.port) as page, connection(running.port) as idle:
        assert (await idle.ask("GET /nothing")).status == 404
        page.writer.write(b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n")
        await page.reader.readuntil(b"first\n\n")
        asking = asyncio.create_task(ask(running.port, "POST /v1/page", AUTHORIZATION, body=PAGE))
        await producer.asked.acquire()
        running.stop.set()
        await running.until_trouble("the collector stops")
        await page.reader.read()
        producer.gate.set()
        assert (await asking).status == 200
        await asyncio.wait_for(running.task, 10)
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await ask(running.port, "GET /nothing")
    assert producer.events() == [orjson.loads(PAGE)]


async def test_the_demo_key_is_for_loopback_only() -> None:
    """Another listener refuses to start with it, and does not know it when it comes later."""
    with pytest.raises(DemoKeyExposed, match=r"0\.0\.0\.0.*source web.*'demo'"):
        await serve_collector(
            host="0.0.0.0",  # noqa: S104 (this is what must be refused)
            port=0,
            producer=SteeredProducer(),
            workspace=lambda: WORKSPACE,
            keys=lambda: WriteKeys({"demo": "web"}),
            metrics=None,  # type: ignore[arg-type]  # it does not get that far
            clock=LeapingClock(),
            routes={},
            stop=asyncio.Event(),
        )
    async with collector(SteeredProducer(), host="0.0.0.0") as running:  # noqa: S104 (another listener is what this is about)
        running.keys["demo"] = "web"
        assert (await ask(running.port, "POST /v1/page", AUTHORIZATION, body=PAGE)).status == 401
        assert (await ask(running.port, "POST /v1/page", "authorization: Basic YXBwLWtleTo=", body=PAGE)).status == 200


async def test_a_taken_port_is_said() -> None:
    """A port that another process has is an error with its number, never a port that two share."""
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(PortTaken, match=str(other.getsockname()[1])):
        await serve_collector(
            host="127.0.0.1",
            port=other.getsockname()[1],
            producer=SteeredProducer(),
            workspace=lambda: WORKSPACE,
            keys=lambda: WriteKeys({}),
            metrics=None,  # type: ignore[arg-type]  # it does not get that far
            clock=LeapingClock(),
            routes={},
            stop=asyncio.Event(),
        )


async def test_a_bug_in_the_producer_ends_the_collector() -> None:
    """What is no BrokerError is a bug: the request gets 503, and the process is told."""

    class Buggy(SteeredProducer):
        async def send(self, outputs: object) -> None:
            raise LookupError("bug")

    with pytest.raises(LookupError, match="bug"):  # noqa: PT012 (it is raised at the end of the block)
        async with collector(Buggy()) as running:
            assert (await ask(running.port, "POST /v1/page", AUTHORIZATION, body=PAGE)).status == 503
            await asyncio.wait((running.task,))
