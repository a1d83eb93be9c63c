"""Secrets and personal data stay where they belong: canaries at every way in, and a search of every way out (test T61)."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import psutil
import pytest

from pipeline.app.local.kafka import free_port
from pipeline.model.record import Record
from pipeline.runtime.brokers.kafka import KafkaBroker
from tests.acceptance.installation import Answer, Installation, request
from tests.faults.canaries import ALL, DECLARED, PERSONAL_IP, SECRETS, Canaries
from tests.faults.laws import Verdict
from tests.faults.proof import prove
from tests.faults.report import Row

pytestmark = [pytest.mark.faults, pytest.mark.integration]

REPOSITORY = Path(__file__).parents[2]
HEADRACE = [sys.executable, "-m", "pipeline.app.cli"]
SETTLE_SECONDS = 60
WORKSPACE = """\
workspace: canaries
sources:
  - {{id: web, write_keys: ["${{env:WEB_KEY}}"], disabled_keys: ["${{env:OLD_KEY}}"]}}
  - {{id: billing, type: webhook, preset: stripe, secrets: ["${{env:HOOK_SECRET}}"]}}
destinations:
  - id: echo
    type: webhook
    sources: [web, billing]
    settings: {{url: "${{env:ECHO_URL}}", shared_secret: "${{env:ECHO_SECRET}}", headers: {{Authorization: "Bearer ${{env:ECHO_TOKEN}}"}}}}
  - {{id: gone, type: webhook, sources: [web], settings: {{url: "${{env:GONE_URL}}", shared_secret: "${{env:GONE_SECRET}}"}}}}
storage:
  - {{id: lake, type: parquet, sources: [web], settings: {{path: "{lake}"}}}}
"""
TOPICS = ("raw", "validated", "enriched", "routed", "requests.echo", "requests.gone", "retry.10s", "config", "deliveries")
"""Topics whose records are searched for the secrets of the workspace; who a visitor is may stand there."""


class _Echo(BaseHTTPRequestHandler):
    """A tool that refuses, and says back all that it was told."""

    def do_POST(self) -> None:
        """Refuse."""
        body = self.rfile.read(int(self.headers["content-length"]))
        answer = f"no: {self.path} {dict(self.headers)} ".encode() + body
        self.send_response(400)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:  # noqa: ANN401 (as the standard library has it)
        """Say nothing."""


@contextmanager
def _echo() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Planted:
    """A local run with canaries.

    Args:
        folder: Folder of everything.
        broken: A broken build, or empty.
        tool: Port of the tool that refuses.
    """

    def __init__(self, folder: Path, broken: str, tool: int) -> None:
        self.canaries = Canaries()
        declared = {name: self.canaries.plant("declared", name) for name in _DECLARED}
        self.key, self.hook_secret, self.declared = declared["WEB_KEY"], declared["HOOK_SECRET"], declared
        values = {
            **declared,
            "ECHO_URL": f"http://127.0.0.1:{tool}/hook?token={declared['ECHO_URL']}",
            "GONE_URL": f"http://127.0.0.1:{free_port()}/hook?token={declared['GONE_URL']}",
        }
        self.one = Installation(REPOSITORY, free_port(), folder / "home", HEADRACE)
        (folder / "home").mkdir(parents=True)
        (folder / "home" / "secrets.env").write_text("".join(f"{name}={value}\n" for name, value in values.items()), encoding="utf-8")
        self.workspace = folder / "workspace.yaml"
        self.workspace.write_text(WORKSPACE.format(lake=folder / "lake"), encoding="utf-8")
        path = os.pathsep.join([str(REPOSITORY / "tests/faults/broken_processes"), str(REPOSITORY)])
        self.one._environment |= {
            "HEADRACE_BROKEN": f"talkative {broken}",
            "HEADRACE_TRUSTED_PROXIES": "127.0.0.1",
            "HEADRACE_TOKEN_SECRET": declared["HEADRACE_TOKEN_SECRET"],
            "PYTHONPATH": path,
        }
        self.counts: dict[str, int] = {}

    def start(self) -> None:
        """Start all of it."""
        self.one.start(*HEADRACE, "up", "--time-scale", "0.1", "--workspace", str(self.workspace))

    def send(self) -> None:
        """Send events and faults with a canary at every place, and search what is answered."""
        for number, (method, path, body, headers) in enumerate([*self._good(), *self._bad()]):
            answer = self._ask(method, path, body, headers)
            self.canaries.search(f"the answer to {method} {path[:30]}", answer.body)
            kind = "taken" if answer.status == 200 else "refused"
            self.counts[kind] = self.counts.get(kind, 0) + 1
            assert 0 < answer.status < 500, (number, answer)

    def _ask(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        return request(self.one.port, method, path, body, headers)

    def _sent(self, name: str) -> str:
        return self.canaries.plant("sent", name)

    def _person(self, name: str) -> str:
        return self.canaries.plant("personal", name)

    def _good(self) -> Iterator[tuple[str, str, bytes | None, dict[str, str]]]:
        sent, person = self._sent, self._person
        visitor = {"x-forwarded-for": PERSONAL_IP, "user-agent": person("user agent"), "cookie": f"session={sent('cookie')}"}
        basic = _basic(self.key, sent("password beside a key"))
        context = {"page": {"url": f"https://shop.example/?q={person('address of a page')}"}}
        event = {"type": "track", "event": "Signed Up", "userId": person("user id"), "anonymousId": person("anonymous id"), "context": context}
        yield "POST", "/v1/track", _json({**event, "properties": {"card": person("property")}}), visitor | basic
        named = {"type": "identify", "userId": person("another user id"), "traits": {"email": f"{person('trait')}@example.org"}}
        yield "POST", "/v1/batch", _json({"writeKey": self.key, "batch": [named]}), visitor
        yield "POST", "/v1/page", _json({"anonymousId": person("third visitor")}), visitor | {"x-write-key": self.key}
        yield (
            "GET",
            f"/pixel/v1/track?writeKey={self.key}&event=Opened&userId={person('user id of a pixel')}&x={person('query of a pixel')}",
            None,
            visitor,
        )
        data = quote(b64encode(_json({"writeKey": self.key, "userId": person("data of a pixel"), "event": "Opened"})))
        yield "GET", f"/v1/pixel/track?data={data}", None, visitor
        body = _json({"id": "evt_1", "type": "invoice.paid", "created": 1767225600, "data": {"object": {"customer": person("customer of a hook")}}})
        at = int(time.time())
        signature = hmac.new(self.hook_secret.encode(), b"%d.%s" % (at, body), hashlib.sha256).hexdigest()
        yield "POST", "/v1/webhook/billing", body, {"stripe-signature": f"t={at},v1={signature}"}

    def _bad(self) -> Iterator[tuple[str, str, bytes | None, dict[str, str]]]:
        sent, person = self._sent, self._person
        key = {"x-write-key": self.key}
        known = {"userId": "u"}
        yield "POST", "/v1/page", b"{}", _basic(sent("key in Basic"))
        yield "POST", "/v1/page", b"{}", {"authorization": f"Bearer {sent('token')}"}
        yield "POST", "/v1/page", b"{}", {"authorization": sent("no scheme"), "proxy-authorization": sent("for a proxy")}
        yield "POST", "/v1/page", b"{}", {"x-write-key": sent("key in a header")}
        yield "POST", "/v1/page", b"{}", {"x-write-key": self.declared["OLD_KEY"]}
        yield "POST", "/v1/batch", _json({"writeKey": sent("key in a body"), "batch": [known]}), {}
        yield "POST", f"/beacon/v1/batch?writeKey={sent('key in a query')}", _json({"batch": [known]}), {}
        yield "POST", "/token", f"client_assertion={sent('assertion')}".encode(), {"content-type": "application/x-www-form-urlencoded"}
        yield "POST", "/v1/webhook/billing", _json({"id": person("hook that proves nothing")}), {"stripe-signature": f"t=1,v1={sent('signature')}"}
        yield "POST", f"/v1/track?acknowledge={person('wish')}", _json(known), key
        yield "GET", f"/{person('path')}?{person('query')}", None, {}
        yield "POST", "/v1/track", b'{"userId": "' + person("body that is no JSON").encode(), key
        yield "POST", "/v1/track", b"\x1f\x8b" + person("body that is no gzip").encode(), key | {"content-encoding": "gzip"}
        faulty: list[dict[str, Any]] = [
            {"type": person("type"), **known},
            {"type": "track", "event": {"of": person("event that is no text")}, **known},
            {"type": "track", "event": "E", "userId": [person("user id that is no text")]},
            {"type": "track", "event": "E", "messageId": person("message id") * 5, **known},
            {"type": "track", "event": "E", "timestamp": person("time"), **known},
            {"type": "track", "event": "E", "properties": person("properties"), **known},
            {"type": "identify", "traits": [person("traits")], **known},
            {"type": "track", "event": "E", "context": person("context"), **known},
            {"type": "group", "groupId": {"a": person("group id")}, **known},
            {"type": "page", person("name of a field"): "x", "properties": {"big": person("too large") * 1000}, **known},
        ]
        yield "POST", "/v1/batch", _json({"batch": faulty}), key
        for one in faulty:
            yield "POST", "/v1/track?results=true", _json(one), key

    async def settle(self) -> None:
        """Wait until the tool's refusals, and the network's, are written down."""
        async with asyncio.timeout(SETTLE_SECONDS):
            while True:
                attempts = [orjson.loads(record.value or b"{}") for record in await self._records("deliveries")]
                if {"echo", "gone"} <= {one.get("destination") for one in attempts}:
                    break
                await asyncio.sleep(0.5)
        self.counts["attempts"] = len(attempts)

    async def _records(self, topic: str) -> list[Record]:
        broker = KafkaBroker(self.one.run["bootstrap"])
        known = await broker.admin().topics()
        if f"canaries.{topic}" not in known:
            return []
        return [record async for records in broker.reader().read(f"canaries.{topic}") for record in records]

    async def search(self) -> None:
        """Search every way out."""
        await asyncio.to_thread(self._search_pages)
        await self._search_topics()

    def _search_pages(self) -> None:
        look, run = self.canaries.search, self.one.run
        for process in run["processes"]:
            look(f"the command line of {process['name']}", " ".join(psutil.Process(process["pid"]).cmdline()).encode())
            if process["name"] == "kafka":
                continue
            for path in ("/metrics", "/health/live", "/health/ready", "/status.json"):
                look(f"{path} of {process['name']}", request(process["port"], "GET", path).body)
                self.counts["pages"] = self.counts.get("pages", 0) + 1
        for path in ("/live/topology.json", "/live/volumes.json", "/live/jobs.json"):
            look(path, self._ask("GET", path).body)
        shown = (self.key,)  # the page on this machine shows how to send, and who asks with a key knows it
        for path in ("/", "/live/setup.json", f"/v1/projects/{self.key}/settings", f"/sourceConfig/?writeKey={self.key}", "/demo"):
            look(path, self._ask("GET", path).body, ALL, shown)
        for command in (("status",), ("audit",), ("dead", "list"), ("destination", "list"), ("source", "list"), ("topics", "plan")):
            for form in ((), ("--json",)):
                done = self.one.run_command([*HEADRACE, *command, *form])
                look(f"headrace {' '.join((*command, *form))}", (done.stdout + done.stderr).encode())
        look("run.json", (self.one.home / "run.json").read_bytes())

    def search_logs(self) -> None:
        """Search what all processes said until their end."""
        for path in [self.one.log, *sorted((self.one.home / "logs").iterdir())]:
            text = path.read_bytes()
            self.canaries.search(f"the log {path.name}", text)
            self.counts["lines for debugging"] = self.counts.get("lines for debugging", 0) + text.count(b" DEBUG ")

    async def _search_topics(self) -> None:
        look = self.canaries.search
        for record in await self._records("ledger"):
            look("the ledger", (record.key or b"") + (record.value or b"") + _headers(record))
        for stage in ("ingest", "validate", "deliver", "enrich", "filter", "translate"):
            for record in await self._records(f"dead.{stage}"):
                look(f"the headers of dead.{stage}: {dict(record.headers).get('dead_reason', b'').decode()}", _headers(record))
                self.counts[f"dead.{stage}"] = self.counts.get(f"dead.{stage}", 0) + 1
                if stage != "ingest":  # there the bytes of a stranger lie as they came
                    look(f"a record of dead.{stage}", record.value or b"", DECLARED)
        for topic in TOPICS:
            for record in await self._records(topic):
                look(f"a record of {topic}", (record.key or b"") + (record.value or b"") + _headers(record), SECRETS)


_DECLARED = (
    "WEB_KEY", "OLD_KEY", "HOOK_SECRET", "ECHO_URL", "ECHO_SECRET", "ECHO_TOKEN", "GONE_URL", "GONE_SECRET", "HEADRACE_TOKEN_SECRET",
)  # fmt: skip


def _json(value: object) -> bytes:
    return orjson.dumps(value)


def _basic(name: str, password: str = "") -> dict[str, str]:
    return {"authorization": f"Basic {b64encode(f'{name}:{password}'.encode()).decode()}"}


def _headers(record: Record) -> bytes:
    return b"\n".join(name.encode() + b": " + value for name, value in record.headers)


@pytest.mark.fault("T61")
async def test_no_secret_and_no_visitor_is_told_of(tmp_path: Path, row: Row) -> None:
    """What comes in of keys, tokens, cookies, addresses, traits is in no log, page, metric, reason, ledger, answer; no topic holds a secret."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        with _echo() as tool:
            planted = Planted(tmp_path / (broken or "product"), broken, tool)
            try:
                await asyncio.to_thread(planted.start)
                await asyncio.to_thread(planted.send)
                await planted.settle()
                await planted.search()
            finally:
                await asyncio.to_thread(planted.one.end)
            planted.search_logs()
        canaries, counts = planted.canaries, planted.counts
        if not broken:
            told = ", ".join(f"{count} {name}" for name, count in counts.items())
            row.figures = f"{canaries.planted} canaries, {canaries.searched} places, {canaries.bytes / 1e6:.1f} MB; {told}"
        wanted = ("taken", "refused", "attempts", "pages", "dead.ingest", "dead.deliver", "lines for debugging")
        return canaries.verdict({name: counts.get(name, 0) for name in wanted})

    await prove(row, scenario, ["requests_logged", "keys_counted", "values_told", "answers_kept"])
