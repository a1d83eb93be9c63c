"""CPU time to resolve a mapping of 20 fields, and to judge a trigger, over an event of about 1 KB.

Run `python benchmarks/mapping.py [--json]`. Budget: 20 µs for each event and compiled mapping (translate).
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import orjson

from pipeline.mapping import compile_mapping, compile_query

BUDGET: Final = 20.0
ROUNDS: Final = 7
EVENTS_PER_ROUND: Final = 20_000

EVENT: Final[dict[str, Any]] = {
    "type": "track",
    "event": "Order Completed",
    "messageId": "ajs-next-1755850000000-5a1f0e7c-3b1e-4a0e-9d2e-7f0f3c1a2b3c",
    "anonymousId": "0a8b6f6e-7a55-4c5c-8f2a-3f2f0f6b9f10",
    "userId": "user-48151623",
    "timestamp": "2026-08-21T12:34:56.789Z",
    "sentAt": "2026-08-21T12:34:57.001Z",
    "properties": {
        "order_id": "50314b8e9bcf000000000000",
        "total": 27.5,
        "currency": "EUR",
        "coupon": None,
        "products": [
            {"product_id": "507f1f77bcf86cd799439011", "sku": "45790-32", "name": "Monopoly", "price": 19, "quantity": 1},
            {"product_id": "505bd76785ebb509fc183733", "sku": "46493-32", "name": "Uno Cards", "price": 3, "quantity": 2},
        ],
    },
    "context": {
        "ip": "203.0.113.7",
        "locale": "en-GB",
        "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
        "library": {"name": "analytics.js", "version": "next-1.70.0"},
        "page": {"url": "https://shop.example.com/thanks", "path": "/thanks", "title": "Thank you"},
        "campaign": {"name": "summer", "source": "newsletter"},
        "traits": {"email": "Ada@Example.com", "plan": "pro"},
    },
}

MAPPING: Final[dict[str, Any]] = {
    "event_name": {"@path": "$.event"},
    "user_id": {"@path": "$.userId"},
    "device_id": {"@path": "$.anonymousId"},
    "message_id": {"@path": "$.messageId"},
    "time": {"@path": "$.timestamp"},
    "currency": {"@path": "$.properties.currency"},
    "revenue": {"@path": "$.properties.total"},
    "order_id": {"@path": "$.properties.order_id"},
    "coupon": {"@excludeWhenNull": {"@path": "$.properties.coupon"}},
    "email": {"@case": {"operator": "lower", "value": {"@path": "$.context.traits.email"}}},
    "contact": {
        "@if": {
            "exists": {"@path": "$.traits.email"},
            "then": {"@path": "$.traits.email"},
            "else": {"@path": "$.context.traits.email"},
        }
    },
    "language": {"@replace": {"value": {"@path": "$.context.locale"}, "pattern": "-", "replacement": "_"}},
    "url": {"@path": "$.context.page.url"},
    "title": {"@template": "{{event}} on {{context.page.title}}"},
    "campaign": {"name": {"@path": "$.context.campaign.name"}, "source": {"@path": "$.context.campaign.source"}},
    "ip": {"@path": "$.context.ip"},
    "user_agent": {"@path": "$.context.userAgent"},
    "library": {"@template": "{{context.library.name}}/{{context.library.version}}"},
    "items": {
        "@arrayPath": ["$.properties.products", {"sku": {"@path": "$.sku"}, "price": {"@path": "$.price"}}],
    },
    "action": "purchase",
}

TRIGGER: Final = 'type = "track" and event != "Debug" and match(context.page.path, "/th*") and properties.total > 10'


def cpu_microseconds(function: Callable[[Any], Any]) -> float:
    """Return the CPU µs that one call takes: the least of several rounds, the collector of garbage held off."""
    rounds = []
    for _ in range(ROUNDS):
        gc.collect()
        gc.disable()
        start = time.process_time()
        for _ in range(EVENTS_PER_ROUND):
            function(EVENT)
        rounds.append(time.process_time() - start)
        gc.enable()
    return min(rounds) / EVENTS_PER_ROUND * 1e6


def main() -> None:
    """Measure and print."""
    figures = {
        "benchmark": "mapping",
        "event_bytes": len(orjson.dumps(EVENT)),
        "fields": len(MAPPING),
        "mapping_cpu_us": round(cpu_microseconds(compile_mapping(MAPPING)), 2),
        "mapping_budget_us": BUDGET,
        "trigger_cpu_us": round(cpu_microseconds(compile_query(TRIGGER)), 2),
    }
    if "--json" in sys.argv[1:]:
        print(orjson.dumps(figures).decode())
        return
    print(f"event of {figures['event_bytes']} bytes, mapping of {figures['fields']} fields")
    print(f"mapping  {figures['mapping_cpu_us']:>6} CPU µs an event (budget {BUDGET:g})")
    print(f"trigger  {figures['trigger_cpu_us']:>6} CPU µs an event")


if __name__ == "__main__":
    main()
