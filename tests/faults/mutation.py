"""Mutates requests that a real SDK could have sent: structure-aware where it reads them as JSON, blind on their bytes."""

from __future__ import annotations

import copy
import gzip
import random
from collections.abc import Callable
from typing import Any, Final

import orjson

CALLS: Final = ("track", "identify", "page", "screen", "group", "alias")
ODD: Final[tuple[Any, ...]] = (
    None, True, 0, -1, 1.5, 2**63 - 1, "", "x" * 5_000, "\u0000", "\u202e", "__proto__", "1e400", [], {}, [[]], [None] * 50,
    {"a": {"b": {"c": []}}}, {"__proto__": {"x": 1}}, {"": ""}, "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "=cmd|'/C calc'!A0",
)  # fmt: skip
RAW: Final = (
    b"NaN",
    b"1e400",
    b"-0",
    b"18446744073709551616",
    b'"\\ud800"',
    b'"\\u0000"',
    b"\xff",
    b"\xef\xbb\xbf",
    b"[" * 70,
    b"{",
    b"}",
    b",",
    b'"',
)


def valid(chance: random.Random, ident: str) -> dict[str, Any]:
    """Make an event that is good.

    Args:
        chance: Decides.
        ident: Its message id.

    Returns:
        The event.
    """
    call = chance.choice(CALLS)
    event: dict[str, Any] = {
        "type": call,
        "messageId": ident,
        "userId": "u",
        "anonymousId": "a",
        "timestamp": "2026-01-01T00:00:00.000Z",
        "context": {"library": {"name": "x", "version": "1"}, "page": {"url": "https://e.example/"}},
    }
    own: dict[str, dict[str, Any]] = {
        "track": {"event": "E", "properties": {"n": 1, "l": [1, {"a": 2}]}},
        "group": {"groupId": "g"},
        "alias": {"previousId": "p"},
    }
    event |= own.get(call, {})
    return event


def _places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:  # noqa: ANN401 (any JSON value)
    if isinstance(value, dict):
        for key, inner in value.items():
            found.append((value, key))
            _places(inner, found)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found.append((value, index))
            _places(inner, found)
    return found


def _structure(body: Any, chance: random.Random) -> None:  # noqa: ANN401 (any JSON value)
    places = _places(body, [])
    if not places:
        return
    holder, key = chance.choice(places)
    kind = chance.randrange(5)
    if kind == 0:
        del holder[key]
    elif kind == 1:
        holder[key] = copy.deepcopy(chance.choice(ODD))
    elif kind == 2:
        holder[key] = copy.deepcopy(body) if len(places) < 100 else None
    elif kind == 3 and isinstance(holder, dict):
        holder[chance.choice(("__proto__", "", "constructor", "writeKey", "messageId", "sentAt", "k" * 300))] = copy.deepcopy(chance.choice(ODD))
    else:
        holder[key] = [holder[key]] * chance.choice((1, 2, 100))


def _cut(text: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(text) + 1)
    return text[:at]


def _flip(text: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(text))
    return text[:at] + bytes([chance.randrange(256)]) + text[at + 1 :]


def _insert(text: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(text) + 1)
    return text[:at] + chance.choice(RAW) + text[at:]


def _repeat(text: bytes, chance: random.Random) -> bytes:
    first, last = sorted((chance.randrange(len(text)), chance.randrange(len(text))))
    return text[:last] + text[first:last] * chance.choice((1, 3)) + text[last:]


_BYTES: Final[tuple[Callable[[bytes, random.Random], bytes], ...]] = (_cut, _flip, _insert, _repeat)


def mutant(chance: random.Random, ident: str) -> tuple[str, bytes, list[str]]:
    """Make a request.

    Args:
        chance: Decides.
        ident: Message id of its event, as long as no mutation touches it.

    Returns:
        Path, body and further headers.
    """
    events = [valid(chance, f"{ident}-{number}") for number in range(chance.choice((1, 1, 1, 3)))]
    batch = chance.random() < 0.5 or len(events) > 1
    body: Any = {"batch": events, "sentAt": "2026-01-01T00:00:00.000Z", "context": {"ip": "1.2.3.4"}} if batch else events[0]
    for _ in range(chance.choice((0, 1, 1, 2, 4))):
        _structure(body, chance)
    try:
        text = orjson.dumps(body)
    except TypeError:  # it came to hold itself too deeply to be written
        text = b"{}"
    headers: list[str] = []
    if chance.random() < 0.4 and text:
        for _ in range(chance.choice((1, 1, 3))):
            text = chance.choice(_BYTES)(text or b" ", chance)
    if chance.random() < 0.1:
        text, headers = gzip.compress(text, 1), ["content-encoding: gzip"]
        if chance.random() < 0.3:
            text = chance.choice(_BYTES)(text, chance)
    path = chance.choice(("batch", "import")) if batch else chance.choice(CALLS)
    return f"/v1/{path}", text, headers
