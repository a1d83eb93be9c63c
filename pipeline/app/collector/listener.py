"""The collector's listening socket, and the bounds of what comes over it: connections, heads of requests, clients that do not read."""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Iterator
from typing import Final

BACKLOG: Final = 4096
"""Connections that wait to be taken; the system may hold it lower (`net.core.somaxconn`)."""
CONNECTIONS_MOST: Final = 12_000
"""Most connections at once; further ones wait in the backlog. One that says nothing costs some 3 kB."""
FILES_BESIDE: Final = 256
"""Open files that are not connections: the broker's sockets, logs, pages."""
HEAD_BYTES: Final = 64 * 1024
"""Head of a request, its URL and headers together, that is always taken; one that is more than twice as large gets 431."""
HEAD_SECONDS: Final = 30
"""How long a head may take to arrive, and how long a connection may be idle; then it is ended."""
UNREAD_SECONDS: Final = 30
"""How long a client may read nothing of an answer that does not fit into the system's buffers; then its connection is ended."""


class PortTaken(Exception):
    """The address cannot be listened on."""


def listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Open the listening socket; by hand, so that it shares no port with another process that has it.

    Args:
        host: Address.
        port: Port, or 0 for any free one.
        shared: Whether other processes of the same user may listen there too, each on a socket of its own. Linux spreads the connections over
            those sockets by a hash of both addresses (socket(7), SO_REUSEPORT), whichever process is idle.

    Returns:
        The socket, which listens.

    Raises:
        PortTaken: The address cannot be listened on.
    """
    with _telling(host, port):
        listener = _bound(host, port, shared=shared)
        try:
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    listener.settimeout(0)
    return listener


def reserve(host: str, port: int) -> socket.socket:
    """Keep an address for processes that share it: as long as the socket is open, no one else gets it. It takes no connections itself.

    Args:
        host: Address.
        port: Port, or 0 for any free one.

    Returns:
        The socket, which does not listen.

    Raises:
        PortTaken: Somebody listens there, alone or not.
    """
    with listen(host, port) as alone:
        found = alone.getsockname()[1]
    with _telling(host, found):
        kept = _bound(host, found, shared=True)
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)  # or one with it may listen here until a worker does
        return kept


@contextlib.contextmanager
def _telling(host: str, port: int) -> Iterator[None]:
    """Say of what the system refuses that the address cannot be listened on."""
    try:
        yield
    except OSError as error:
        raise PortTaken(f"Cannot listen on {host}:{port}: {error.strerror or error}. Stop what listens there, or choose another port.") from error


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; every connection inherits it (tcp(7))
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def most_connections() -> int:
    """Let this process open as many files as it may, and say how many connections that allows.

    Returns:
        At most `CONNECTIONS_MOST`; fewer where the limit of open files (`ulimit -Hn`) is lower, since a server that cannot take a
        connection for want of a file can do nothing else for anyone.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MOST + FILES_BESIDE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):  # a system may allow less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return CONNECTIONS_MOST if soft == resource.RLIM_INFINITY else connections_of(soft)


def connections_of(files: int) -> int:
    """Say how many connections a limit of open files allows.

    Args:
        files: Most open files of the process.

    Returns:
        At least 1, at most `CONNECTIONS_MOST`; half of a limit that is too low to set `FILES_BESIDE` aside.
    """
    return max(1, min(CONNECTIONS_MOST, max(files - FILES_BESIDE, files // 2)))
