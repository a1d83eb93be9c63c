"""HTTP/1.1 as text: the head of a request, and an answer as the bytes that go over the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from pipeline.ingest.answers import Answer

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"
_NO_LENGTH: Final = frozenset((204, 304))
_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_CLOSE: Final = "connection: close\r\n"


class Head(NamedTuple):
    """The head of a request.

    Attributes:
        method: Method.
        path: Path, decoded.
        query: Query string without question mark.
        client: Address of the client, without port.
        headers: Values by lower-case name; those of a repeated name as one list (RFC 9110 §5.2). One that is no UTF-8 is as none.
    """

    method: str
    path: str
    query: str
    client: str
    headers: Mapping[str, str]


def target(text: bytes) -> tuple[str, str]:
    """Read what a request is for.

    Args:
        text: The target of its first line: a path with a query or without, or a whole URL (RFC 9112 §3.2).

    Returns:
        Path, decoded, and query string without question mark.
    """
    written = text.decode("utf-8", "replace")
    if not written.startswith("/"):
        try:
            split = urlsplit(written)
        except ValueError:
            return written, ""
        written = f"{split.path or '/'}?{split.query}"
    path, _, query = written.partition("?")
    return (unquote(path) if "%" in path else path), query


def date_line(seconds: float) -> str:
    """Write the Date header.

    Args:
        seconds: Seconds since the epoch.
    """
    return f"date: {formatdate(seconds, usegmt=True)}\r\n"


def rendered(answer: Answer, date: str, *, bodiless: bool, last: bool) -> bytes:
    """Write a whole answer.

    Args:
        answer: The answer.
        date: The line of its Date header.
        bodiless: Whether the request was HEAD, whose answer says how long the body would be.
        last: Whether the connection ends behind it.
    """
    length = "" if answer.status in _NO_LENGTH else f"content-length: {len(answer.body)}\r\n"
    head = f"{_opening(answer.status, answer.headers, date, last=last)}{length}\r\n".encode()
    return head if bodiless else head + answer.body


def opening(status: int, headers: Sequence[tuple[str, str]], date: str, *, chunked: bool) -> bytes:
    """Write the head of an answer that comes in pieces.

    Args:
        status: Status code.
        headers: Names and values.
        date: The line of its Date header.
        chunked: Whether the pieces are chunks; else the end of the connection is theirs.
    """
    coding = "transfer-encoding: chunked\r\n" if chunked else ""
    return f"{_opening(status, headers, date, last=not chunked)}{coding}\r\n".encode()


def _opening(status: int, headers: Sequence[tuple[str, str]], date: str, *, last: bool) -> str:
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    return f"{_STATUS_LINES[status]}{lines}{date}{_CLOSE if last else ''}"
