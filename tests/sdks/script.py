"""The calls that every SDK makes: all kinds, with values that are odd but legal, each with a message id that is known before.

A driver reads them from a file, one call a line in the form of the spec, and gives them to its SDK. Of `properties` and `traits`, what stands under
`at` is a time, which a driver gives to its SDK as a time of its own language; so is `timestamp`.
"""

from __future__ import annotations

import json  # calls hold integers beyond 64 bits
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

Call = Mapping[str, Any]

TRICKY: Final[Mapping[str, Any]] = json.loads((Path(__file__).parent / "tricky_values.json").read_text(encoding="utf-8"))
AT: Final = "2026-02-03T04:05:06.789Z"
LARGE: Final = "x" * 30_000
"""The text of an event that is nearly as large as the SDKs allow."""

_ORDER: Final = {
    "order_id": "o-1",
    "total": 42.5,
    "revenue": 40,
    "currency": "CHF",
    "coupon": "",
    "products": [{"product_id": "1", "price": 9.5, "quantity": 2}, {"product_id": "2", "price": 23.5, "quantity": 1}],
}
_ONE_ROUND: Final[tuple[Mapping[str, Any], ...]] = (
    {"type": "identify", "traits": {"name": "Zoë", "email": "zoe@example.com", "age": 33, "at": AT, "address": {"city": "Zürich", "street": ""}}},
    {"type": "track", "event": "Order Completed", "properties": _ORDER},
    {"type": "track", "event": "Everything", "properties": TRICKY},
    {"type": "track", "event": 'Приве́т 👋 "A.b/c d" <&>', "properties": {"at": AT, "日本": "語"}},
    {
        "type": "track",
        "event": "With Context",
        "properties": {"n": 1},
        "context": {"ip": "192.0.2.7", "locale": "de-CH", "groupId": "g-1", "odd": TRICKY["nested"]},
    },
    {"type": "track", "event": "For Some", "properties": {"n": 2}, "integrations": {"All": False, "Some Tool": True}},
    {"type": "track", "event": "From Before", "properties": {"n": 3}, "timestamp": "2026-11-01T10:20:30.456Z"},
    {"type": "track", "event": "Without Properties", "properties": {}},
    {"type": "track", "event": "Large", "properties": {"x": LARGE}},
    {"type": "page", "category": "Docs", "name": TRICKY["text"], "properties": {"title": "", "keywords": ["a", "ö"], "at": AT}},
    {"type": "page", "name": "Pricing", "properties": {"url": "https://example.com/pricing?a=1&b=%20"}},
    {"type": "screen", "category": "Docs", "name": TRICKY["emoji"], "properties": {"n": 4, "empty": {}}},
    {"type": "group", "groupId": "group 7/ü", "traits": {"name": "Zoë & Söhne", "employees": 12_000_000, "at": AT, "plan": ""}},
    {"type": "alias", "previousId": "before-Ü"},
    {"type": "track", "event": "Of Nobody", "properties": {"n": 5, "deep": TRICKY["deep"]}, "anonymous": True},
    # RudderStack's browser SDK makes objects of arrays in arrays, among traits alone.
    {"type": "identify", "traits": {"tricky": {name: value for name, value in TRICKY.items() if name != "nested"}}, "anonymous": True},
)

IN_A_ROUND: Final = len(_ONE_ROUND)


def calls(prefix: str, rounds: int) -> list[dict[str, Any]]:
    """Make the calls.

    Args:
        prefix: Before all message ids and all ids of persons.
        rounds: How many times; each time is of another person.

    Returns:
        The calls, in the order in which they are to be made.
    """
    return [_call(dict(call), prefix, number, index) for number in range(rounds) for index, call in enumerate(_ONE_ROUND)]


def _call(call: dict[str, Any], prefix: str, number: int, index: int) -> dict[str, Any]:
    ids = {"messageId": f"{prefix}-{number}-{index}"}
    anonymous = f"{prefix}-anonymous-{number}"
    if call.pop("anonymous", False):
        return {**ids, "anonymousId": anonymous, **call}
    ids["userId"] = f"{prefix}-user-{number}"
    if call["type"] == "track" and index % 2:
        ids["anonymousId"] = anonymous
    return {**ids, **call}


def write(path: Path, given: Iterable[Call]) -> None:
    """Write calls to the file that a driver reads, one a line."""
    path.write_text("".join(f"{json.dumps(call, ensure_ascii=False)}\n" for call in given), encoding="utf-8")
