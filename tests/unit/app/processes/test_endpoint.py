"""The pages of a process: what they answer, and what they say to a question that makes no sense."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPConnection

import orjson
import pytest

from pipeline.app.processes.endpoint import Endpoint, FirstSeen

KNOWN, OLD, BUSY = (bytes([number]) * 16 for number in range(3))


def _first_seen(digest: bytes) -> FirstSeen | None:
    if digest == BUSY:
        raise TimeoutError
    return {KNOWN: FirstSeen(3, 42, 1_000), OLD: FirstSeen(1, -1, 2_000)}.get(digest)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """Give an endpoint on a free port."""
    made = Endpoint("127.0.0.1", 0, metrics=lambda: b"", live=lambda: "", ready=lambda: "not ready", status=dict, first_seen=_first_seen)
    yield made
    made.close()


def _get(endpoint: Endpoint, path: str) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", endpoint.port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_a_known_digest_is_found(endpoint: Endpoint) -> None:
    """Partition, offset and time of the first copy come back; an offset that was not kept is null."""
    status, body = _get(endpoint, f"/dedup.json?digest={KNOWN.hex()}")
    assert (200, {"partition": 3, "offset": 42, "first_seen": 1_000}) == (status, orjson.loads(body))
    status, body = _get(endpoint, f"/dedup.json?digest={OLD.hex().upper()}")
    assert (200, {"partition": 1, "offset": None, "first_seen": 2_000}) == (status, orjson.loads(body))


@pytest.mark.parametrize(("query", "expected"), [("?digest=" + "9" * 32, 404), ("?digest=9", 400), ("", 400), ("?digest=" + BUSY.hex(), 503)])
def test_what_cannot_be_answered_says_so(endpoint: Endpoint, query: str, expected: int) -> None:
    """An unknown digest, one that is none, and a process that is busy are three different answers."""
    assert expected == _get(endpoint, f"/dedup.json{query}")[0]


def test_health_says_good_or_not(endpoint: Endpoint) -> None:
    """Live and ready are asked for apart; another page is not found."""
    assert [200, 503, 404] == [_get(endpoint, path)[0] for path in ("/health/live", "/health/ready", "/nothing")]
