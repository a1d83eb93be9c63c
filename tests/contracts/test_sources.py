"""Laws that every preset of a webhook source keeps, and the cases that lie beside each."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from pipeline.app.collector import Checking
from pipeline.app.processes.options import call_schemas
from pipeline.declaration.objects import source_of
from pipeline.ingest import Accepted
from pipeline.ingest.webhook import Unproved, collect_delivery, make_hook, signing_key
from pipeline.ingest.webhook.delivery import Delivery
from pipeline.model.reasons import REASONS
from pipeline.model.workspace import Source, Workspace
from pipeline.registry import SOURCE_PRESETS
from pipeline.sources import read_preset
from pipeline.sources.preset import FOLDER

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
NOW = 1_767_225_600_000
"""2026-01-01T00:00:00Z."""

CHECK = Checking(call_schemas()).check(Workspace("shop", 1, {"hook": Source("hook")}), NOW)
"""What validate says of an event."""

Headers = dict[str, str]


def _hmac(text: bytes) -> bytes:
    return hmac.new(SECRET.encode(), text, hashlib.sha256).digest()


def _stripe(body: bytes, headers: Headers) -> Headers:
    return {"stripe-signature": f"t={NOW // 1000},v1={_hmac(b'%d.' % (NOW // 1000) + body).hex()},v0=x"}


def _github(body: bytes, headers: Headers) -> Headers:
    return {"x-hub-signature-256": f"sha256={_hmac(body).hex()}"}


def _zendesk(body: bytes, headers: Headers) -> Headers:
    at = "2026-01-01T00:00:00Z"
    signature = base64.b64encode(_hmac(at.encode() + body)).decode()
    return {"x-zendesk-webhook-signature": signature, "x-zendesk-webhook-signature-timestamp": at}


def _generic(body: bytes, headers: Headers) -> Headers:
    at = datetime.fromtimestamp(NOW / 1000, UTC)
    return {"webhook-timestamp": str(NOW // 1000), "webhook-signature": Webhook(SECRET).sign(headers["webhook-id"], at, body.decode())}


SENDERS: dict[str, Callable[[bytes, Headers], Headers]] = {"stripe": _stripe, "github": _github, "zendesk": _zendesk, "generic": _generic}
"""Signs as each product does, written by its own page; for the generic one its own library does it."""


def cases_of(slug: str) -> list[dict[str, Any]]:
    """Read the cases that lie beside a preset."""
    cases: list[dict[str, Any]] = yaml.safe_load((FOLDER / slug / "cases.yaml").read_text(encoding="utf-8"))
    return cases


CASES = [pytest.param(slug, case, id=f"{slug}: {case['name']}") for slug in SOURCE_PRESETS for case in cases_of(slug)]


def delivered(slug: str, case: dict[str, Any], change: Callable[[Delivery], Delivery] = lambda one: one) -> object:
    """Deliver a case, signed as its sender does, perhaps changed on the way."""
    source = source_of({"id": "hook", "type": "webhook", "secrets": ["${env:S}"], **case.get("source", {})})
    body = orjson.dumps(case["body"])
    headers: Headers = {"content-type": "application/json", **case.get("headers", {})}
    if "form" in case:
        body, headers["content-type"] = urlencode({case["form"]: body.decode()}).encode(), "application/x-www-form-urlencoded"
    delivery = Delivery({**headers, **SENDERS[slug](body, headers)}, body, NOW)
    preset = read_preset(slug)
    return collect_delivery(
        change(delivery), make_hook(source, preset, [signing_key(preset.signature, SECRET)]), Workspace("shop", 1, {"hook": source})
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def _with_odd_parts(draw: st.DrawFn, value: Any) -> Any:  # noqa: ANN401 (JSON)
    """Give a body of a case, some parts of which are something else."""
    if draw(st.integers(0, 9)) == 0:
        return draw(JSON)
    if isinstance(value, dict):
        return {name: draw(_with_odd_parts(item)) for name, item in value.items()}
    return [draw(_with_odd_parts(item)) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("slug", "case"), CASES)
def test_case(slug: str, case: dict[str, Any]) -> None:
    """A delivery becomes exactly the calls that the case expects."""
    accepted = delivered(slug, case)
    assert isinstance(accepted, Accepted), accepted
    assert case["calls"] == [orjson.loads(one.value or b"") for one in accepted.outputs]
    assert {"shop.raw"} == {one.topic for one in accepted.outputs}


@pytest.mark.parametrize(("slug", "case"), CASES)
def test_one_changed_byte_is_refused(slug: str, case: dict[str, Any]) -> None:
    """A body that means the same and is written otherwise is not what was signed, and nothing of the secret is kept of it."""
    refused = delivered(slug, case, lambda one: one._replace(body=one.body + b" "))
    assert isinstance(refused, Unproved)
    assert 401 == refused.refusal.status
    assert b"invalid_signature" == dict(refused.letter.headers)["dead_reason"]
    assert SECRET not in repr(refused)


@pytest.mark.parametrize(("slug", "case"), CASES)
def test_an_old_delivery_is_refused(slug: str, case: dict[str, Any]) -> None:
    """Where the time is signed, what was signed more than five minutes ago is refused; at five minutes it is not."""
    assert isinstance(delivered(slug, case, lambda one: one._replace(received_at=NOW + 300_000)), Accepted)
    late = delivered(slug, case, lambda one: one._replace(received_at=NOW + 301_000))
    if not read_preset(slug).signature.timestamp_header:
        assert isinstance(late, Accepted)
    else:
        assert isinstance(late, Unproved)
        assert "delivery_too_old" == late.refusal.code


@pytest.mark.parametrize(("slug", "case"), CASES)
def test_the_retry_of_a_delivery_is_the_same_event(slug: str, case: dict[str, Any]) -> None:
    """A delivery that is sent again, later, has the same keys and values."""
    first, again = delivered(slug, case), delivered(slug, case, lambda one: one._replace(received_at=NOW + 60_000))
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert [(one.key, one.value) for one in first.outputs] == [(one.key, one.value) for one in again.outputs]


@pytest.mark.parametrize(("slug", "case"), CASES)
def test_validate_lets_the_calls_pass(slug: str, case: dict[str, Any]) -> None:
    """What comes of a delivery is sound by the spec, so that the next step has nothing to say."""
    accepted = delivered(slug, case)
    assert isinstance(accepted, Accepted)
    assert [None] * len(accepted.outputs) == [CHECK(one.value or b"", "hook") for one in accepted.outputs]


@pytest.mark.parametrize("slug", SOURCE_PRESETS)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_no_delivery_is_too_odd(slug: str, data: st.DataObject) -> None:
    """Whatever a sender signs becomes events that validate can judge, or one dead letter with its bytes; never an exception."""
    case = data.draw(st.sampled_from(cases_of(slug)))
    accepted = delivered(slug, {**case, "body": data.draw(st.one_of(JSON, _with_odd_parts(case["body"])))})
    assert isinstance(accepted, Accepted)
    if {"shop.raw"} != {one.topic for one in accepted.outputs}:
        assert ["shop.dead.ingest"] == [one.topic for one in accepted.outputs]
        return
    faults = [CHECK(one.value or b"", "hook") for one in accepted.outputs]
    assert set() == {fault.reason for fault in faults if fault is not None} - REASONS.keys()


def test_every_mapping_of_a_preset_has_a_case() -> None:
    """No mapping of a preset is without a case whose calls it makes."""
    for slug in SOURCE_PRESETS:
        hook = make_hook(source_of({"id": "hook"}), read_preset(slug), [b"k"])
        views = [{"headers": case.get("headers", {}), "body": case["body"]} for case in cases_of(slug) if "source" not in case]
        unused = [call.name for call in hook.calls.mappings if not any(call.matches(view) for view in views)]
        assert [] == unused, slug
