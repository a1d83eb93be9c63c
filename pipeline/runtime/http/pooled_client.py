"""The HTTP client of deliver: pooled HTTP/1.1 connections on the process's own loop, to addresses that it may reach.

A library's client resolves a name after we could have looked at it; this one connects to the very address that was judged
(resolve, then pin), and does not hand a request to another thread and back, which cost more than sending it. Parsing is llhttp's.
"""

from __future__ import annotations

import asyncio
import base64
import re
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

import certifi

from pipeline.deliver.addresses import is_public
from pipeline.ports.http import Answer, Request
from pipeline.runtime.http.connection import Connection, ConnectionFailed, Reply
from pipeline.runtime.http.deadlines import Deadlines

IDLE_SECONDS: Final = 60.0
"""How long a connection is kept for the next request."""
CONNECT_SECONDS: Final = 3.0
"""Longest wait for one of several addresses, before the next is tried."""
USER_AGENT: Final = "Headrace"

_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL: Final = re.compile(r"[\0\r\n]")
_METHODS: Final = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE"))


class Target(NamedTuple):
    """Where a URL leads.

    Attributes:
        host: Name or address, ASCII.
        port: Port.
        tls: Whether it is https.
        head: What every request's head begins with, from the path to the headers that are always sent.
        place: The first three, by which connections are kept.
    """

    host: str
    port: int
    tls: bool
    head: str
    place: tuple[str, int, bool]


class PooledClient:
    """Sends requests; see the port.

    It follows no redirect, sends and keeps no cookie, uses no proxy of the environment, asks for no compression and
    decompresses nothing, so that a small answer cannot become a large one.

    Args:
        private_addresses: Whether requests may go to loopback, private and link-local addresses.
        connections_per_host: Most idle connections that are kept for a host.
        may_reach: Says which addresses count as public.
    """

    def __init__(self, *, private_addresses: bool = False, connections_per_host: int = 64, may_reach: Callable[[str], bool] = is_public) -> None:
        self._may_reach: Callable[[str], bool] = (lambda _address: True) if private_addresses else may_reach
        self._connections_per_host = connections_per_host
        self._idle: dict[tuple[str, int, bool], deque[Connection]] = {}
        self._lookups: dict[tuple[str, int], asyncio.Future[list[str] | Exception]] = {}
        self._deadlines: Deadlines | None = None
        self._tls: ssl.SSLContext | None = None
        self._closed = False

    async def send(self, request: Request) -> Answer:
        """Send a request and wait for its answer; see the port."""
        started = time.perf_counter()
        try:
            target = target_of(request.url)
            data = _bytes_of(request, target)
        except ValueError:
            return Answer(0, {}, b"", "invalid_request", _milliseconds(started))
        try:
            reply = await self._ask(target, data, started + request.timeout_seconds)
        except ConnectionFailed as error:
            return Answer(0, {}, b"", str(error), _milliseconds(started))
        return Answer(reply.status, reply.headers, reply.body, "", _milliseconds(started))

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        if self._deadlines is not None:
            self._deadlines.close()
        for lookup in self._lookups.values():
            lookup.cancel()
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
        self._idle.clear()
        await asyncio.sleep(0)  # transports end in the loop's next turn

    async def _ask(self, target: Target, data: bytes, deadline: float) -> Reply:
        kept = self._kept(target.place)
        while True:
            connection = kept or await self._connect_within(target, deadline)
            try:
                reply = await connection.ask(data, deadline - time.perf_counter())
            except asyncio.CancelledError:
                connection.close()
                raise
            except ConnectionFailed as error:
                # The tool closed a connection that had been idle, before it could have looked at the request. It is sent once more, as
                # browsers and Go do for requests with an id of their own.
                if kept is None or not error.untouched:
                    raise
                kept = None
            else:
                self._keep(connection, target.place)
                return reply

    def _keep(self, connection: Connection, place: tuple[str, int, bool]) -> None:
        if connection.reusable and not self._closed:
            idle = self._idle.get(place)
            if idle is None:
                idle = self._idle[place] = deque()
            if len(idle) < self._connections_per_host:
                connection.idle_since = time.perf_counter()
                idle.append(connection)
                return
        connection.close()

    def _kept(self, place: tuple[str, int, bool]) -> Connection | None:
        idle = self._idle.get(place)
        if not idle:
            return None
        now = time.perf_counter()
        while idle and (not idle[0].reusable or now - idle[0].idle_since > IDLE_SECONDS):
            idle.popleft().close()
        while idle:
            connection = idle.pop()
            if connection.reusable:
                return connection
        return None

    async def _connect_within(self, target: Target, deadline: float) -> Connection:
        try:
            async with asyncio.timeout(deadline - time.perf_counter()):
                return await self._connect(target)
        except TimeoutError:
            raise ConnectionFailed("timeout") from None

    async def _connect(self, target: Target) -> Connection:
        try:
            addresses = await self._addresses(target.host, target.port)
        except (OSError, UnicodeError):
            raise ConnectionFailed("dns") from None
        allowed = [address for address in dict.fromkeys(addresses) if self._may_reach(address)]
        if not allowed:
            raise ConnectionFailed("address_blocked")
        failure = "network_error"
        for number, address in enumerate(allowed, 1):
            try:
                async with asyncio.timeout(CONNECT_SECONDS if number < len(allowed) else None):
                    return await self._connect_to(address, target)
            except (OSError, TimeoutError) as error:
                failure = _name(error)
        raise ConnectionFailed(failure)

    async def _addresses(self, host: str, port: int) -> list[str]:
        """Look a name up, once for all who wait: a loop has four threads for that, and a name that nobody answers for must not take all."""
        lookup = self._lookups.get((host, port))
        if lookup is None:
            lookup = self._lookups[host, port] = asyncio.ensure_future(_look_up(host, port))
            lookup.add_done_callback(lambda _: self._lookups.pop((host, port)))
        found = await asyncio.shield(lookup)
        if isinstance(found, Exception):
            raise found
        return found

    async def _connect_to(self, address: str, target: Target) -> Connection:
        loop = asyncio.get_running_loop()
        deadlines = self._deadlines = self._deadlines or Deadlines(loop)
        _, connection = await loop.create_connection(
            lambda: Connection(loop, deadlines),
            address,
            target.port,
            ssl=self._context() if target.tls else None,
            server_hostname=target.host if target.tls else None,
        )
        return connection

    def _context(self) -> ssl.SSLContext:
        """Make the TLS context at its first use: the certificates take memory, and most processes send nothing."""
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=certifi.where())
            self._tls.load_default_certs()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls


async def _look_up(host: str, port: int) -> list[str] | Exception:
    """Look a name up; an error is given, not raised, because by then perhaps nobody waits any more."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return error
    return [str(one[4][0]) for one in found]


@lru_cache(maxsize=4096)
def target_of(url: str) -> Target:
    """Read a URL.

    Args:
        url: Absolute URL.

    Returns:
        Where it leads.

    Raises:
        ValueError: It is no URL with http or https.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme not in ("http", "https") or not host or _CONTROL.search(url) or " " in url:
        raise ValueError("invalid_request")
    if not host.isascii():
        host = host.encode("idna").decode()
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    if not path.isascii():
        path = "".join(letter if letter.isascii() else "".join(f"%{byte:02X}" for byte in letter.encode()) for letter in path)
    shown = f"[{host}]" if ":" in host else host
    shown = shown if port == (443 if tls else 80) else f"{shown}:{port}"
    head = f" {path} HTTP/1.1\r\nhost: {shown}\r\nuser-agent: {USER_AGENT}\r\naccept: */*\r\naccept-encoding: identity\r\n"
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        head += f"authorization: Basic {base64.b64encode(pair.encode()).decode()}\r\n"
    return Target(host, port, tls, head, (host, port, tls))


def _bytes_of(request: Request, target: Target) -> bytes:
    """Write a request.

    Raises:
        ValueError: A header's name or value, or the method, cannot be sent.
    """
    method, _, headers, body, _ = request
    if method not in _METHODS:
        raise ValueError(method)
    if not all(map(_is_name, headers)):
        raise ValueError("invalid_request")
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    # A line of its own within a value would be a header of its own, or the end of the head.
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers) or "\0" in lines:
        raise ValueError("invalid_request")
    return f"{method}{target.head}{lines}content-length: {len(body)}\r\n\r\n".encode() + body


@lru_cache(maxsize=4096)
def _is_name(name: str) -> bool:
    # What frames the request is ours alone: two lengths, or a length and chunks, would be read in two ways on the way.
    return _NAME.fullmatch(name) is not None and name.lower() not in ("content-length", "transfer-encoding", "connection", "host")


def _milliseconds(started: float) -> float:
    return (time.perf_counter() - started) * 1000


def _name(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection_refused"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return "connection_reset"
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ssl.SSLError):
        return "tls"
    return "unreachable" if isinstance(error, OSError) else "network_error"
