"""How many connections a collector takes, and who listens where."""

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from pipeline.app.collector.listener import PortTaken, connections_of, listen, reserve


@pytest.mark.parametrize(("files", "connections"), [(1, 1), (256, 128), (1_024, 768), (20_000, 12_000)])
def test_connections_leave_files_for_the_rest(files: int, connections: int) -> None:
    """A limit of open files leaves 256 for what is no connection; half of it where it is too low for that."""
    assert connections == connections_of(files)


def test_a_kept_address_is_shared_by_those_who_ask_for_it_only() -> None:
    """Workers listen on it side by side; who wants it alone, or keeps it for others, is refused before and while they do."""
    with reserve("127.0.0.1", 0) as kept:
        port = kept.getsockname()[1]
        with pytest.raises(PortTaken):
            listen("127.0.0.1", port)
        with listen("127.0.0.1", port, shared=True), listen("127.0.0.1", port, shared=True), pytest.raises(PortTaken, match="Stop what listens"):
            reserve("127.0.0.1", port)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone spreads them")
def test_the_kernel_spreads_connections_over_who_shares_an_address() -> None:
    """Of 64 connections each of two sockets gets some, whichever is asked first (one alone would get all once in 2^63 times)."""
    with (
        reserve("127.0.0.1", 0) as kept,
        listen("127.0.0.1", kept.getsockname()[1], shared=True) as first,
        listen("127.0.0.1", kept.getsockname()[1], shared=True) as second,
        ExitStack() as stack,
    ):
        for _ in range(64):
            stack.enter_context(socket.create_connection(first.getsockname()))
        taken = [len(list(_waiting(one))) for one in (first, second)]
    assert sum(taken) == 64
    assert min(taken) > 0


def _waiting(listener: socket.socket) -> Iterator[None]:
    """Take the connections that wait."""
    with suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            yield
