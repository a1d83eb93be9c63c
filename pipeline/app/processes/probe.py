"""Asks a process on this machine about itself."""

from __future__ import annotations

import asyncio
from http.client import HTTPConnection, HTTPException  # noqa: TID251 (a look at our own process needs no client of the runtime)
from typing import Any, Final

import orjson

PROBE_SECONDS: Final = 2.0


async def is_ready(port: int, path: str = "/health/ready") -> bool:
    """Ask whether a process is ready.

    Args:
        port: Port of its health pages.
        path: The page.

    Returns:
        Whether it answered 200 in time.
    """
    status, _ = await asyncio.to_thread(_get, port, path)
    return status == 200


async def read_page(port: int, path: str = "/status.json") -> dict[str, Any] | None:
    """Ask a process for one of its pages in JSON.

    Args:
        port: Port of its pages.
        path: The page; `/status.json` says what it works on.

    Returns:
        Its answer, or None.
    """
    status, body = await asyncio.to_thread(_get, port, path)
    try:
        answer = orjson.loads(body) if status == 200 else None
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


async def read_answer(host: str, port: int, path: str) -> tuple[int, bytes]:
    """Ask a process, here or elsewhere, for a page.

    Args:
        host: Its address.
        port: Port of its pages.
        path: The page with its query.

    Returns:
        Status and body; status 0 where it does not answer in time.
    """
    return await asyncio.to_thread(_get, port, path, host)


def _get(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, bytes]:
    connection = HTTPConnection(host, port, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, HTTPException):
        return 0, b""
    finally:
        connection.close()
