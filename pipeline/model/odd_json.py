"""JSON that a plain reader would change in silence: one table of what becomes of it, and the exact reader behind the table (reference: odd JSON).

The fast readers carry almost everything. What they cannot, or would lose, is read here: `read` leaves a mark in the place of each such value,
and `settle` puts the value of the table there and says what it replaced and where.
"""

from __future__ import annotations

import json  # noqa: TID251 (the slow path for what orjson cannot carry exactly; everything else goes through orjson)
import math
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

PLACES_MOST: Final = 10
"""How many places of replaced values an event names; all of them are counted."""
PATH_CHARACTERS: Final = 256
"""Longest path of a place; a longer one is cut, and ends in `…`: each event of a batch carries those of its envelope."""

NOT_A_NUMBER: Final = "not_a_number"
TOO_LARGE: Final = "number_too_large"
LONE_SURROGATE: Final = "lone_surrogate"
DUPLICATE_KEY: Final = "duplicate_key"


class OddValue(NamedTuple):
    """A row of the table.

    Attributes:
        name: What it is, for a person.
        sent: The text of a value as a client sends it; of a whole body where `whole` is set.
        stored: The text of the value from the topic `raw` to the lake; None where the request is refused.
        counted: Under which name a replacement is counted and tagged; empty where nothing is replaced.
        code: Code of the answer 400 where the request is refused, else empty.
        whole: Whether `sent` is a whole body and not a value in one.
    """

    name: str
    sent: bytes
    stored: bytes | None
    counted: str = ""
    code: str = ""
    whole: bool = False


_REPLACEMENT: Final = "\ufffd".encode()
_EVENT: Final = b'{"userId":"u","messageId":"m"}'

ODD_VALUES: Final = (
    OddValue("an integer beyond 2^53", b"9007199254740993", b"9007199254740993"),
    OddValue("the largest of 64 bits", b"18446744073709551615", b"18446744073709551615"),
    OddValue("the smallest of 64 bits", b"-9223372036854775808", b"-9223372036854775808"),
    OddValue("an integer beyond 64 bits", b"18446744073709551616", b"18446744073709551616"),
    OddValue("an integer of 300 digits", b"7" * 300, b"7" * 300),
    OddValue("an integer of more than 4,300 digits", b"7" * 5000, b"null", TOO_LARGE),
    OddValue("`-0`", b"-0", b"0"),
    OddValue("`-0.0`", b"-0.0", b"-0.0"),
    OddValue("`NaN`", b"NaN", b"null", NOT_A_NUMBER),
    OddValue("`Infinity`", b"Infinity", b"null", NOT_A_NUMBER),
    OddValue("`-Infinity`", b"-Infinity", b"null", NOT_A_NUMBER),
    OddValue("a number beyond the range of a double", b"1e400", b"null", TOO_LARGE),
    OddValue("a number nearer to 0 than a double can be", b"1e-400", b"0.0"),
    OddValue("more digits than a double has", b"0.1234567890123456789", b"0.12345678901234568"),
    OddValue("half of a surrogate pair", b'"a\\ud83d"', b'"a%s"' % _REPLACEMENT, LONE_SURROGATE),
    OddValue("a whole surrogate pair", b'"\\ud83d\\ude00"', '"\U0001f600"'.encode()),
    OddValue("NUL in a text", b'"a\\u0000b"', b'"a\\u0000b"'),
    OddValue("text from right to left, zero-width signs", '"\u202eabc\u200b"'.encode(), '"\u202eabc\u200b"'.encode()),
    OddValue("a key twice", b'{"a":1,"a":2}', b'{"a":2}', DUPLICATE_KEY),
    OddValue("an empty key", b'{"":1}', b'{"":1}'),
    OddValue("`__proto__` and `constructor` as keys", b'{"__proto__":{"x":1},"constructor":2}', b'{"__proto__":{"x":1},"constructor":2}'),
    OddValue("keys that differ in case alone", b'{"plan":1,"Plan":2}', b'{"plan":1,"Plan":2}'),
    OddValue("nesting of 61 levels below `properties`", b"[" * 61 + b"]" * 61, b"[" * 61 + b"]" * 61),
    OddValue("nesting beyond 64 levels", b"[" * 80 + b"]" * 80, None, code="too_deep"),
    OddValue("nesting of 100,000 levels", b"[" * 100_000 + b"]" * 100_000, None, code="invalid_json"),
    OddValue("a byte order mark before the body", b"\xef\xbb\xbf" + _EVENT, _EVENT, whole=True),
    OddValue("UTF-16", _EVENT.decode().encode("utf-16"), None, code="invalid_json", whole=True),
    OddValue("bytes that are no UTF-8", b'"\xff"', None, code="invalid_json"),
    OddValue("an overlong encoding", b'"\xc0\xaf"', None, code="invalid_json"),
    OddValue("a surrogate as UTF-8", b'"\xed\xa0\xbd"', None, code="invalid_json"),
    OddValue("a raw control character in a text", b'"\x01"', None, code="invalid_json"),
)
"""What becomes of odd JSON that is sent to the collector. The reference page is written from it, and the tests send every row to the lake."""


class Place(NamedTuple):
    """A value that was replaced: JSON Pointer to it (RFC 6901), cut where it is long, and the name it is counted under."""

    path: str
    what: str


class Settled(NamedTuple):
    """A value without marks.

    Attributes:
        value: The value.
        counts: How many values were replaced, by name.
        places: The first ten of them.
    """

    value: Any
    counts: dict[str, int]
    places: tuple[Place, ...]


class _Mark:
    """Stands where a number stood that JSON readers cannot carry."""

    __slots__ = ("what",)

    def __init__(self, what: str) -> None:
        self.what = what


class _Doubled(dict[str, Any]):
    """An object whose text has a key twice; the last value stands in it."""

    __slots__ = ("names",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        seen: set[str] = set()
        self.names = [name for name, _ in pairs if name in seen or seen.add(name)]  # type: ignore[func-returns-value]  # None: not seen before


_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_NAN: Final = _Mark(NOT_A_NUMBER)
_LARGE: Final = _Mark(TOO_LARGE)


def read(text: bytes) -> Any:  # noqa: ANN401 (any JSON value)
    """Read JSON text exactly, with a mark in the place of what cannot be carried.

    Args:
        text: UTF-8 JSON; the tokens `NaN`, `Infinity` and `-Infinity` count as numbers.

    Returns:
        The value, for `settle`.

    Raises:
        ValueError: The text is not JSON, not UTF-8, or nested too deeply to read.
    """
    try:
        return json.loads(text.decode("utf-8"), parse_constant=_constant, parse_float=_floating, parse_int=_integer, object_pairs_hook=_object)
    except RecursionError:
        reason = "nested too deeply"
        raise ValueError(reason) from None


def _constant(_token: str) -> _Mark:
    return _NAN


def _floating(token: str) -> float | _Mark:
    value = float(token)
    return _LARGE if math.isinf(value) else value


def _integer(token: str) -> int | _Mark:
    try:
        return int(token)
    except ValueError:  # more digits than Python reads (sys.get_int_max_str_digits)
        return _LARGE


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    return value if len(value) == len(pairs) else _Doubled(pairs)


_Link = tuple[Any, str | int] | None
"""A place as its parent's place and the step from there, so that only a place which is named is ever written out."""


def settle(value: Any) -> Settled:  # noqa: ANN401 (any JSON value)
    """Put in the place of each mark, lone surrogate and doubled key what the table says.

    Args:
        value: What `read` gave, or a part of it; its containers are changed.

    Returns:
        The value and what was replaced.
    """
    holder = [value]
    counts: dict[str, int] = {}
    places: list[Place] = []

    def note(what: str, link: _Link) -> None:
        counts[what] = counts.get(what, 0) + 1
        if len(places) < PLACES_MOST:
            places.append(Place(_pointer(link), what))

    waiting: list[tuple[Any, _Link]] = [(holder, None)]
    while waiting:
        container, link = waiting.pop()
        for key, item in _entries(container):
            here: _Link = None if container is holder else (link, key)
            if item.__class__ is _Mark:
                note(item.what, here)
                container[key] = None
            elif item.__class__ is str and (count := len(_SURROGATE.findall(item))):
                for _ in range(count):
                    note(LONE_SURROGATE, here)
                container[key] = _SURROGATE.sub("\ufffd", item)
            elif isinstance(item, dict):
                container[key] = plain = _with_clean_names(item, here, note)
                waiting.append((plain, here))
            elif item.__class__ is list:
                waiting.append((item, here))
    return Settled(holder[0], counts, tuple(places))


def _entries(container: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401 (a list or an object)
    return iter(list(container.items())) if isinstance(container, dict) else enumerate(container)


def _with_clean_names(item: dict[str, Any], link: _Link, note: Any) -> dict[str, Any]:  # noqa: ANN401 (the function above)
    """Give a plain object; names with half a surrogate pair and names that stood twice are noted."""
    if item.__class__ is _Doubled:
        for name in item.names:
            note(DUPLICATE_KEY, (link, name))
    if not any(map(_SURROGATE.search, item)):
        return item if item.__class__ is dict else dict(item)
    clean: dict[str, Any] = {}
    for name, value in item.items():
        fresh, count = _SURROGATE.subn("\ufffd", name)
        for _ in range(count):
            note(LONE_SURROGATE, (link, fresh))
        clean[fresh] = value
    return clean


def _pointer(link: _Link) -> str:
    steps: list[str] = []
    while link is not None:
        link, step = link
        # A name may be as long as a request: what would be cut anyway is not looked at.
        steps.append(_SURROGATE.sub("\ufffd", str(step)[: PATH_CHARACTERS + 1]).replace("~", "~0").replace("/", "~1"))
    path = "".join("/" + step for step in reversed(steps))
    return path if len(path) <= PATH_CHARACTERS else path[: PATH_CHARACTERS - 1] + "…"
