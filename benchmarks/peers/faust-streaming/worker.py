"""The work of Headrace's fused processor on faust-streaming: parse, correct times, JSON Schema, enrich, route, write; at least once, no dedup.

Runs in an environment of its own, without this project: `python worker.py worker`, with the path of a JSON file in `PEER`. Prints how many records it
has taken, twice a second. What user agents say is looked up by value, as on the other sides.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus, urlsplit

import faust
import jsonschema_rs
import orjson

PEER: dict[str, Any] = orjson.loads(Path(os.environ["PEER"]).read_bytes())
VALID: dict[str, Callable[[Any], bool]] = {
    path.stem: jsonschema_rs.validator_for(orjson.loads(path.read_bytes())).is_valid for path in Path(PEER["schemas"]).glob("*.json")
}
AGENTS: dict[str, dict[str, dict[str, str]]] = PEER["agents"]
ROUTES: bytes = PEER["routes"].encode()
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

app = faust.App(PEER["id"], broker=f"kafka://{PEER['bootstrap']}", **PEER["settings"])
incoming = app.topic(PEER["input"], key_serializer="raw", value_serializer="raw")
outgoing = app.topic(PEER["output"], key_serializer="raw", value_serializer="raw")
taken = 0


def iso(at_ms: int) -> str:
    """Write a time as the calls do."""
    return (EPOCH + timedelta(milliseconds=at_ms)).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1000:03d}Z"


def milliseconds(text: str) -> int:
    """Read a time."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(milliseconds=1)


def correct_times(body: dict[str, Any], received_ms: int) -> None:
    """Move `timestamp` by how far the device's clock was off."""
    received = iso(received_ms)
    body["receivedAt"] = received
    stated = body.pop("timestamp", None)
    original = body.get("originalTimestamp")
    if original is None and stated is not None:
        original = body["originalTimestamp"] = stated
    corrected = received
    if original is not None:
        occurred = milliseconds(original)
        if "sentAt" in body:
            occurred = received_ms - (milliseconds(body["sentAt"]) - occurred)
        if occurred < received_ms:
            corrected = iso(occurred)
    body["timestamp"] = corrected


def fill(where: dict[str, Any], name: str, facts: dict[str, str]) -> None:
    """Add facts where none contradicts them."""
    own = where.get(name)
    if own is None:
        where[name] = dict(facts)
        return
    if not isinstance(own, dict):
        return
    for fact, value in facts.items():
        has = own.get(fact)
        if has not in (None, "") and has != value and str(has).lower() != str(value).lower():
            return
    for fact, value in facts.items():
        if own.get(fact) in (None, ""):
            own[fact] = value


@lru_cache(1024)
def campaign(query: str) -> dict[str, str]:
    """Read the campaign of a page's address."""
    found = {}
    for parameter in query.partition("#")[0].split("&"):
        name, _, value = parameter.partition("=")
        if name.startswith("utm_") and value:
            found["name" if name == "utm_campaign" else name[4:]] = unquote_plus(value)
    return found


def enrich(where: dict[str, Any]) -> None:
    """Add what the user agent and the page's address say."""
    for name, facts in AGENTS.get(where.get("userAgent") or "", {}).items():
        fill(where, name, facts)
    page = where.get("page")
    if not page:
        return
    address = page.get("url") or ""
    query = urlsplit(address).query if address else page.get("search") or ""
    if "utm_" in query and (found := campaign(query)):
        fill(where, "campaign", found)


def judged(value: bytes, received_ms: int) -> dict[str, Any] | None:
    """Judge one event; gives what is written, or None where it goes no further."""
    body = orjson.loads(value)
    if not isinstance(body, dict):
        return None
    body.pop("writeKey", None)
    correct_times(body, received_ms)
    valid = VALID.get(body.get("type", ""))
    if valid is None or not valid(body):
        return None
    if body["type"] == "identify" and not body.get("traits") and isinstance(given := (body.get("context") or {}).get("traits"), dict):
        body["traits"] = dict(given)
    if isinstance(where := body.get("context"), dict):
        enrich(where)
    return body


@app.agent(incoming)
async def judge(stream: Any) -> AsyncIterator[None]:  # noqa: ANN401 (faust has no types)
    """Take events one by one and write what is left of them."""
    global taken  # noqa: PLW0603 (the timer reads it)
    async for event in stream.events():
        taken += 1
        received_ms = int(event.message.timestamp * 1000) if event.message.timestamp < 1e11 else int(event.message.timestamp)
        body = judged(event.value, received_ms)
        if body is not None:
            headers = {**dict(event.headers), "received_at": b"%d" % received_ms, "routes": ROUTES, "config": b"1"}
            await outgoing.send(key=event.key, value=orjson.dumps(body), headers=headers)
        yield


@app.timer(interval=0.5)  # type: ignore[untyped-decorator]  # faust has no types
async def tell() -> None:
    """Say how many were taken."""
    print(taken, file=sys.__stdout__, flush=True)  # faust makes log lines of what goes to sys.stdout


if __name__ == "__main__":
    app.main()
