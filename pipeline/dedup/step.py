"""The step, and the name under which a message is remembered."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from pipeline.model.outcomes import Drop, Outcome, Step
from pipeline.model.record import Message

DIGEST_BYTES: Final = 16
"""Two of 50 million messages share a digest with a probability of 4 in 10^24."""


def digest(source: str, message_id: str) -> bytes:
    """Name a message of a source in 16 bytes.

    Args:
        source: Source id.
        message_id: The client's id of the message; unique only within its source.

    Returns:
        16 bytes.
    """
    return blake2b(f"{source}\0{message_id}".encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()


def create_dedup(seen: Callable[[bytes, int, int], bool]) -> Step:
    """Make the step.

    Args:
        seen: Given a digest, the append time of the record (milliseconds since the epoch) and its offset, says whether that
            digest was seen inside the window, and remembers it if not.

    Returns:
        The step. A message without a string for its id, which validate never lets through, goes on and is not remembered.
    """
    duplicate = Drop("duplicate")

    def dedup(message: Message) -> Outcome | None:
        body = message.body
        message_id = body.get("messageId") if body.__class__ is dict else None
        if message_id.__class__ is str:
            record = message.record
            if seen(digest(message.source, message_id), record.timestamp, record.offset):
                return duplicate
        return None

    return dedup
