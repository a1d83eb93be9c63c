"""Hostile bodies at the collector and in the middle of the pipeline (tests T46 to T50, T55, T56, T58)."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipeline.ingest import Accepted, Refused
from pipeline.lake import gathering
from pipeline.model.headers import SOURCE
from pipeline.model.odd_json import ODD_VALUES
from pipeline.model.workspace import Source, Storage, Workspace
from pipeline.resources import resource
from pipeline.testing import Driver
from tests.faults.attacked import attacked, healthy
from tests.faults.laws import Verdict, bounded
from tests.faults.mutation import mutant
from tests.faults.proof import prove
from tests.faults.report import Row
from tests.faults.test_attacks_on_http import expected
from tests.faults.tool_laws import alike, arrived, once
from tests.integration.collector_over_http import AUTHORIZATION, ask, connection
from tests.integration.test_odd_values import body_of
from tests.unit.ingest.requests_of_sdks import WEB, post

pytestmark = [pytest.mark.faults]

MUTANTS = int(os.environ.get("HEADRACE_FAULT_MUTANTS", "10000"))
"""Mutated requests over HTTP."""
CONNECTIONS = 8
TRACK = b'{"type":"track","event":"E","userId":"u","messageId":"%s","properties":%s}'
LAKE = Workspace("shop", sources={"web": Source("web", ("demo",))}, storage={"lake": Storage("lake", "parquet", ("web",), {"path": "lake"})})


def in_the_lake(events: Sequence[bytes]) -> dict[str, dict[str, Any]]:
    """Write events to raw, let the whole topology carry them, and give the messages of the lake by message id."""
    with Driver(Path(str(resource("topologies") / "default.yaml")), LAKE) as driver:
        for event in events:
            driver.write("raw", b"u", event, {SOURCE: b"web"})
        driver.run_until_idle()
        driver.advance(60)
        return {row["id"]: orjson.loads(row["message_json"]) for row in driver.rows("lake")}


def _nested(depth: int) -> bytes:
    """Write an event that is nested so deep."""
    return TRACK % (b"d%d" % depth, b'{"a":' * (depth - 1) + b"1" + b"}" * (depth - 1))


@pytest.mark.fault("T46")
async def test_nesting_beyond_the_cap_reaches_no_topic(tmp_path: Path, row: Row) -> None:
    """64 levels are taken, more are 400, or 413 where they have more values than are read, and in a topic they are dead letters that stop no step."""
    depths = {64: "200", 65: "400", 254: "400", 255: "400", 1_024: "400", 1_025: "400", 100_000: "413"}

    async def scenario(broken: str) -> Sequence[Verdict]:
        async with attacked(tmp_path, broken) as target, connection(target.port) as client:
            found = {str(depth): str((await client.ask("POST /v1/track", AUTHORIZATION, body=_nested(depth))).status) for depth in depths}
            stored = target.stored()
        rows = list(await asyncio.to_thread(in_the_lake, [_nested(depth) for depth in depths]))
        row.figures = row.figures if broken else f"{len(depths)} depths over HTTP, and each written to raw: {len(rows)} in the lake, the rest dead"
        return [
            expected("64 levels are the cap", {str(depth): status for depth, status in depths.items()}, found),
            arrived(["d64"], stored["raw"]),
            alike("no more than the cap is stored", {"raw": ["d64"]}, stored),
            alike("of what is written to raw, what fits is in the lake", ["d64"], rows),
        ]

    await prove(row, scenario, ["bottomless"])


@pytest.mark.parametrize("fault", [pytest.param("T47", marks=pytest.mark.fault("T47")), pytest.param("T48", marks=pytest.mark.fault("T48"))])
async def test_odd_values_are_carried_or_refused(tmp_path: Path, row: Row, fault: str) -> None:
    """Every row of the table of odd JSON is answered as the table says, and stored once, byte for byte as the table says."""
    rows = [(number, one) for number, one in enumerate(ODD_VALUES) if one.whole == (fault == "T48") or not one.whole]
    wanted = {one.name: "400" if one.code else "200" for _, one in rows}
    taken = {str(number): one for number, one in rows if not one.code}

    async def scenario(broken: str) -> Sequence[Verdict]:
        found = {}
        async with attacked(tmp_path, broken) as target, connection(target.port) as client:
            for number, one in rows:
                path = "page" if one.whole else "track"
                found[one.name] = str((await client.ask(f"POST /v1/{path}", AUTHORIZATION, body=body_of(one, number))).status)
            ids, values = target.stored()["raw"], target.values()
        changed = [
            taken[ident].name
            for ident, value in zip(ids, values, strict=True)
            if not taken[ident].whole and b'"properties":{"x":%s}' % (taken[ident].stored or b"") not in value
        ]
        if not broken:
            row.figures = f"{len(rows)} values: {len(taken)} carried, {len(rows) - len(taken)} refused; in the lake by tests/integration"
        return [
            expected("each is answered as the table says", wanted, found),
            arrived(list(taken), ids),
            once(ids),
            Verdict("L5 each is stored as the table says", len(taken), tuple(changed)),
        ]

    await prove(row, scenario, ["rounds_numbers" if fault == "T47" else "cuts_texts"])


KEYS = {
    "__proto__": (b'{"__proto__":{"polluted":1}}', "200"),
    "constructor": (b'{"constructor":{"prototype":{"polluted":1}}}', "200"),
    "an empty one": (b'{"":1}', "200"),
    "doubled": (b'{"a":1,"a":2}', "200"),
    "alike once folded": (b'{"Ab":1,"ab":2,"a_b":3,"AB":4}', "200"),
    "dunder": (b'{"__class__":{"__init__":{"__globals__":1}}}', "200"),
    "10,001": (b"{%s}" % b",".join(b'"k%d":1' % number for number in range(10_001)), "400"),
    "1 MB long": (b'{"%s":1}' % (b"k" * 1_000_000), "400"),
}


@pytest.mark.fault("T49")
async def test_hostile_keys_are_data(tmp_path: Path, row: Row) -> None:
    """They are carried to the lake as they are, or the event is refused as too large; nothing else than the event has them afterwards."""
    carried = {str(number): orjson.loads(text) for number, (text, status) in enumerate(KEYS.values()) if status == "200"} | {"plain": {}}

    async def scenario(broken: str) -> Sequence[Verdict]:
        found = {}
        async with attacked(tmp_path, broken) as target, connection(target.port) as client:
            for number, (name, (properties, _)) in enumerate(KEYS.items()):
                found[name] = str((await client.ask("POST /v1/track", AUTHORIZATION, body=TRACK % (b"%d" % number, properties))).status)
            plain = await client.ask("POST /v1/track?results=true", AUTHORIZATION, body=TRACK % (b"plain", b"{}"))
            stored = target.values()
        lake = await asyncio.to_thread(in_the_lake, stored)
        if not broken:
            row.figures = f"{len(KEYS)} kinds of keys; {len(lake) - 1} found in the lake as they were sent"
        return [
            expected("each is answered as the table says", {name: status for name, (_, status) in KEYS.items()}, found),
            arrived(list(carried), lake),
            alike("the lake has each as it was sent", carried, {ident: event["properties"] for ident, event in lake.items()}),
            alike("a plain event afterwards is plain", b'{"success":true,"results":[{"index":0,"messageId":"plain","status":"stored"}]}', plain.body),
        ]

    await prove(row, scenario, ["folds_keys"])


@pytest.mark.fault("T50")
async def test_mutated_bodies_crash_nothing(tmp_path: Path, row: Row) -> None:
    """Real requests, mutated by structure and by byte: no 5xx, and each event that the answer calls stored or dead lies there."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        number = MUTANTS if not broken else 3_000
        statuses: Counter[int] = Counter()
        said: dict[str, Counter[str]] = {"stored": Counter(), "dead": Counter()}
        async with attacked(tmp_path, broken) as target:
            before = target.rss_mb()

            async def send(seed: int) -> None:
                chance = random.Random(seed)  # noqa: S311 (a run shall be able to come again)
                async with connection(target.port) as client:
                    for count in range(number // CONNECTIONS):
                        path, body, headers = mutant(chance, f"m{seed}-{count}")
                        answer = await client.ask(f"POST {path}?results=true", AUTHORIZATION, *headers, body=body)
                        statuses[answer.status] += 1
                        if answer.status == 200:
                            for one in orjson.loads(answer.body)["results"]:
                                said[one["status"]][one["messageId"]] += 1

            async with healthy(target.port) as client:
                await asyncio.gather(*(send(seed) for seed in range(CONNECTIONS)))
            grown, stored = target.rss_mb() - before, target.stored()
            crashed = target.log.read_text(encoding="utf-8").count("could not be judged")
        raw = Counter(ident for ident in stored.get("raw", []) if not ident.startswith("healthy"))
        missing = Counter({ident: count for ident, count in said["stored"].items() if ident.startswith("m") and ident.isprintable()}) - raw
        events = sum(raw.values()) + len(stored.get("dead.ingest", []))
        claimed = sum(said["stored"].values()) + sum(said["dead"].values())
        if not broken:
            shown = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
            row.figures = f"{sum(statuses.values())} requests: {shown}; {claimed} events; memory +{grown:.0f} MB; {client.figures()}"
        return [
            Verdict("no 5xx", sum(statuses.values()), tuple(f"{count} x {status}" for status, count in statuses.items() if status >= 500)),
            Verdict("no crash", 1, (f"{crashed} in the log",) if crashed else ()),
            Verdict("L1 what is called stored is in raw", sum(said["stored"].values()), tuple(ident[:40] for ident in missing)),
            alike("as many are stored as the answers say", claimed, events),
            bounded({"memory, MB": grown, "failed": len(client.failed)}, {"memory, MB": 80, "failed": 0}),
        ]

    await prove(row, scenario, ["crashes", "forgetful"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=20,
)
FIELDS = (
    "type",
    "event",
    "userId",
    "anonymousId",
    "messageId",
    "properties",
    "context",
    "traits",
    "timestamp",
    "writeKey",
    "integrations",
    "groupId",
)
EVENTS = st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON))


@pytest.mark.fault("T50")
def test_any_json_is_judged(row: Row) -> None:
    """Whatever hypothesis makes of an event or of bytes is accepted or refused below 500; nothing is raised."""
    row.events = _judged(post)
    row.figures = f"{row.events} bodies by hypothesis, by the decision alone"

    def fragile(path: str, body: bytes, headers: Mapping[str, str]) -> Accepted | Refused:
        if b"null" in body:
            raise LookupError(path)
        return post(path, body, headers)

    with pytest.raises(LookupError):
        _judged(fragile, (Phase.generate,))  # found is enough: nobody reads the smallest body that does it
    row.caught["fragile"] = True


def _judged(decide: Callable[[str, bytes, Mapping[str, str]], Accepted | Refused], phases: Sequence[Phase] = tuple(Phase)) -> int:
    """Let a decision judge what hypothesis makes; give how many bodies that were."""
    count = 0

    @settings(max_examples=2_000, deadline=None, phases=phases, suppress_health_check=list(HealthCheck), database=None)
    @given(st.one_of(EVENTS.map(_written), st.lists(EVENTS, max_size=4).map(lambda events: _written({"batch": events})), st.binary(max_size=200)))
    def judge(body: bytes) -> None:
        nonlocal count
        for path in ("/v1/track", "/v1/batch"):
            verdict = decide(path, body, WEB)
            count += 1
            assert not isinstance(verdict, Refused) or verdict.status < 500

    judge()
    return count


def _written(value: object) -> bytes:
    """Write a value as JSON, odd numbers and surrogates as Python has them."""
    return json.dumps(value).encode()


@pytest.mark.fault("T55")
async def test_a_bad_event_costs_its_batch_nothing(tmp_path: Path, row: Row) -> None:
    """99 of 100 are stored, the bad one is a dead letter, and the answer says which it was, wherever it stands."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        bad = [b"[]", b"null", TRACK % (b"deep", b'{"a":' * 80 + b"1" + b"}" * 80), TRACK % (b"large", b'{"a":"%s"}' % (b"x" * 70_000))]
        told: list[str] = []
        async with attacked(tmp_path, broken) as target, connection(target.port) as client:
            for number, one in enumerate(bad):
                items = [TRACK % (b"%d-%d" % (number, index), b"{}") for index in range(99)]
                items.insert(number * 33, one)
                answer = await client.ask("POST /v1/batch?results=true", AUTHORIZATION, body=b'{"batch":[%s]}' % b",".join(items))
                results = orjson.loads(answer.body).get("results", [])
                told.append(f"{answer.status} {[result['index'] for result in results if result['status'] == 'dead']} of {len(results)}")
            stored = target.stored()
        row.figures = row.figures if broken else f"{len(bad)} batches of 100: {len(stored['raw'])} stored, {len(stored['dead.ingest'])} dead"
        return [
            alike("the answer says which", [f"200 [{number * 33}] of 100" for number in range(len(bad))], told),
            arrived([f"{number}-{index}" for number in range(len(bad)) for index in range(99)], stored.get("raw", [])),
            alike("each bad one is a dead letter", len(bad), len(stored.get("dead.ingest", []))),
        ]

    await prove(row, scenario, ["whole_or_nothing"])


TIMES = (
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "2126-01-01T00:00:00Z",
    "-292277022399-01-01T00:00:00Z",
    "1700000000",
    "1700000000000",
    "now",
    "",
)


def _by_its_own_time(body: dict[str, Any], _record: object, _received: bytes) -> str:
    """Stand for a lake that files an event under the time that its sender gives."""
    return str(body["timestamp"])[:13]


@pytest.mark.fault("T56")
async def test_times_make_no_folders(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 events, each of another day of the years 1000 to 9999 or with a time that is none, lie in the folders of the hour they came."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        with monkeypatch.context() as patch:
            if broken:
                patch.setattr(gathering, "_hour", _by_its_own_time)
            ids, folders = await asyncio.to_thread(_dated_events)
        if not broken:
            row.figures = f"{len(ids)} of 1000 in the lake, {1_000 - len(ids)} dead; {folders} folders"
        return [
            arrived([str(number) for number in range(len(TIMES), 1_000)], ids),
            once(ids),
            bounded({"folders": folders}, {"folders": 2}),
        ]

    await prove(row, scenario, ["folders_by_event_time"])


def _dated_events() -> tuple[list[str], int]:
    """Let the whole topology carry events of all times; give those in the lake, and how many folders it has."""
    with Driver(Path(str(resource("topologies") / "default.yaml")), LAKE) as driver:
        for number in range(1_000):
            day = f"{1_000 + 9 * number:04d}-{number % 12 + 1:02d}-{number % 28 + 1:02d}T00:00:00Z"
            time = TIMES[number] if number < len(TIMES) else day
            driver.send({"type": "page", "userId": "u", "messageId": str(number), "timestamp": time}, source="web")
        driver.run_until_idle()
        driver.advance(60)
        ids = [one["id"] for one in driver.rows("lake")]
        return ids, len({file.parent for file in driver.root.rglob("*.parquet")})


INJECTIONS = (
    "=cmd|'/C calc'!A0",
    "+1+1",
    "@SUM(1)",
    "'; DROP TABLE events; --",
    "a\r\nSet-Cookie: x=1",
    "\x1b[2J\x1b[31mred",
    "%s%n{0}{{7*7}}",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "${env:HOME}",
    "${jndi:ldap://x}",
)


def _saying(text: str) -> bytes:
    """Write an event that has a text in every place that takes one."""
    return orjson.dumps({"type": "track", "event": text, "userId": text, "messageId": text, "properties": {text: text}})


@pytest.mark.fault("T58")
async def test_texts_stay_data(tmp_path: Path, row: Row) -> None:
    """In names, ids and headers they are carried as they are; no answer has a header or a word of theirs, and no line of the log a byte."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        told: list[str] = []
        async with attacked(tmp_path, broken) as target:
            for text in INJECTIONS:
                body = _saying(text)
                answer = await ask(target.port, "POST /v1/track", AUTHORIZATION, "origin: https://e.example", body=body)
                told.append(f"{answer.status} {sorted(answer.headers)}")
                refused = await ask(target.port, "POST /v1/track", "x-write-key: " + re.sub(r"[^ -~]", "?", text), body=body[:-1])
                told.append(f"{refused.status} {text in refused.body.decode()}")
            stored, values, log = target.stored(), target.values(), target.log.read_text(encoding="utf-8")
        lake = await asyncio.to_thread(in_the_lake, values)
        if not broken:
            row.figures = f"{len(INJECTIONS)} texts in five places each; {len(log.splitlines())} lines of log"
        return [
            Verdict("no header of theirs", len(told), tuple(one for one in told if "set-cookie" in one or one.endswith("True"))),
            arrived(INJECTIONS, stored["raw"]),
            alike("the lake has them as they were sent", sorted(INJECTIONS), sorted(event["event"] for event in lake.values())),
            Verdict("no line of the log", len(INJECTIONS), tuple(repr(text) for text in INJECTIONS if text in log)),
        ]

    await prove(row, scenario, ["talkative", "neat_texts"])
