"""Events for the laws over topologies: a shop's traffic, the odd ones that only hands make, and every example of the schemas."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import orjson

from pipeline.demo import shop_events
from pipeline.model.workspace import Destination, Filter, MappingDeclaration, Source, Storage, Workspace
from pipeline.resources import resource
from pipeline.testing import START_MS, Driver, event

ORDERS = MappingDeclaration(
    "order",
    'type = "track" and event = "Order Completed"',
    {"order": {"@path": "$.properties.order_id"}, "total": {"@path": "$.properties.total"}, "text": {"@template": "{{event}} by {{userId}}"}},
)
WORKSPACE = Workspace(
    "shop",
    sources={"web": Source("web", write_keys=("key-of-web",)), "app": Source("app", anonymize_ip=True)},
    destinations={
        "crm": Destination("crm", "webhook", ("web", "app"), settings={"url": "https://crm.example/hook", "shared_secret": "${env:CRM_SECRET}"}),
        "orders": Destination("orders", "webhook", ("web",), settings={"url": "https://orders.example/hook"}, mappings=(ORDERS,)),
        "quiet": Destination("quiet", "webhook", ("web",), settings={"url": "https://quiet.example/hook"}, filters=(Filter('type = "page"'),)),
    },
    storage={"lake": Storage("lake", "parquet", ("web", "app"), {"path": "./lake"})},
)
SECRETS = {"CRM_SECRET": "whsec_dGVzdC1zZWNyZXQtb2YtdGhlLWNybQ=="}


def shop(count: int) -> list[dict[str, Any]]:
    """Give the first calls of the demo shop."""
    return [dict(call.body) for call in islice(shop_events(seed=7, start_ms=START_MS, rate=50), count)]


def odd() -> list[dict[str, Any]]:
    """Give events that are sound but unlike what SDKs send."""
    deep: Any = "bottom"
    for _ in range(40):
        deep = [deep]
    values = [
        {"text": "żółć 😀 \u0000 \u2028 \ufeff", "ключ": "значение"},
        {"nested": [[1, [2, [3, {"a": [None, [], {}]}]]]], "deep": deep},
        {"null": None, "empty": "", "no": False, "zero": 0, "float": 1e-7, "minus": -0.0},
        {"above double": 2**53 + 1, "most": 2**64 - 1, "least": -(2**63)},
        {"beyond 64 bits": 2**70, "and below": -(2**70)},
        {"large": "x" * 31_000},
        {"looks like a secret": "${secret:shared_secret}", "price": "$5"},
    ]
    return [event(event=f"Odd {number}", anonymousId=f"odd-{number}", properties=value) for number, value in enumerate(values)]


def examples() -> Iterator[tuple[str, dict[str, Any]]]:
    """Give every example of the calls and of the semantic events, with its name."""
    for path in sorted(resource("schemas").glob("**/examples/*.json")):
        found = orjson.loads(path.read_bytes())
        for number, body in enumerate(found if isinstance(found, list) else [found]):
            if isinstance(body, dict) and "type" in body:
                yield f"{path.stem}-{number}", body


def feed(driver: Driver) -> int:
    """Write everything to raw, sound or not.

    Returns:
        How many records.
    """
    events = [*shop(1_000), *odd()]
    for number, body in enumerate(events):
        driver.send(body, source="app" if number % 7 == 0 else "web")
    mistakes: list[bytes] = [b"", b"{", b"[]", b"7", b'"text"', b"\xff\xfe", b'{"type":"track"}', b'{"type":"identify","userId":""}', b"[" * 3000]
    for number, value in enumerate(mistakes):
        driver.write("raw", b"mistake-%d" % number, value, {"source": b"web"})
    driver.write("raw", b"tombstone", None, {"source": b"web"})
    driver.run_until_idle()
    return len(events) + len(mistakes) + 1
