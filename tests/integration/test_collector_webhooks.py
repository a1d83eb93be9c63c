"""Webhook sources over real HTTP: what proves itself is stored, what does not is refused, counted and kept within bounds."""

from __future__ import annotations

import hashlib
import hmac
import time

import orjson
import pytest

from pipeline.app.processes.admission import Admission
from pipeline.model.workspace import Source, Workspace
from tests.integration.collector_over_http import WORKSPACE, SteeredProducer, ask, collector, connection

SHOP = Workspace(
    "shop",
    version=2,
    sources={
        **WORKSPACE.sources,
        "billing": Source("billing", type="webhook", preset="stripe", secrets=("${env:OLD}", "${env:NEW}")),
        "unset": Source("unset", type="webhook", secrets=("${env:GONE}",)),
        "slow": Source("slow", type="webhook", preset="github", secrets=("${env:NEW}",), rate=0.001, burst=1),
    },
)
SECRETS = {"${env:OLD}": "whsec_old", "${env:NEW}": "whsec_new"}
BODY = b'{"id":"evt_1","type":"invoice.paid","created":1767225600,"livemode":true,"data":{"object":{"id":"in_1","customer":"cus_9"}}}'


def resolve(text: str) -> str:
    """Fill in a reference."""
    if text not in SECRETS:
        raise ValueError(f"{text} is not set")
    return SECRETS[text]


def hooks() -> Admission:
    """Take the workspace over, as the collector's process does."""
    admission = Admission(resolve)
    admission.take(SHOP)
    return admission


def signed(body: bytes, secret: str = SECRETS["${env:NEW}"], ahead: int = 0) -> str:
    """Sign a body as Stripe does."""
    at = int(time.time()) + ahead
    return f"stripe-signature: t={at},v1={hmac.new(secret.encode(), b'%d.%s' % (at, body), hashlib.sha256).hexdigest()}"


async def test_a_delivery_is_stored_before_it_is_answered() -> None:
    """Signed with the old secret or the new one, and sent again, it is the same record; both spellings of the path take it."""
    producer = SteeredProducer()
    async with collector(producer, workspace=SHOP, hook=hooks().hook) as running, connection(running.port) as kept:
        first = await kept.ask("POST /v1/webhook/billing", signed(BODY, "whsec_old"), body=BODY)
        again = await kept.ask("POST /v1/webhook/billing/", signed(BODY), body=BODY)
    assert [(200, b'{"success":true}')] * 2 == [(one.status, one.body) for one in (first, again)]
    one, other = producer.stored
    assert (one.key, one.value) == (other.key, other.value)
    assert ("evt_1", "Invoice Paid", "cus_9") == tuple(producer.events()[0][name] for name in ("messageId", "event", "userId"))
    assert {"source": b"billing", "config": b"2"}.items() <= dict(one.headers).items()
    assert 2 == running.metrics.sums["headrace_ingest_events_total", ("billing", "accepted")]


@pytest.mark.parametrize(
    ("headers", "body", "code"),
    [
        ((signed(BODY, "whsec_other"),), BODY, "invalid_signature"),
        ((signed(BODY),), orjson.dumps(orjson.loads(BODY), option=orjson.OPT_INDENT_2), "invalid_signature"),
        ((), BODY, "invalid_signature"),
        ((signed(BODY, ahead=-301),), BODY, "delivery_too_old"),
    ],
)
async def test_what_proves_nothing_is_refused(headers: tuple[str, ...], body: bytes, code: str) -> None:
    """A wrong secret, another writing of the same JSON, no signature, an old one: 401, a dead letter with the bytes, and no secret in it."""
    producer = SteeredProducer()
    async with collector(producer, workspace=SHOP, hook=hooks().hook) as running:
        answer = await ask(running.port, "POST /v1/webhook/billing", *headers, body=body)
    assert (401, code) == (answer.status, orjson.loads(answer.body)["code"])
    (letter,) = producer.stored
    assert ("shop.dead.ingest", body, code.encode()) == (letter.topic, letter.value, dict(letter.headers)["dead_reason"])
    assert b"whsec" not in repr(letter).encode() + answer.body
    assert 1 == running.metrics.sums["headrace_ingest_refused_total", ("webhook", code)]
    assert 1 == running.metrics.sums["headrace_ingest_events_total", ("billing", "refused")]


@pytest.mark.parametrize(
    ("line", "status", "code"),
    [
        ("POST /v1/webhook/nobody", 404, "not_found"),
        ("POST /v1/webhook/web", 404, "not_found"),
        ("POST /v1/webhook/", 404, "not_found"),
        ("GET /v1/webhook/billing", 405, "method_not_allowed"),
        ("POST /v1/webhook/unset", 503, "misconfigured"),
    ],
)
async def test_what_has_no_hook(line: str, status: int, code: str) -> None:
    """No such source, one of SDKs, another method, a secret that is not set here: nothing is stored."""
    producer = SteeredProducer()
    async with collector(producer, workspace=SHOP, hook=hooks().hook) as running:
        answer = await ask(running.port, line, body=b"{}" if line.startswith("POST") else b"")
    assert (status, code) == (answer.status, orjson.loads(answer.body)["code"])
    assert [] == producer.stored


async def test_a_secret_that_is_set_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next delivery finds it, without a new version of the configuration."""
    admission = hooks()
    hook = admission.hook("unset")
    assert hook is not None
    assert not hook.keys
    monkeypatch.setitem(SECRETS, "${env:GONE}", "secret")
    hook = admission.hook("unset")
    assert hook is not None
    assert (b"secret",) == hook.keys
    assert hook is admission.hook("unset")


async def test_strangers_fill_no_disk() -> None:
    """Of two hundred deliveries that prove nothing at most a hundred are kept, and the address is told to wait."""
    producer = SteeredProducer()
    async with collector(producer, workspace=SHOP, hook=hooks().hook) as running, connection(running.port) as kept:
        statuses = [(await kept.ask("POST /v1/webhook/billing", body=b"{}")).status for _ in range(200)]
    assert {401, 429} == set(statuses)
    assert 100 <= len(producer.stored) <= 110


async def test_a_broker_that_is_away() -> None:
    """What is not stored is not taken: the sender is asked to come again, with what is proved and with what is not."""
    producer = SteeredProducer()
    producer.broken = True
    async with collector(producer, workspace=SHOP, hook=hooks().hook) as running:
        for headers in ((signed(BODY),), ()):
            answer = await ask(running.port, "POST /v1/webhook/billing", *headers, body=BODY)
            assert 503 == answer.status
            assert "retry-after" in answer.headers


async def test_a_source_over_its_rate() -> None:
    """It is asked to wait like any other."""
    producer = SteeredProducer()
    body = b'{"action":"created"}'
    headers = (f"x-hub-signature-256: sha256={hmac.new(b'whsec_new', body, hashlib.sha256).hexdigest()}", "x-github-event: star")
    async with collector(producer, workspace=SHOP, hook=hooks().hook) as running, connection(running.port) as kept:
        statuses = [(await kept.ask("POST /v1/webhook/slow", *headers, f"x-github-delivery: d-{number}", body=body)).status for number in range(2)]
    assert [200, 429] == statuses
    assert ["Star Created"] == [event["event"] for event in producer.events()]
