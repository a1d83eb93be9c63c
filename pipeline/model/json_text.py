"""JSON text of any value, integers of any size exactly; what becomes of odd values is the table of `pipeline.model.odd_json`."""

from __future__ import annotations

import json  # noqa: TID251 (the slow path for what orjson cannot carry exactly; everything else goes through orjson)
from collections.abc import Callable, Iterable
from typing import Any, Final, NotRequired, TypedDict, cast

import msgspec
import orjson

from pipeline.model import odd_json

_decode: Final[Callable[[bytes], Any]] = msgspec.json.Decoder().decode
"""As fast as orjson, which makes a float of an integer beyond 64 bits and would need a second look at every text for those."""
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


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
    settled = odd_json.settle(odd_json.read(text))
    return settled.value, sum(settled.counts.values()) - settled.counts.get(odd_json.DUPLICATE_KEY, 0)


def decoder_of(members: Iterable[str]) -> Callable[[bytes], dict[str, Any] | None]:
    """Make a reader of a few members of objects that the pipeline wrote; it passes over the rest at a third of what reading them takes.

    Args:
        members: Names of the members.

    Returns:
        A function of JSON text. It gives those of the members that are there, in the order of the text, or None where the whole has to be read:
        it is no object or not JSON, which may go unnoticed in what is passed over, or one of the names is not ASCII.
    """
    names = frozenset(members)
    if not all(map(str.isascii, names)):
        return _read_nothing  # msgspec finds no such names
    shape = TypedDict("shape", dict.fromkeys(names, NotRequired[Any]))  # type: ignore[misc]  # mypy knows literal shapes only
    decode_shape = msgspec.json.Decoder(shape).decode

    def decode_members(text: bytes) -> dict[str, Any] | None:
        try:
            return cast("dict[str, Any]", decode_shape(text))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None

    return decode_members


def _read_nothing(_text: bytes) -> None:
    return None


def decode_marked(text: bytes, write: Callable[[Any], bytes] | None = None) -> tuple[Any, bool]:
    """Parse JSON text so that nothing in it is lost in silence, doubled keys included.

    Args:
        text: UTF-8 JSON, perhaps with a byte order mark (RFC 8259 §8.1).
        write: What writes the value again to see whether a key is lost; `encode` unless given. Not called where the value is odd anyway.

    Returns:
        The value, and whether it is odd: then it, or each part of it that is used, has to go through `odd_json.settle`.

    Raises:
        ValueError: The text is not JSON, not UTF-8, or nested too deeply to read.
    """
    try:
        value = _decode(text)
    except RecursionError:
        return orjson.loads(text), False  # reads 1,024 levels; whoever asked refuses it for its depth, whatever its numbers have become
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return odd_json.read(text.removeprefix(_BYTE_ORDER_MARK)), True
    if _lost_a_key(text, value, write or encode):
        return odd_json.read(text), True
    return value, False


def _lost_a_key(text: bytes, value: Any, write: Callable[[Any], bytes]) -> bool:  # noqa: ANN401 (any JSON value)
    """Say whether a key may stand twice in a text: then its value, written again, has fewer colons.

    One stands behind each key, and those in texts are written as they are; only an escaped one could make up for one that is lost.
    """
    try:
        written = write(value)
    except ValueError:  # nested too deeply to write, and refused for that
        return False
    if written == text:  # as browsers write it
        return False
    return text.count(b":") != written.count(b":") or (b"\\" in text and (b"\\u003a" in text or b"\\u003A" in text))


def encode_apart(value: dict[str, Any], name: str) -> tuple[bytes, list[bytes]]:
    """Write an object so that it reads as what `encode` writes, and keep the text of each element of an array, so that it need not be written again.

    Args:
        value: The object.
        name: Name of the member that is an array.

    Returns:
        The text of the whole, and those of the elements.

    Raises:
        ValueError: The value is nested too deeply to write.
    """
    texts = [encode(element) for element in value[name]]
    try:
        return orjson.dumps({**value, name: orjson.Fragment(b"[" + b",".join(texts) + b"]")}), texts
    except TypeError:
        return _encode_exactly(value), texts


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
