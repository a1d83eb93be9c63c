"""One contract for every adapter of the HTTP port; what only a network can do is asked of the real client alone."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import pytest

from pipeline.ports.http import Answer, HttpClient, Request
from pipeline.runtime.http.connection import BODY_BYTES
from pipeline.runtime.http.memory import MemoryHttpClient, an_answer
from pipeline.runtime.http.pooled_client import PooledClient

Serving = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(serve: Serving) -> AsyncIterator[str]:
    """Serve connections on loopback; gives the address."""
    writers: list[asyncio.StreamWriter] = []
    tasks: set[asyncio.Task[None]] = set()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
            writer.close()
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.transport.abort()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        task = asyncio.get_running_loop().create_task(connection(reader, writer))
        tasks.add(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


def answers(head: bytes, body: bytes = b"") -> Serving:
    """Serve the same answer to every request of a connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            asked = await reader.readuntil(b"\r\n\r\n")
            length = next((int(line.split(b":")[1]) for line in asked.lower().split(b"\r\n") if line.startswith(b"content-length")), 0)
            await reader.readexactly(length)
            writer.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()

    return serve


def a_request(url: str, timeout_seconds: float = 5.0, headers: Mapping[str, str] | None = None) -> Request:
    """Make a request, with overrides only."""
    return Request("POST", url, headers or {}, b'{"a":1}', timeout_seconds)


@asynccontextmanager
async def real(head: bytes, body: bytes, _answer: Answer) -> AsyncIterator[tuple[HttpClient, str]]:
    """The real client with a server on loopback."""
    client = PooledClient(private_addresses=True)
    async with serving(answers(head, body)) as url:
        yield client, url
        await client.close()


@asynccontextmanager
async def memory(_head: bytes, _body: bytes, answer: Answer) -> AsyncIterator[tuple[HttpClient, str]]:
    """The client in memory, giving the same answer."""
    client = MemoryHttpClient(lambda _request: answer)
    yield client, "http://tool.example"
    await client.close()


ADAPTERS = [real, memory]


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize(
    ("line", "status", "headers", "body"),
    [
        (b"HTTP/1.1 200 OK", 200, {}, b"hello"),
        (b"HTTP/1.1 204 No Content", 204, {}, b""),
        (b"HTTP/1.1 302 Found", 302, {"Location": "http://127.0.0.1:1/"}, b""),
        (b"HTTP/1.1 429 Too Many Requests", 429, {"Retry-After": "7"}, b"slow down"),
        (b"HTTP/1.1 500 Internal Server Error", 500, {}, b"x" * (BODY_BYTES + 10)),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
async def test_answers(adapter: Callable[..., object], line: bytes, status: int, headers: dict[str, str], body: bytes) -> None:
    """Status, headers in lower case and the first 64 KiB are given; nothing is followed and nothing raised."""
    head = line + b"\r\n" + b"".join(f"{name}: {value}\r\n".encode() for name, value in headers.items())
    async with adapter(head, body, an_answer(status, body, headers)) as (client, url):  # type: ignore[attr-defined]  # both adapters are context managers
        for _ in range(2):
            answer = await client.send(a_request(url))
            assert (status, body[:BODY_BYTES], "") == (answer.status, answer.body, answer.error)
            assert {name.lower(): value for name, value in headers.items()}.items() <= answer.headers.items()
            assert answer.latency_ms > 0


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("url", ["nonsense", "file:///etc/passwd", "gopher://127.0.0.1/"])
async def test_only_http_is_sent(adapter: Callable[..., object], url: str) -> None:
    """An address of another kind is an error of the request, named and not raised."""
    async with adapter(b"HTTP/1.1 200 OK\r\n", b"", an_answer()) as (client, _):  # type: ignore[attr-defined]  # both adapters are context managers
        answer = await client.send(a_request(url))
        assert (0, "invalid_request") == (answer.status, answer.error)


async def ask(serve: Serving, timeout_seconds: float = 5.0) -> Answer:
    """Ask a server of the test's own with the real client."""
    client = PooledClient(private_addresses=True)
    try:
        async with serving(serve) as url:
            return await client.send(a_request(url, timeout_seconds))
    finally:
        await client.close()


async def test_request_arrives_as_it_was_made() -> None:
    """Method, headers and body go over the wire unchanged; no compression is asked for and no cookie sent."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            seen.append(head.lower() + await reader.readexactly(7))
            writer.write(b"HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n")

    client = PooledClient(private_addresses=True)
    async with serving(serve) as url:
        for _ in range(2):
            assert 200 == (await client.send(a_request(f"{url}/hook?x=1", headers={"webhook-id": "w-1"}))).status
        await client.close()
    for request in seen:
        assert request.startswith(b"post /hook?x=1 http/1.1\r\n")
        assert b"\r\nwebhook-id: w-1\r\n" in request
        assert b"\r\naccept-encoding: identity\r\n" in request
        assert b"cookie" not in request
        assert request.endswith(b'{"a":1}')


async def test_connections_are_used_again() -> None:
    """A hundred requests one after another need one connection."""
    connections = 0
    serve = answers(b"HTTP/1.1 200 OK\r\n", b"ok")

    async def counting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await serve(reader, writer)

    client = PooledClient(private_addresses=True)
    async with serving(counting) as url:
        assert {200} == {(await client.send(a_request(url))).status for _ in range(100)}
        await client.close()
    assert 1 == connections


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a byte at a time and never come to an end."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def say_nothing(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Read and never answer."""
    while await reader.read(1024):
        pass


@pytest.mark.parametrize("serve", [drip, say_nothing])
async def test_deadline_covers_the_whole_exchange(serve: Serving) -> None:
    """Neither a slow nor a silent answer holds longer than the deadline."""
    async with asyncio.timeout(10):
        answer = await ask(serve, 0.3)
    assert (0, "timeout") == (answer.status, answer.error)


async def test_endless_headers_are_refused() -> None:
    """Headers without end are an error long before the memory is full."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"x-more: " + b"y" * 1000 + b"\r\n")
            await writer.drain()

    answer = await ask(serve)
    assert (0, "answer_head_too_large") == (answer.status, answer.error)


async def test_endless_body_is_cut() -> None:
    """Of ten gigabytes 64 KiB are read; the status counts."""
    written = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            written += 65536
            await writer.drain()

    answer = await ask(serve)
    assert (200, BODY_BYTES) == (answer.status, len(answer.body))
    assert written < 100_000_000


async def test_compressed_answers_are_not_expanded() -> None:
    """A small compressed answer to a request that asked for none stays small."""
    bomb = gzip.compress(b"0" * 50_000_000)
    answer = await ask(answers(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n", bomb))
    assert bomb[:BODY_BYTES] == answer.body


async def test_errors_have_names() -> None:
    """A closed port, a reset, an early end and an answer that is no HTTP are told apart."""

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    async def end(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b'{"a":1}')

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b'{"a":1}')
        writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
        await writer.drain()

    assert ["connection_reset", "connection_closed", "answer_not_http"] == [(await ask(serve)).error for serve in (reset, end, other)]
    client = PooledClient(private_addresses=True)
    async with serving(end) as url:
        pass
    assert "connection_refused" == (await client.send(a_request(url))).error
    assert "invalid_request" == (await client.send(a_request(url, headers={"a b": "c"}))).error
    await client.close()


async def test_cancelled_request_lets_go() -> None:
    """A request that is given up ends at once."""
    seen = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.set()
        await say_nothing(reader, writer)

    client = PooledClient(private_addresses=True)
    async with serving(serve) as url:
        task = asyncio.create_task(client.send(a_request(url, 30.0)))
        async with asyncio.timeout(5):
            await seen.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await client.close()


async def test_addresses_that_are_not_public_get_no_packet() -> None:
    """Every way to write or wrap a loopback, private or link-local address ends before a connection, as does a redirect to one."""
    packets = 0

    async def canary(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        nonlocal packets
        packets += 1

    async with serving(canary) as url:
        port = url.rpartition(":")[2]
        client = PooledClient()
        hosts = ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "[::]"]  # noqa: S104 (asked for, not bound)
        hosts += ["169.254.169.254", "10.0.0.1", "192.168.0.1", "172.16.0.1", "100.64.0.1", "[fd00::1]", "[fe80::1]", "[64:ff9b::7f00:1]"]
        errors = {host: (await client.send(a_request(f"http://{host}:{port}/"))).error for host in hosts}
        await client.close()
    assert dict.fromkeys(hosts, "address_blocked") == errors
    assert 0 == packets


async def test_a_name_is_judged_by_the_address_that_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads to a public and a private address reaches the public one alone, and one that changes is judged anew each time."""
    asked: list[tuple[str, int]] = []
    answers_of_dns = [["93.184.216.34", "127.0.0.1"], ["127.0.0.1"]]
    loop = asyncio.get_running_loop()

    async def resolve(_host: str, port: int, **_: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answers_of_dns.pop(0)]

    async def connect(_factory: object, host: str, port: int, **_: object) -> None:
        asked.append((host, port))
        raise ConnectionRefusedError

    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    monkeypatch.setattr(loop, "create_connection", connect)
    client = PooledClient()
    assert ["connection_refused", "address_blocked"] == [(await client.send(a_request("http://tool.example/"))).error for _ in range(2)]
    assert [("93.184.216.34", 80)] == asked


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 200, b"abcde"),
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok", 202, b"ok"),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200, b"until the end"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    ],
    ids=["chunked", "interim", "without-length", "without-body"],
)
async def test_framings(answer: bytes, status: int, body: bytes) -> None:
    """Chunks, an interim answer before the real one, a body that ends with the connection, and no body are read as what they are."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b'{"a":1}')
        for byte in answer:
            writer.write(bytes((byte,)))
            await writer.drain()

    given = await ask(serve)
    assert (status, body, "") == (given.status, given.body, given.error)


async def test_the_first_answer_counts() -> None:
    """A tool that gives two answers to a request, 503 and then 200, in one piece: the first one counts, and the connection is not used again."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(7)
            first = b"HTTP/1.1 503 X\r\nretry-after: 7\r\ncontent-length: 4\r\n\r\nbusy"
            writer.write(first + b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            await writer.drain()

    client = PooledClient(private_addresses=True)
    async with serving(serve) as url:
        found = [await client.send(a_request(url)) for _ in range(3)]
        await client.close()
    assert [(503, {"retry-after": "7", "content-length": "4"}, b"busy")] * 3 == [(one.status, one.headers, one.body) for one in found]
    assert 3 == connections


async def test_a_connection_that_was_closed_while_idle_costs_no_failure() -> None:
    """A tool that closes after each answer without saying so gets the next request over a new connection, once."""
    seen = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        await reader.readuntil(b'{"a":1}')
        seen += 1
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    client = PooledClient(private_addresses=True)
    async with serving(once) as url:
        assert [200] * 5 == [(await client.send(a_request(url))).status for _ in range(5)]
    await client.close()
    assert 5 == seen


@pytest.mark.parametrize("headers", [{"x": "a\r\nb: c"}, {"content-length": "3"}, {"Transfer-Encoding": "chunked"}, {"x\n": "y"}])
async def test_headers_cannot_break_out(headers: dict[str, str]) -> None:
    """A header that would end the line, or frame the request anew, is refused before anything is sent."""
    client = PooledClient(private_addresses=True)
    assert "invalid_request" == (await client.send(a_request("http://127.0.0.1:1/", headers=headers))).error
    await client.close()


async def test_a_name_is_looked_up_once_for_all_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests to a name that nobody answers for wait for one look-up together, so that they leave the loop's few threads to other names."""
    asked: list[str] = []

    async def no_answer(host: str, *_rest: object, **_more: object) -> list[object]:
        asked.append(host)
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", no_answer)
    client = PooledClient(private_addresses=True)
    sent = await asyncio.gather(*(client.send(a_request("http://dead.example/", timeout_seconds=0.05)) for _ in range(16)))
    again = await client.send(a_request("http://dead.example/", timeout_seconds=0.05))
    await client.close()
    assert [(0, "timeout")] * 17 == [(answer.status, answer.error) for answer in (*sent, again)]
    assert ["dead.example"] == asked
