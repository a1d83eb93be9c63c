"""The collector's listening socket, and the bounds of what comes over it: connections, heads of requests, clients that do not read."""

from __future__ import annotations

import contextlib
import resource
import socket
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


def listen(host: str, port: int) -> socket.socket:
    """Open the listening socket; by hand, because granian's own would share a port with another process that has it.

    Args:
        host: Address.
        port: Port, or 0 for any free one.

    Returns:
        The socket, which listens.

    Raises:
        PortTaken: The address cannot be listened on.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; every connection inherits it (tcp(7))
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
            listener.bind(address)
            listener.listen(BACKLOG)
            listener.settimeout(0)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise PortTaken(f"Cannot listen on {host}:{port}: {error.strerror or error}. Stop what listens there, or choose another port.") from error
    return listener


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
