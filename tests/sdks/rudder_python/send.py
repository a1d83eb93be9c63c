"""Makes calls with the unmodified rudder-sdk-python.

python send.py HOST WRITE_KEY CALLS PAUSE_MS [plain | sync]

Prints a line `gave up ID` for each call that the SDK says it could not send.
"""

from __future__ import annotations

import json  # calls hold integers beyond 64 bits
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from rudderstack.analytics.client import Client


def timed(values: dict[str, Any]) -> dict[str, Any]:
    """Make the text under `at` a time."""
    return {name: datetime.fromisoformat(value) if name == "at" else value for name, value in values.items()}


def send(client: Client, call: dict[str, Any]) -> None:
    """Give one call to the SDK."""
    more = {
        "context": call.get("context"),
        "integrations": call.get("integrations"),
        "timestamp": datetime.fromisoformat(call["timestamp"]) if "timestamp" in call else None,
        "message_id": call["messageId"],
    }
    ids = {"user_id": call.get("userId"), "anonymous_id": call.get("anonymousId")}
    match call["type"]:
        case "identify":
            client.identify(traits=timed(call["traits"]), **ids, **more)
        case "track":
            client.track(event=call["event"], properties=timed(call["properties"]), **ids, **more)
        case "page":
            client.page(category=call.get("category"), name=call["name"], properties=timed(call["properties"]), **ids, **more)
        case "screen":
            client.screen(category=call.get("category"), name=call["name"], properties=timed(call["properties"]), **ids, **more)
        case "group":
            client.group(group_id=call["groupId"], traits=timed(call["traits"]), **ids, **more)
        case "alias":
            client.alias(previous_id=call["previousId"], user_id=call["userId"], **more)


def main() -> None:
    """Make all calls."""
    host, write_key, file, pause, *mode = sys.argv[1:]

    def failed(error: Exception, items: list[dict[str, Any]]) -> None:
        print(f"{len(items)}: {error!r}", file=sys.stderr)
        for item in items:
            print(f"gave up {item['messageId']}", flush=True)

    client = Client(write_key, host=host, gzip="plain" not in mode, sync_mode="sync" in mode, on_error=failed)
    for line in Path(file).read_text(encoding="utf-8").split("\n")[:-1]:
        call = json.loads(line)
        try:
            send(client, call)
        except OSError as error:  # without a queue of its own it hands the network's error to the caller
            failed(error, [call])
        time.sleep(int(pause) / 1000)
    if "sync" not in mode:
        client.shutdown()


if __name__ == "__main__":
    main()
