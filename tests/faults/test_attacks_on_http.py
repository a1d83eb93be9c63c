"""The collector's HTTP under attack: bombs, smuggling, huge heads, slow and idle clients (tests T51 to T54)."""

from __future__ import annotations

import asyncio
import gzip
import resource
import socket
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from tests.faults.attacked import HEAD, Attacked, attacked, healthy, send_raw
from tests.faults.laws import Verdict, bounded
from tests.faults.proof import prove
from tests.faults.report import Row
from tests.faults.tool_laws import arrived

pytestmark = [pytest.mark.faults]

BODY = b'{"userId":"u","messageId":"m"}'
DECLARED = b"content-length: %d\r\n\r\n%s" % (len(BODY), BODY)
CHUNKED = b"transfer-encoding: chunked\r\n"
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
BODY_CAP_MB = 8 * 1024 * 1024 / 1e6
IDLE = 10_000
SLOW = 500
UNREADING = 10
SECONDS = 3
"""Deadlines of a collector whose slow clients are looked at: those of the product are 30 s for a head, 60 s for a body."""


def expected(law: str, cases: dict[str, str], found: dict[str, str]) -> Verdict:
    """Hold what came of each case to what was wanted."""
    return Verdict(law, len(cases), tuple(f"{name}: {found[name]}, not {wanted}" for name, wanted in cases.items() if found[name] != wanted))


def _packed(body: bytes, encoding: bytes = b"gzip") -> bytes:
    return HEAD.replace(b"/page", b"/batch") + b"content-encoding: %s\r\ncontent-length: %d\r\n\r\n" % (encoding, len(body)) + body


def _zeros(size: int) -> bytes:
    """Pack zeros without holding them."""
    packer, piece = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS), bytes(1 << 20)
    return b"".join(packer.compress(piece) for _ in range(size >> 20)) + packer.flush()


BATCH = b'{"batch":[%s]}' % BODY
MOST = b'{"batch":[' + b"[]," * 2_700_000 + b"[]]}"
"""As many values as fit into 8 MiB: what is dear is not to unpack it but to read it."""
BOMBS = {
    "1 GB of zeros": (_zeros(1 << 30), b"gzip", "413"),
    "8 MiB of empty arrays in 8 kB": (gzip.compress(MOST, 9), b"gzip", "413"),
    "a bomb in a bomb": (gzip.compress(_zeros(1 << 28), 9), b"gzip", "400"),
    "64 members of 1 MiB": (gzip.compress(bytes(1 << 20), 9) * 64, b"gzip", "413"),
    "10,000 empty members": (gzip.compress(b"", 9) * 10_000, b"gzip", "400"),
    "two members": (gzip.compress(BATCH[:9]) + gzip.compress(BATCH[9:]), b"gzip", "200"),
    "cut off": (gzip.compress(BATCH)[:-9], b"gzip", "400"),
    "a wrong checksum": (gzip.compress(BATCH)[:-8] + bytes(8), b"gzip", "400"),
    "something after it": (gzip.compress(BATCH) + b"x", b"gzip", "400"),
    "plain under gzip": (BATCH, b"gzip", "400"),
    "gzip under identity": (gzip.compress(BATCH), b"identity", "400"),
    "zlib under deflate": (zlib.compress(bytes(1 << 24)), b"deflate", "400"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(64), b"zstd", "400"),
    "gzip twice, said": (gzip.compress(gzip.compress(BATCH)), b"gzip, gzip", "400"),
    "an encoding that is no text": (BATCH, b"\xff\xfe", "200"),  # a header that is no UTF-8 is as none
}


@pytest.mark.fault("T51")
async def test_bombs_are_refused_before_they_burst(tmp_path: Path, row: Row) -> None:
    """Each is answered as the table says, for at most 0.25 s of CPU, and never more memory than twice the largest body is held for it."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        found: dict[str, str] = {}
        dearest, dearest_name = 0.0, ""
        async with attacked(tmp_path, broken) as target:
            assert (await send_raw(target.port, _packed(MOST[:20] + b"]}", b"identity"))).statuses
            before = target.rss_mb()
            target.forget_peak()
            async with healthy(target.port) as client:
                for name, (body, encoding, _) in BOMBS.items():
                    cpu = target.cpu_seconds()
                    answer = await send_raw(target.port, _packed(body, encoding), wait=0.05)
                    found[name] = str(answer.statuses[-1])
                    if (took := target.cpu_seconds() - cpu) > dearest:
                        dearest, dearest_name = took, name
            grown = target.peak_mb() - before
            if not broken:
                row.figures = (
                    f"{len(BOMBS)} forms; memory +{grown:.0f} MB at most; dearest {dearest_name}, {dearest * 1000:.0f} ms; {client.figures()}"
                )
            return [
                expected("each is answered as the table says", {name: status for name, (_, _, status) in BOMBS.items()}, found),
                bounded(
                    {"memory, MB": grown, "CPU, s": dearest, "failed": len(client.failed)},
                    {"memory, MB": 2 * BODY_CAP_MB + 8, "CPU, s": 0.25, "failed": 0},
                ),
                arrived(client.ids, target.stored()["raw"]),
            ]

    await prove(row, scenario, ["unbounded_gunzip"])


def _chunked(*rest: bytes) -> bytes:
    return HEAD + CHUNKED + b"\r\n" + b"".join(rest)


SMUGGLED = HEAD.replace(b"page", b"track") + DECLARED.replace(b'"m"', b'"x"')
"""A request inside the body of another one: whoever reads it as one of its own was led astray."""
FORMS = {
    "plain": (HEAD + DECLARED, "200"),
    "chunked": (_chunked(CHUNKS), "200"),
    "chunk extension": (_chunked(CHUNKS.replace(b"\r\n", b";a=b\r\n", 1)), "200"),
    "trailers": (_chunked(CHUNKS[:-2], b"x: 5\r\nhost: y\r\n\r\n"), "200"),
    "three requests at once": ((HEAD + DECLARED) * 3, "200 200 200"),
    "length twice, alike": (HEAD + b"content-length: 30\r\n" + DECLARED, "400 closed"),
    "length in a trailer": (_chunked(CHUNKS[:-2], b"content-length: 5\r\n\r\n") + SMUGGLED, "400 closed"),
    "length, then chunked": (HEAD + b"content-length: 5\r\n" + CHUNKED + b"\r\n" + CHUNKS + SMUGGLED, "400 closed"),
    "chunked, then length": (HEAD + CHUNKED + b"content-length: 5\r\n\r\n" + CHUNKS + SMUGGLED, "400 closed"),
    "an upgrade that nobody gives": (HEAD + b"connection: upgrade\r\nupgrade: h2c\r\n" + DECLARED + HEAD + DECLARED, "200 200"),
    "length twice": (HEAD + b"content-length: 3\r\n" + DECLARED, "400 closed"),
    "length as a list": (HEAD + b"content-length: 30, 30\r\n\r\n" + BODY, "400 closed"),
    "length with a sign": (HEAD + b"content-length: +30\r\n\r\n" + BODY, "400 closed"),
    "length below zero": (HEAD + b"content-length: -1\r\n\r\n" + BODY, "400 closed"),
    "length in hex": (HEAD + b"content-length: 0x1e\r\n\r\n" + BODY, "400 closed"),
    "length beyond 64 bits": (HEAD + b"content-length: 99999999999999999999999\r\n\r\n" + BODY, "400 closed"),
    "space before the colon": (HEAD + b"content-length : 30\r\n\r\n" + BODY, "400 closed"),
    "chunked, then identity": (HEAD + CHUNKED + b"transfer-encoding: identity\r\n\r\n" + CHUNKS, "400 closed"),
    "xchunked": (HEAD + b"transfer-encoding: xchunked\r\n\r\n" + CHUNKS, "400 closed"),
    "chunked behind a tab of its own": (HEAD + b"transfer-encoding: \x0bchunked\r\n\r\n" + CHUNKS, "400 closed"),
    "chunked in HTTP/1.0": (HEAD.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n" + CHUNKS, "400 closed"),
    "gzip, chunked": (HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n" + CHUNKS, "400"),
    "chunk size that is none": (_chunked(b"zz\r\n", BODY, b"\r\n0\r\n\r\n"), "400 closed"),
    "chunk size with 0x": (_chunked(b"0x1e\r\n", BODY, b"\r\n0\r\n\r\n"), "400 closed"),
    "chunk size beyond 64 bits": (_chunked(b"fffffffffffffffff\r\n", BODY, b"\r\n0\r\n\r\n"), "400 closed"),
    "chunk with bare line feeds": (_chunked(CHUNKS.replace(b"\r\n", b"\n")), "400 closed"),
    "chunk extension with a line feed": (_chunked(CHUNKS.replace(b"\r\n", b";a\nb\r\n", 1)), "400 closed"),
    "chunk extension of 100 kB": (_chunked(b"1e;", b"a" * 100_000, b"\r\n", BODY, b"\r\n0\r\n\r\n"), "400 closed"),
    "folded header": (HEAD + b"x: a\r\n b\r\n" + DECLARED, "400 closed"),
    "folded transfer-encoding": (HEAD + b"transfer-encoding:\r\n chunked\r\n\r\n" + CHUNKS, "400 closed"),
    "bare carriage return": (HEAD + b"x: a\rcontent-length: 3\r\n" + DECLARED, "400 closed"),
    "NUL in a header": (HEAD + b"x: a\0b\r\n" + DECLARED, "400 closed"),
    "header without name": (HEAD + b": x\r\n" + DECLARED, "400 closed"),
    "HTTP/1.2": (HEAD.replace(b"1.1", b"1.2") + DECLARED, "400 closed"),
    "HTTP/0.9": (b"GET /health/live\r\n\r\n", "400 closed"),
}


@pytest.mark.fault("T52")
async def test_no_request_hides_in_another_one(tmp_path: Path, row: Row) -> None:
    """Where two readers could disagree on where a request ends, it is refused, or the connection ended behind it; nothing smuggled in is stored."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        async with attacked(tmp_path, broken) as target:
            answers = await asyncio.gather(*(send_raw(target.port, data) for data, _ in FORMS.values()))
            found = {
                name: " ".join([*map(str, answer.statuses), *(["closed"] if answer.closed else [])])
                for name, answer in zip(FORMS, answers, strict=True)
            }
            before = target.rss_mb()
            target.forget_peak()
            endless = await _endless_chunks(target, 70)
            grown = target.peak_mb() - before
            wanted = {name: answer for name, (_, answer) in FORMS.items()}
            stored = target.stored()["raw"]
            accepted = sum(answer.split().count("200") for answer in wanted.values())
            if not broken:
                row.figures = f"{len(FORMS)} forms; 70 MB of chunks without end: {endless}, memory +{grown:.0f} MB"
            return [
                expected("each form is answered as the table says", wanted, found),
                Verdict("nothing smuggled is stored", len(stored), tuple(ident for ident in stored if ident != "m")),
                Verdict("L1 each 200 is stored once", accepted, () if len(stored) == accepted else (f"{len(stored)}, not {accepted}",)),
                bounded({"memory, MB": grown}, {"memory, MB": 2 * BODY_CAP_MB + 8}),
            ]

    await prove(row, scenario, ["any_coding"])


async def _endless_chunks(target: Attacked, megabytes: int) -> str:
    """Send chunks until the server has had enough, and say what it answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
    writer.write(HEAD + CHUNKED + b"\r\n")
    try:
        for _ in range(megabytes):
            writer.write(b"f4240\r\n" + b" " * 1_000_000 + b"\r\n")
            await writer.drain()
        async with asyncio.timeout(10):
            return (await reader.readline()).decode().strip() or "closed"
    except OSError:
        return "closed"
    finally:
        writer.transport.abort()  # what nobody takes any more would keep it open


HEADS = {
    "60 kB header": (HEAD + b"x: " + b"a" * 60_000 + b"\r\n" + DECLARED, "200"),
    "90 headers": (HEAD + b"".join(b"h%d: v\r\n" % number for number in range(90)) + DECLARED, "200"),
    "20 kB URL": (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", "404"),
    "200 kB header": (HEAD + b"x: " + b"a" * 200_000 + b"\r\n" + DECLARED, "431"),
    "1 MB header": (HEAD + b"x: " + b"a" * 1_000_000 + b"\r\n" + DECLARED, "431"),
    "1 MB name": (HEAD + b"a" * 1_000_000 + b": x\r\n" + DECLARED, "431"),
    "200 headers": (HEAD + b"".join(b"h%d: v\r\n" % number for number in range(200)) + DECLARED, "431"),
    "10,000 headers": (HEAD + b"".join(b"h%d: v\r\n" % number for number in range(10_000)) + DECLARED, "431"),
    "1 MB URL": (b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", "431"),
    "1 MB method": (b"A" * 1_000_000 + b" / HTTP/1.1\r\nhost: x\r\n\r\n", "431 or 400"),
}
HEADS_AT_ONCE = 1_000
HEAD_SENT = b"x: " + b"a" * 60_000


@pytest.mark.fault("T53")
async def test_heads_are_bounded(tmp_path: Path, row: Row) -> None:
    """Far beyond 64 KiB, or beyond 100 headers, 431 and the connection ended; 1,000 connections with 60 kB of a head each cost no more than that."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        found: dict[str, str] = {}
        async with attacked(tmp_path, broken) as target:
            for name, (data, wanted) in HEADS.items():
                answer = await send_raw(target.port, data, wait=0.1)
                status = str(answer.statuses[-1]) if answer.statuses else "closed" if answer.closed else "nothing"
                found[name] = wanted if status in (*wanted.split(" or "), *(["closed"] if wanted[:3] == "431" else [])) else status
            before = target.rss_mb()
            async with AsyncExitStack() as stack, healthy(target.port) as client:
                for _ in range(HEADS_AT_ONCE):
                    writer = (await asyncio.open_connection("127.0.0.1", target.port))[1]
                    stack.callback(writer.close)
                    writer.write(HEAD + HEAD_SENT)
                await asyncio.sleep(2)
                grown = target.rss_mb() - before
            if not broken:
                row.figures = f"{len(HEADS)} forms; {HEADS_AT_ONCE} heads of 60 kB under way: memory +{grown:.0f} MB; {client.figures()}"
            return [
                expected("each head is answered as the table says", {name: status for name, (_, status) in HEADS.items()}, found),
                bounded({"memory, MB": grown, "failed": len(client.failed)}, {"memory, MB": 2 * HEADS_AT_ONCE * 64 * 1024 / 1e6, "failed": 0}),
                arrived(client.ids, target.stored()["raw"]),
            ]

    await prove(row, scenario, ["long_heads"])


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process, and the collector that it starts, open as many files as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < IDLE + 2_000:
        pytest.skip(f"the system allows {hard} open files; {IDLE + 2_000} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.fault("T54")
@pytest.mark.usefixtures("many_files")
async def test_ten_thousand_idle_connections_lock_nobody_out(tmp_path: Path, row: Row) -> None:
    """They cost some kB each; a client that comes then is served as ever, and keeps what it is told is stored."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        async with attacked(tmp_path, broken) as target, AsyncExitStack() as stack:
            before, files = target.rss_mb(), target.files()
            async with healthy(target.port) as alone:
                await asyncio.sleep(1.5)
            opened = 0
            for start in range(0, IDLE if not broken else 1_000, 500):
                for reader_writer in await asyncio.gather(*(_open(target.port, start + number) for number in range(500)), return_exceptions=True):
                    if not isinstance(reader_writer, BaseException):
                        opened += 1
                        stack.callback(reader_writer.close)
            async with healthy(target.port) as client:
                await asyncio.sleep(3 if not broken else 6)
            grown, held = target.rss_mb() - before, target.files() - files
            if not broken:
                row.figures = f"{opened} idle: {held} files, memory +{grown:.0f} MB; before them {alone.figures()}; beside them {client.figures()}"
            return [
                bounded({"memory, MB": grown, "files": held, "failed": len(client.failed)}, {"memory, MB": 100, "files": 12_000, "failed": 0}),
                Verdict("a new client is served", len(client.ids), () if len(client.ids) > 20 else (f"{len(client.ids)} events",)),
                arrived(alone.ids + client.ids, target.stored()["raw"]),
            ]

    await prove(row, scenario, ["few_connections"])


async def _open(port: int, number: int) -> asyncio.StreamWriter:
    """Open a connection from one of several addresses, whose ports are not enough for all."""
    async with asyncio.timeout(3):
        return (await asyncio.open_connection("127.0.0.1", port, local_addr=(f"127.0.0.{2 + number % 8}", 0)))[1]


async def _drip(port: int, first: bytes, drop: bytes) -> tuple[float, bytes]:
    """Send a byte or so each half second until the server ends it; give the seconds that took, and what it said."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began, got = time.monotonic(), b""
    writer.write(first)
    with suppress(OSError):
        while time.monotonic() - began < 3 * SECONDS:
            try:
                async with asyncio.timeout(0.5):
                    piece = await reader.read(1 << 16)
            except TimeoutError:
                if drop:
                    writer.write(drop)
                continue
            got += piece
            if not piece:
                break
    took = time.monotonic() - began
    writer.close()
    return took, got


SLOWNESS = {
    "says nothing": (b"", b""),
    "a head byte by byte": (HEAD + b"x: ", b"a"),
    "a body byte by byte": (HEAD + b"content-length: 300\r\n\r\n", b"a"),
    "chunks byte by byte": (HEAD + CHUNKED + b"\r\n", b"1\r\na\r\n"),
    "idle after a request": (HEAD + DECLARED, b""),
}


@pytest.mark.fault("T54")
async def test_slow_clients_are_ended_at_their_deadlines(tmp_path: Path, row: Row) -> None:
    """500 that send a byte each half second, and 10 that read nothing of what they ask for, are ended in time; a client beside them is served."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        number = {"": SLOW, "patient": 50}.get(broken, 5)
        async with attacked(tmp_path, broken, seconds=SECONDS) as target:
            before, files = target.rss_mb(), target.files()
            async with healthy(target.port) as client:
                slow = await asyncio.gather(*(_drip(target.port, *case) for case in list(SLOWNESS.values()) * (number // len(SLOWNESS))))
                grown = target.rss_mb() - before
                unread = await _unread(target) if broken != "patient" else 0
            left = await _until_files(target, files + 16)
            longest = max(took for took, _ in slow)
            late = [f"{name} lasted {took:.1f} s" for name, (took, _) in zip(list(SLOWNESS) * len(slow), slow, strict=False) if took > 2 * SECONDS]
            told = [said for name, (_, said) in zip(list(SLOWNESS) * len(slow), slow, strict=False) if "body" in name or "chunks" in name]
            untold = tuple(said.decode()[:40] or "nothing" for said in told if not said.startswith(b"HTTP/1.1 408"))
            if not broken:
                row.figures = (
                    f"{len(slow)} slow at deadlines of {SECONDS} s: the longest lasted {longest:.1f} s; memory +{grown:.0f} MB; "
                    f"{left - files} files left; {client.figures()}"
                )
            return [
                Verdict("each is ended at its deadline", len(slow), tuple(late)),
                Verdict("a late body is told so", len(told), untold),
                Verdict("who reads nothing is ended", UNREADING, (f"{unread} go on",) if unread else ()),
                bounded(
                    {"files left": left - files, "memory, MB": grown, "failed": len(client.failed)}, {"files left": 16, "memory, MB": 60, "failed": 0}
                ),
                arrived(client.ids, target.stored()["raw"]),
            ]

    await prove(row, scenario, ["patient", "waits_for_readers"])


async def _unread(target: Attacked) -> int:
    """Let clients ask for more than fits into the system's buffers and read none of it; count those that the server has not ended by the end."""
    loop, before = asyncio.get_running_loop(), target.files()
    clients = [socket.socket() for _ in range(UNREADING)]
    for client in clients:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)  # noqa: FBT003 (the standard library's own)
        await loop.sock_connect(client, ("127.0.0.1", target.port))
        await loop.sock_sendall(client, b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
    async with asyncio.timeout(5):
        while target.files() < before + UNREADING - 2:  # noqa: ASYNC110 (the files are another process's)
            await asyncio.sleep(0.01)
    left = max(0, await _until_files(target, before + 2, 4 * SECONDS) - before - 2)  # the healthy client's
    for client in clients:
        client.close()
    return left


async def _until_files(target: Attacked, most: int, seconds: float = 4) -> int:
    """Wait until the collector has let go of its files, for a while."""
    end = time.monotonic() + seconds
    while target.files() > most and time.monotonic() < end:  # noqa: ASYNC110 (the files are another process's)
        await asyncio.sleep(0.1)
    return target.files()
