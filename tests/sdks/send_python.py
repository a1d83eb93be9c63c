"""Sends mixed calls with the unmodified segment-analytics-python and notes before each what it is about to send.

python send_python.py HOST WRITE_KEY CALLS PREFIX LEDGER [gzip]
"""

from __future__ import annotations

import json  # the ledger holds integers beyond 64 bits
import sys
from pathlib import Path
from typing import Any

from segment.analytics.client import Client

TRICKY: dict[str, Any] = json.loads((Path(__file__).parent / "tricky_values.json").read_text(encoding="utf-8"))
LARGE = "x" * 31_000
"""The text of an event that is nearly as large as an event may be."""


def call_of(number: int, prefix: str) -> dict[str, Any]:  # noqa: PLR0911 (one line for each kind of call)
    """Make one call; `send_node.mjs` makes the same.

    Args:
        number: Which one, from 0.
        prefix: Before the message id.

    Returns:
        The fields that are given to the SDK.
    """
    call: dict[str, Any] = {"messageId": f"{prefix}-{number}", "userId": f"{prefix}-user-{number % 97}"}
    if number % 3 == 0:
        call["anonymousId"] = f"{prefix}-anonymous-{number % 89}"
    values: dict[str, Any] = {"number": number, **(TRICKY if number % 4 == 0 else {"text": f"value {number}"})}
    kind = number % 20
    if kind == 0:
        return {**call, "type": "identify", "traits": values, "context": {"tricky": TRICKY["nested"], "ip": "192.0.2.7"}}
    if kind == 1:
        return {**call, "type": "page", "category": "Docs", "name": TRICKY["text"], "properties": values}
    if kind == 2:
        return {**call, "type": "screen", "category": "Docs", "name": TRICKY["emoji"], "properties": values}
    if kind == 3:
        return {**call, "type": "group", "groupId": f"group-{number % 7}", "traits": values}
    if kind == 4:
        return {"messageId": call["messageId"], "userId": call["userId"], "type": "alias", "previousId": f"{prefix}-old-{number}"}
    if kind == 5:
        order = {"order_id": f"{prefix}-{number}", "total": number / 4, "currency": "CHF", "products": [{"product_id": "1", "price": 9.5}]}
        return {**call, "type": "track", "event": "Order Completed", "properties": {**values, **order}}
    if number % 50 == 7:
        return {**call, "type": "track", "event": "Large", "properties": {"x": LARGE}}
    return {**call, "type": "track", "event": ("Article Read", "Приве́т 👋", "A.b/c d")[number % 3], "properties": values}


def send(client: Client, call: dict[str, Any]) -> Any:  # noqa: ANN401 (the SDK has no types)
    """Give a call to the SDK; it answers whether it took it, and the message."""
    ids = {"user_id": call["userId"], "message_id": call["messageId"]}
    if call["type"] == "alias":
        return client.alias(call["previousId"], **ids)
    more = {**ids, "anonymous_id": call.get("anonymousId"), "context": call.get("context")}
    if call["type"] == "identify":
        return client.identify(traits=call["traits"], **more)
    if call["type"] == "group":
        return client.group(group_id=call["groupId"], traits=call["traits"], **more)
    if call["type"] == "track":
        return client.track(event=call["event"], properties=call["properties"], **more)
    made = client.page if call["type"] == "page" else client.screen
    return made(category=call["category"], name=call["name"], properties=call["properties"], **more)


def main() -> int:
    """Send all calls.

    Returns:
        0 if the SDK reported no error.
    """
    host, write_key, calls, prefix, ledger, *options = sys.argv[1:]
    errors: list[Any] = []
    client = Client(write_key, host=host, gzip="gzip" in options, on_error=lambda error, _items: errors.append(error), max_queue_size=int(calls) + 1)
    with Path(ledger).open("w", encoding="utf-8") as file:
        for number in range(int(calls)):
            call = call_of(number, prefix)
            file.write(json.dumps(call) + "\n")
            taken, _ = send(client, call)
            if not taken:
                errors.append(f"the SDK refused {call['messageId']}")
    client.shutdown()
    for error in errors[:10]:
        print(error, file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
