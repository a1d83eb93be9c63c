"""From a request's body to a JSON value, whatever its Content-Type says (reference: tracking-api §2)."""

from __future__ import annotations

import zlib
from typing import Any, Final, NamedTuple

from pipeline.ingest import refusals
from pipeline.ingest.refusals import Refused
from pipeline.model import json_text, limits

_GZIP: Final = 16 + zlib.MAX_WBITS
_PLAIN: Final = ("", "identity")
_GZIP_NAMES: Final = ("gzip", "x-gzip")
_MEMBERS: Final = 64
"""Most members of one gzip stream: each costs a fresh decompressor, and no SDK sends more than one."""

_RATIO_FREE: Final = 1024 * 1024
"""What any gzip stream may unpack to; SDKs send at most half of it."""
_RATIO_MOST: Final = 100
"""How many times its size a gzip stream may unpack to beyond that: real events come to a tenth of it, a bomb to ten times."""


def plain(body: bytes, encoding: str | None) -> bytes | Refused:
    """Undo a request's Content-Encoding.

    Args:
        body: The body as it came.
        encoding: Value of the Content-Encoding header.

    Returns:
        The plain body, at most `limits.REQUEST_BYTES`; or the refusal of a larger or broken one. A small body that unpacks to a
        large one is never unpacked beyond the limit, nor beyond a mebibyte and a hundred times its size.
    """
    if encoding is not None and (name := encoding.strip().lower()) not in _PLAIN:
        return _gunzip(body) if name in _GZIP_NAMES else refusals.UNKNOWN_ENCODING
    if len(body) > limits.REQUEST_BYTES:
        return refusals.TOO_LARGE
    return body


def _gunzip(body: bytes) -> bytes | Refused:
    parts: list[bytes] = []
    dense = max(_RATIO_FREE, _RATIO_MOST * len(body))
    room = min(limits.REQUEST_BYTES, dense)
    rest = body
    while rest:  # a gzip stream may have several members, one after the other (RFC 1952 §2.2)
        inflater = zlib.decompressobj(_GZIP)
        try:
            part = inflater.decompress(rest, room + 1)
        except zlib.error:
            return refusals.INVALID_GZIP
        room -= len(part)
        if room < 0:
            return refusals.TOO_LARGE if dense >= limits.REQUEST_BYTES else refusals.TOO_DENSE
        if not inflater.eof:
            return refusals.INVALID_GZIP
        parts.append(part)
        rest = inflater.unused_data
        if len(parts) == _MEMBERS and rest:
            return refusals.INVALID_GZIP
    return b"".join(parts)


def parsed(text: bytes) -> tuple[Any, bool] | Refused:
    """Parse a body.

    Args:
        text: The plain body.

    Returns:
        The value and whether it is odd (`pipeline.model.json_text.decode_marked`), or the refusal.
    """
    try:
        return json_text.decode_marked(text)
    except (ValueError, RecursionError):  # some texts are nested deeper than Python can follow
        return refusals.INVALID_JSON


class Parsed(NamedTuple):
    """A body, parsed, and its events written again.

    Attributes:
        value: The value.
        odd: Whether it is odd (`pipeline.model.json_text.decode_marked`).
        texts: Its events as compact JSON, the one or those of the batch; None where they were not written.
    """

    value: Any
    odd: bool
    texts: list[bytes] | None

    @property
    def deep(self) -> bool:
        """Whether it is nested too deeply to be written again: a large integer may have become a float in it, and a doubled key gone unnoticed."""
        return not self.odd and self.texts is None


def parsed_whole(text: bytes, *, batch: bool) -> Parsed | Refused:
    """Parse the body of a request; the look for doubled keys writes each event, as its record will have it, and that is kept.

    Args:
        text: The plain body.
        batch: Whether its events are those under `batch`; else it is one.

    Returns:
        What is in it, or the refusal.
    """
    kept: list[bytes] | None = None

    def write(value: Any) -> bytes:  # noqa: ANN401 (JSON)
        nonlocal kept
        if not batch:
            kept = [json_text.encode(value)]
            return kept[0]
        if value.__class__ is not dict or value.get("batch").__class__ is not list:
            written, kept = json_text.encode(value), []
            return written
        written, kept = json_text.encode_apart(value, "batch")
        return written

    try:
        value, odd = json_text.decode_marked(text, write)
    except (ValueError, RecursionError):  # as above
        return refusals.INVALID_JSON
    return Parsed(value, odd, None if odd else kept)
