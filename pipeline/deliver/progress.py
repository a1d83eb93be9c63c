"""Which records beyond the committed offset are finished, as text for the offset's metadata.

Kafka takes 4,096 bytes there, of which the broker's adapter keeps a few for the id of the topic. The text is `1:` and base64url of
pairs of varints: how many offsets are not finished, how many then are. Offsets at which no record lies (transaction markers) count as
either.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

MOST_CHARACTERS: Final = 4096 - 64
_PREFIX: Final = "1:"
_MOST_BYTES: Final = (MOST_CHARACTERS - len(_PREFIX)) * 3 // 4


def encode_finished(committed: int, records: Iterable[tuple[int, bool]]) -> str:
    """Write which records are finished.

    Args:
        committed: The committed offset: that of the first record that is not finished.
        records: Offset and whether it is finished, of that record and all taken after it, in order.

    Returns:
        At most MOST_CHARACTERS characters; empty where nothing beyond the offset is finished. What does not fit is left out from the
        end, so that those records are sent again.
    """
    result = bytearray()
    cursor = committed
    start = end = -1
    for offset, finished in (*records, (-1, False)):
        if finished:
            start = offset if start < 0 else start
            end = offset + 1
        elif start >= 0:
            pair = _varint(start - cursor) + _varint(end - start)
            if len(result) + len(pair) > _MOST_BYTES:
                break
            result += pair
            cursor, start = end, -1
    return _PREFIX + base64.urlsafe_b64encode(result).decode().rstrip("=") if result else ""


def decode_finished(committed: int, metadata: str) -> tuple[range, ...]:
    """Read which records are finished.

    Args:
        committed: The committed offset.
        metadata: The text beside it.

    Returns:
        Ranges of finished offsets, ascending; none where the text is empty or of another kind.
    """
    if not metadata.startswith(_PREFIX):
        return ()
    text = metadata.removeprefix(_PREFIX)
    try:
        numbers = list(_varints(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))))
    except (binascii.Error, ValueError):
        return ()
    ranges: list[range] = []
    cursor = committed
    for gap, length in zip(numbers[::2], numbers[1::2], strict=False):
        ranges.append(range(cursor + gap, cursor + gap + length))
        cursor += gap + length
    return tuple(ranges)


def moved_on(finished: Sequence[range], offset: int) -> str:
    """Write what is finished beyond an offset that lies further on than the one it was read beside.

    Args:
        finished: Ranges of finished offsets, ascending.
        offset: The new committed offset.

    Returns:
        The text beside it.
    """
    left = [range(max(one.start, offset), one.stop) for one in finished if one.stop > offset]
    return encode_finished(offset, ((place, place < one.stop) for one in left for place in range(one.start, one.stop + 1)))


def _varint(number: int) -> bytes:
    result = bytearray()
    while number > 127:
        result.append(number & 127 | 128)
        number >>= 7
    result.append(number)
    return bytes(result)


def _varints(text: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in text:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            yield number
            number = shift = 0
