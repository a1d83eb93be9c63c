"""The limits on one event, checked again for producers that did not come through the collector."""

from __future__ import annotations

from typing import Any, Final

from pipeline.model import json_text, limits
from pipeline.model.outcomes import Dead

_FEWEST_BYTES_OF_A_KEY: Final = 5  # `"":0,`


def check_size(body: dict[str, Any], value: bytes, most_bytes: int) -> Dead | None:
    """Say whether an event breaks a limit. What is cheap to rule out from its bytes is never counted.

    Args:
        body: The parsed event.
        value: The bytes that it was parsed from.
        most_bytes: Most bytes of compact UTF-8 JSON that its source may send.

    Returns:
        None, or the reason.
    """
    # What is left without them tells how many brackets there are four times as fast as counting them does.
    if 2 * len(value) - len(value.replace(b"{", b"")) - len(value.replace(b"[", b"")) > limits.DEPTH and _is_deeper(body, limits.DEPTH):
        return Dead("too_deep", f"more than {limits.DEPTH} levels")
    if len(value) > _FEWEST_BYTES_OF_A_KEY * limits.KEYS and _count_keys(body) > limits.KEYS:
        return Dead("too_many_keys", f"more than {limits.KEYS} keys")
    if len(value) > most_bytes and (size := len(json_text.encode(body))) > most_bytes:  # spaces and escapes do not count
        return Dead("event_too_large", f"{size} bytes, of which the source allows {most_bytes}")
    return None


def _is_deeper(body: dict[str, Any], depth: int) -> bool:
    level: list[Any] = [body]
    for _ in range(depth):
        level = [item for parent in level for item in (parent.values() if isinstance(parent, dict) else parent) if isinstance(item, dict | list)]
        if not level:
            return False
    return True


def _count_keys(body: dict[str, Any]) -> int:
    count = 0
    waiting: list[Any] = [body]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            count += len(value)
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return count
