"""JSON text that orjson cannot carry exactly, by one declared table (reference: odd JSON).

| text | what becomes of it |
|---|---|
| an integer beyond 64 bits | exact: written by the standard library, which orjson cannot |
| `NaN`, `Infinity`, `-Infinity` | null, counted as a replacement |
| a number beyond the range of a double (`1e400`) | null, counted as a replacement |
| a lone surrogate escape | U+FFFD, counted as a replacement |
| a NUL in a string | kept |
| invalid UTF-8 | refused |
"""

from __future__ import annotations

import json  # noqa: TID251 (the slow path for what orjson cannot carry exactly; everything else goes through orjson)
import math
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec
import orjson

_decode: Final[Callable[[bytes], Any]] = msgspec.json.Decoder().decode
"""As fast as orjson, which makes a float of an integer beyond 64 bits and would need a second look at every text for those."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def decode(text: bytes) -> tuple[Any, int]:
    """Parse JSON text exactly, replacing only what no JSON reader could carry.

    Args:
        text: UTF-8 JSON.

    Returns:
        The value and the number of replaced values.

    Raises:
        ValueError: The text is not JSON, not UTF-8, or nested too deeply to read.
    """
    try:
        return _decode(text), 0
    except RecursionError:
        return orjson.loads(text), 0  # reads 1,024 levels; whoever asked refuses it for its depth, whatever its numbers have become
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _decode_exactly(text)  # perhaps one of the odd values; this one decides


def _decode_exactly(text: bytes) -> tuple[Any, int]:
    replaced = 0

    def not_a_number(_token: str) -> None:
        nonlocal replaced
        replaced += 1

    def floating(token: str) -> float | None:
        nonlocal replaced
        value = float(token)
        if math.isinf(value):
            replaced += 1
            return None
        return value

    try:
        value = json.loads(text.decode("utf-8"), parse_constant=not_a_number, parse_float=floating)
    except RecursionError:
        reason = "nested too deeply"
        raise ValueError(reason) from None
    if b"\\u" in text:
        value, count = _without_surrogates(value)
        replaced += count
    return value, replaced


def _without_surrogates(value: Any) -> tuple[Any, int]:  # noqa: ANN401 (any JSON value)
    if isinstance(value, str):
        return _SURROGATE.subn("\ufffd", value)
    if isinstance(value, list):
        pairs = [_without_surrogates(item) for item in value]
        return [item for item, _ in pairs], sum(count for _, count in pairs)
    if isinstance(value, dict):
        result: dict[str, Any] = {}
        total = 0
        for name, item in value.items():
            clean_name, in_name = _SURROGATE.subn("\ufffd", name)
            result[clean_name], in_item = _without_surrogates(item)
            total += in_name + in_item
        return result, total
    return value, 0


def encode(value: Any) -> bytes:  # noqa: ANN401 (any JSON value)
    """Write a value as compact UTF-8 JSON, integers of any size exactly.

    Args:
        value: What `decode` gave, or values of the same types.

    Returns:
        The text.

    Raises:
        ValueError: The value is nested too deeply to write.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        return _encode_exactly(value)


def _encode_exactly(value: Any) -> bytes:  # noqa: ANN401 (any JSON value)
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")
    except RecursionError:
        reason = "nested too deeply"
        raise ValueError(reason) from None
