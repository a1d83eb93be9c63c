"""Deliveries to a webhook source under attack: wrong, old, changed, written anew, sent again (test T62, inbound)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from standardwebhooks import Webhook

from tests.faults.attacked import attacked
from tests.faults.collector_member import HOOK_SECRETS
from tests.faults.laws import Verdict
from tests.faults.proof import prove
from tests.faults.report import Row
from tests.faults.test_attacks_on_bodies import in_the_lake
from tests.faults.test_attacks_on_http import expected
from tests.faults.tool_laws import alike, arrived
from tests.integration.collector_over_http import connection

pytestmark = [pytest.mark.faults]

OLD, NEW = HOOK_SECRETS
GUESSED = "whsec_bm9ib2R5IGtub3dzIHRoaXMgb25lLi4="
HOUR = 3600


def signed(ident: str, body: bytes, *secrets: str, age: int = 0) -> list[str]:
    """Sign a delivery with the library that the standard's authors give, each secret in its turn, as a sender that rotates does."""
    at = datetime.now(UTC) - timedelta(seconds=age)
    signatures = " ".join(Webhook(secret).sign(ident, at, body.decode()) for secret in secrets)
    return [f"webhook-id: {ident}", f"webhook-timestamp: {int(at.timestamp())}", f"webhook-signature: {signatures}"]


def without(headers: list[str], name: str) -> list[str]:
    """Leave a header out."""
    return [header for header in headers if not header.startswith(name)]


def instead(headers: list[str], name: str, value: str) -> list[str]:
    """Put another value into a header."""
    return [*without(headers, name), f"{name}: {value}"]


BODY = b'{"type":"order.paid","total":1.25}'
SPACED = orjson.dumps(orjson.loads(BODY), option=orjson.OPT_INDENT_2)


def deliveries() -> dict[str, tuple[list[str], bytes, str]]:
    """Give headers, body and the answer that each delivery must get; an accepted one is named by its id."""
    fine = signed("d", BODY, NEW)
    return {
        "new": (signed("new", BODY, NEW), BODY, "200"),
        "old": (signed("old", BODY, OLD), BODY, "200"),
        "both": (signed("both", BODY, GUESSED, OLD), BODY, "200"),
        "spaced": (signed("spaced", SPACED, NEW), SPACED, "200"),
        "late": (signed("late", BODY, NEW, age=200), BODY, "200"),
        "again": (signed("new", BODY, NEW), BODY, "200"),
        "another secret": (signed("d", BODY, GUESSED), BODY, "401"),
        "16 guesses": (signed("d", BODY, *[GUESSED] * 16), BODY, "401"),
        "the right one behind 16 guesses": (signed("d", BODY, *[GUESSED] * 16, NEW), BODY, "401"),
        "written anew": (fine, SPACED, "401"),
        "another body": (fine, BODY.replace(b"1.25", b"9.25"), "401"),
        "another id": (instead(fine, "webhook-id", "e"), BODY, "401"),
        "another time": (instead(fine, "webhook-timestamp", "1767225600"), BODY, "401"),
        "a time that is none": (instead(fine, "webhook-timestamp", "now"), BODY, "401"),
        "no time": (without(fine, "webhook-timestamp"), BODY, "401"),
        "no signature": (without(fine, "webhook-signature"), BODY, "401"),
        "an empty signature": (instead(fine, "webhook-signature", "v1,"), BODY, "401"),
        "a signature of another version": (instead(fine, "webhook-signature", fine[-1].partition(" ")[2].replace("v1,", "v2,")), BODY, "401"),
        "six minutes old": (signed("d", BODY, NEW, age=360), BODY, "401"),
        "of tomorrow": (signed("d", BODY, NEW, age=-24 * HOUR), BODY, "401"),
    }


@pytest.mark.fault("T62")
async def test_a_delivery_proves_itself_or_is_refused(tmp_path: Path, row: Row) -> None:
    """A foreign library's signature by either secret is taken; a wrong or old one, or other bytes, are not; a delivery sent again is one event."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        cases, found = deliveries(), {}
        async with attacked(tmp_path, broken) as target, connection(target.port) as client:
            for name, (headers, body, _) in cases.items():
                found[name] = str((await client.ask("POST /v1/webhook/hooks", *headers, body=body)).status)
            stored, values, letters = target.stored(), target.values(), target.values("dead.ingest")
            log = target.log.read_text(encoding="utf-8")
        lake = await asyncio.to_thread(in_the_lake, values)
        wanted = {name: status for name, (_, _, status) in cases.items()}
        taken = [name for name, status in wanted.items() if status == "200" and name != "again"]
        if not broken:
            row.figures = f"{len(cases)} deliveries: {len(taken)} taken, 1 of them twice, {len(letters)} refused and kept with their bytes"
        return [
            expected("each is answered as the table says", wanted, found),
            arrived(taken, stored.get("raw", [])),
            alike("one event for each delivery, however often it comes", sorted(taken), sorted(lake)),
            alike("what is refused is kept", [body for _, body, status in cases.values() if status == "401"], letters),
            Verdict("no secret in the log", len(HOOK_SECRETS), tuple(secret[:8] for secret in HOOK_SECRETS if secret in log)),
        ]

    await prove(row, scenario, ["believes_all", "ageless", "rereads", "new_ids"])
