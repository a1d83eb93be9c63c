"""What becomes of a delivery whose signature is right, and of one whose source cannot take it."""

from __future__ import annotations

import gzip
import hashlib
import hmac
from dataclasses import replace
from typing import Any

import orjson
import pytest

from pipeline.declaration.objects import source_of
from pipeline.ingest import Accepted, Refused
from pipeline.ingest.webhook import collect_delivery, kept_headers, make_hook, map_anew
from pipeline.ingest.webhook.calls import readable
from pipeline.ingest.webhook.delivery import Delivery
from pipeline.model.workspace import Source, Workspace
from pipeline.sources import read_preset

NOW = 1_767_225_600_000
ALL_A: dict[str, Any] = {
    "name": "m",
    "trigger": "body.a = 1",
    "fields": {"type": "track", "event": "E", "userId": "u", "properties": {"a": {"@path": "$.body.a"}}},
}
SOURCE: dict[str, Any] = {"id": "forms", "type": "webhook", "secrets": ["${env:S}"], "signature": {"header": "x-sign"}}


def delivered(body: bytes, headers: dict[str, str] | None = None, keys: tuple[bytes, ...] = (b"s",), **declared: Any) -> Any:  # noqa: ANN401 (JSON)
    """Deliver a body to a source that signs with plain HMAC in hex."""
    source = source_of({**SOURCE, **declared})
    signed = {"x-sign": hmac.new(b"s", body, hashlib.sha256).hexdigest(), **(headers or {})}
    workspace = Workspace("shop", 3, {"forms": source})
    return collect_delivery(Delivery(signed, body, NOW), make_hook(source, read_preset("generic"), keys), workspace)


def events(accepted: Any) -> list[dict[str, Any]]:  # noqa: ANN401 (what was decided)
    """Give the events that were made."""
    assert isinstance(accepted, Accepted), accepted
    return [orjson.loads(one.value or b"") for one in accepted.outputs]


def test_a_sender_that_names_no_id() -> None:
    """A delivery without an id is known by its bytes: the same again is the same event, another one is not."""
    first, again, other = (events(delivered(body))[0]["messageId"] for body in (b'{"a":1}', b'{"a":1}', b'{"a":2}'))
    assert first == again
    assert first != other


def test_gzip() -> None:
    """The signature is over the bytes as they came, the event is what they unpack to."""
    assert {"a": 1} == events(delivered(gzip.compress(b'{"a":1}'), {"content-encoding": "gzip"}))[0]["properties"]


def test_what_only_the_transport_knows_stays_out() -> None:
    """A mapping that copies all headers does not get those that hold credentials."""
    mapping = {"name": "all", "trigger": "body.a = 1", "fields": {"properties": {"@path": "$.headers"}}}
    found = events(delivered(b'{"a":1}', {"authorization": "Basic x", "cookie": "c", "x-kind": "k"}, mappings=[mapping]))
    assert {"x-sign", "x-kind"} == set(found[0]["properties"])


def test_odd_json_is_counted() -> None:
    """What JSON cannot carry is replaced and told, as it is for every other event."""
    accepted = delivered(b'{"a":NaN}')
    assert {("forms", "not_a_number"): 1} == accepted.replaced
    assert {"a": None} == events(accepted)[0]["properties"]


@pytest.mark.parametrize(
    ("body", "declared", "reason"),
    [
        (b"a=1", {}, "invalid_json"),
        (b'{"a":"%s"}' % (b"x" * 40_000), {}, "event_too_large"),
        (b'{"a":' * 900 + b"1" + b"}" * 900, {}, "too_deep"),
        (b'{"a":1,"b":' + b"[" * 1000 + b"]" * 1000 + b"}", {"mappings": [ALL_A]}, "too_deep"),
        (b"[" * 100_000, {}, "invalid_json"),
        (b'{"a":1}', {"mappings": [{"name": "m", "trigger": "body.a = 1", "fields": {"type": "purchase"}}]}, "unknown_type"),
        (b'{"a":1}', {"event_name": {"@path": {"@path": "$.body.a"}}}, "mapping_failed"),
    ],
)
def test_what_makes_no_event_is_kept(body: bytes, declared: dict[str, Any], reason: str) -> None:
    """A proved delivery of which no event can be made is taken and lies whole in dead letters: its sender could send no better."""
    accepted = delivered(body, **declared)
    assert isinstance(accepted, Accepted)
    assert {("forms", "dead"): 1} == accepted.counts
    (letter,) = accepted.outputs
    headers = dict(letter.headers)
    assert ("shop.dead.ingest", body) == (letter.topic, letter.value)
    assert [reason.encode(), b"forms", b"generic", b"3"] == [headers[name] for name in ("dead_reason", "source", "webhook", "config")]


def mapped_anew(accepted: Any, **declared: Any) -> Any:  # noqa: ANN401 (what was decided; JSON)
    """Map a dead letter anew, for a source that is declared so now."""
    (letter,) = accepted.outputs
    headers = kept_headers(dict(letter.headers)["webhook_headers"])
    assert headers is not None
    source = source_of({**SOURCE, **declared})
    made = map_anew(Delivery(headers, letter.value, NOW), make_hook(source, read_preset("generic"), ()), Workspace("shop", 4, {"forms": source}))
    return made if isinstance(made, str) else [orjson.loads(one.value or b"") for one in made]


def test_what_lay_in_dead_letters_is_mapped_anew() -> None:
    """By the mapping of today, from body and headers as they came, with the id that it would have had."""
    wrong = [{"name": "m", "trigger": "body.a = 1", "fields": {"type": "purchase"}}]
    right = [{"name": "m", "trigger": "body.a = 1", "fields": {"type": "track", "event": {"@path": "$.headers.x-kind"}}}]
    headers = {"x-kind": "Sold", "webhook-id": "d-1", "content-encoding": "gzip"}
    accepted = delivered(gzip.compress(b'{"a":1}'), headers, mappings=wrong)
    (event,) = mapped_anew(accepted, mappings=right)
    assert ("track", "Sold", "d-1") == (event["type"], event["event"], event["messageId"])
    why = "no event can be made of it still: `type` is none of identify, track, page, screen, group, alias"
    assert why == mapped_anew(accepted, mappings=wrong)
    assert "the source forms is disabled" == mapped_anew(accepted, mappings=right, enabled=False)


def test_no_credential_is_kept() -> None:
    """Of a delivery's headers neither its signature nor what may be a credential is kept, and nothing that is beyond all measure."""
    sent = {
        "authorization": "a",
        "cookie": "b",
        "x-gitlab-token": "c",
        "x-api-key": "d",
        "idempotency-key": "e",
        "x-long": "f" * 5_000,
        "x-kind": "g",
    }
    (letter,) = delivered(b"a=1", sent).outputs
    assert {"idempotency-key": "e", "x-kind": "g"} == kept_headers(dict(letter.headers)["webhook_headers"])


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"1"])
def test_headers_that_are_none(text: bytes) -> None:
    """Any client may write to a topic of dead letters."""
    assert kept_headers(text) is None


@pytest.mark.parametrize(
    ("declared", "keys", "status", "code"),
    [({"enabled": False}, (b"s",), 403, "source_disabled"), ({}, (), 503, "misconfigured")],
)
def test_a_source_that_takes_nothing(declared: dict[str, Any], keys: tuple[bytes, ...], status: int, code: str) -> None:
    """A disabled source refuses; one whose secret is not set asks its sender to come again."""
    refused = delivered(b"{}", keys=keys, **declared)
    assert isinstance(refused, Refused)
    assert (status, code, "forms") == (refused.status, refused.code, refused.source)
    assert (refused.retry_after > 0) == (status == 503)


def test_a_source_that_is_gone() -> None:
    """A source that the workspace does not have any more is not found."""
    source = source_of(SOURCE)
    refused = collect_delivery(Delivery({}, b"", NOW), make_hook(source, read_preset("generic"), [b"s"]), Workspace("shop"))
    assert isinstance(refused, Refused)
    assert 404 == refused.status


def test_a_body_that_nobody_vouches_for_is_kept_in_part() -> None:
    """Of a body that anyone may have sent 64 KiB are kept."""
    source = source_of(SOURCE)
    unproved = collect_delivery(
        Delivery({"x-sign": "0"}, b"x" * 100_000, NOW),
        make_hook(source, read_preset("generic"), [b"s"]),
        Workspace("shop", 1, {"forms": source}),
    )
    assert 65_536 == len(unproved.letter.value or b"")  # type: ignore[union-attr]  # anything else fails here


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("invoice.payment_failed", "Invoice Payment Failed"),
        ("zen:event/ticket-made", "Zen Event Ticket Made"),
        ("push ", "Push"),
        ("Order Completed", "Order Completed"),
        ("orderCompleted", "orderCompleted"),
        ("", "Webhook Received"),
        ("...", "Webhook Received"),
        (None, "Webhook Received"),
        (7, "Webhook Received"),
    ],
)
def test_a_readable_name(name: object, expected: str) -> None:
    """Names of machines become names of people; those of people stay."""
    assert expected == readable(name)


def test_a_mapping_of_the_sources_own_time() -> None:
    """A time that is none is left out: the event then has that of its coming."""
    mapping = {"name": "m", "trigger": "body.a = 1", "fields": {"timestamp": "soon", "userId": ""}}
    (event,) = events(delivered(b'{"a":1}', mappings=[mapping]))
    assert "timestamp" not in event
    assert event["anonymousId"] == event["messageId"]


def test_long_ids_are_shortened() -> None:
    """An id that no message may have becomes one that it may, the same at every try."""
    source: Source = source_of({**SOURCE, "message_id": {"@path": "$.body.id"}})
    body = orjson.dumps({"id": "x" * 200})
    signed = {"x-sign": hmac.new(b"s", body, hashlib.sha256).hexdigest()}
    hook = make_hook(source, read_preset("generic"), [b"s"])
    workspace = Workspace("shop", 1, {"forms": replace(source)})
    ids = {events(collect_delivery(Delivery(signed, body, NOW), hook, workspace))[0]["messageId"] for _ in range(2)}
    assert [36] == [len(one) for one in ids]


@pytest.mark.parametrize("body", [b"\xff", b"other=1", b"payload=", b"payload=%7B"])
def test_a_form_without_json(body: bytes) -> None:
    """A form whose field holds no JSON is kept as it came."""
    source = source_of({**SOURCE, "preset": "github"})
    signed = {"x-sign": hmac.new(b"s", body, hashlib.sha256).hexdigest(), "content-type": "application/x-www-form-urlencoded"}
    taken = collect_delivery(Delivery(signed, body, NOW), make_hook(source, read_preset("github"), [b"s"]), Workspace("shop", 1, {"forms": source}))
    assert isinstance(taken, Accepted)
    assert [("shop.dead.ingest", body)] == [(one.topic, one.value) for one in taken.outputs]
