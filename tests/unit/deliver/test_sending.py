"""Requests as they go over the wire."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from pipeline.deliver.answers import forms_to_mask, redacted_answer
from pipeline.deliver.sending import Item, MissingSecret, fill, read_item, to_send
from pipeline.deliver.signature import sign
from pipeline.model.json_text import encode
from pipeline.model.secret_key import signing_key
from pipeline.translate.requests import request_head, request_value

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


def an_item(body: bytes = b'{"a":1}', url: str = "https://tool.example/", headers: dict[str, str] | None = None) -> Item:
    """Make a request with overrides only."""
    return Item("id-1", "POST", url, headers or {}, body)


def test_signature_is_that_of_the_public_library() -> None:
    """The public library signs the same bytes the same way."""
    expected = Webhook(SECRET).sign("msg_1", datetime.fromtimestamp(1_700_000_000, UTC), '{"a":"é"}')
    assert expected == sign(SECRET, "msg_1", 1_700_000_000, '{"a":"é"}'.encode())


def test_public_library_verifies_what_is_sent() -> None:
    """A receiver that uses the public library accepts the request, and refuses a changed body."""
    now = int(datetime.now(UTC).timestamp() * 1000)
    sent = to_send(an_item(), secrets={"shared_secret": SECRET}, signing_secret="shared_secret", signed=True, now_ms=now, timeout_seconds=10.0)
    assert {"a": 1} == Webhook(SECRET).verify(sent.body, dict(sent.headers))
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(SECRET).verify(sent.body + b" ", dict(sent.headers))


def test_forms_of_a_secret() -> None:
    """`whsec_` means base64, with or without padding; any other text is the key itself."""
    assert KEY == signing_key(SECRET)
    assert KEY == signing_key(SECRET.rstrip("="))
    assert b"open sesame" == signing_key("open sesame")
    with pytest.raises(ValueError, match="base64 does not follow"):
        signing_key("whsec_???")


def test_unsigned_without_a_secret() -> None:
    """Without a shared secret the id and the time are sent, but no signature."""
    sent = to_send(an_item(), secrets={}, signing_secret="shared_secret", signed=True, now_ms=1_999, timeout_seconds=10.0)
    assert {"webhook-id": "id-1", "webhook-timestamp": "1"} == sent.headers


def test_secrets_are_filled_in_everywhere() -> None:
    """Address, headers and body get their secrets; in the body they are written as JSON."""
    item = an_item(b'{"token":"${secret:token}"}', "https://tool.example/${secret:path}", {"x": "Bearer ${secret:token}"})
    sent = to_send(item, secrets={"token": 'a"b', "path": "p"}, signing_secret="", signed=False, now_ms=0, timeout_seconds=10.0)
    assert (b'{"token":"a\\"b"}', "https://tool.example/p", {"x": 'Bearer a"b'}) == (sent.body, sent.url, sent.headers)


def test_missing_secret_is_named() -> None:
    """A placeholder without a secret is an error of ours, never sent as it stands."""
    with pytest.raises(MissingSecret, match=r"^token$"):
        fill("${secret:token}", {})


@given(st.text(alphabet="${secret:}ab"), st.text(alphabet="${secret:}ab"))
def test_text_of_an_event_is_never_filled(name: str, text: str) -> None:
    """Whatever an event says, it arrives as it was said: no event can ask for a secret."""
    for words in (text, f"${{secret:token}}{text}", f"{text}${{secret:token}}"):
        body = {name: [words]}
        item = read_item(request_value("id", request_head("POST", "u", {}), body))
        sent = to_send(item, secrets={"token": "SECRET"}, signing_secret="", signed=False, now_ms=0, timeout_seconds=1.0)
        assert encode(body) == sent.body


def test_body_has_the_same_bytes_each_time() -> None:
    """A body goes out as it stands in its record, byte for byte, also with integers beyond 64 bits and odd text."""
    value = '{"id":"i","method":"POST","url":"u","headers":{},"body":{"n":123456789012345678901234567890,"t":"é\\u0000","f":1.50}}'.encode()
    assert '{"n":123456789012345678901234567890,"t":"é\\u0000","f":1.50}'.encode() == read_item(value).body
    assert read_item(value) == read_item(value)


def test_another_order_of_keys_is_a_request_too() -> None:
    """A record that another client wrote, with its keys in another order, is read the slow way, to the same request."""
    value = b'{"body":{"n":1},"id":"i","method":"POST","url":"u","headers":{"a":"\\",\\"body\\":"}}'
    assert ("i", "POST", "u", {"a": '","body":'}, b'{"n":1}') == read_item(value)


@pytest.mark.parametrize("value", [b"", b"[]", b"null", b"{}", b'{"id":1,"method":"POST","url":"u","headers":3,"body":1}', b"\xff"])
def test_what_is_no_request_is_refused(value: bytes) -> None:
    """A record of another layout is an error that names no value."""
    with pytest.raises(ValueError):  # noqa: PT011 (several messages; the type is the contract)
        read_item(value)


@pytest.mark.parametrize(
    ("secret", "said", "kept"),
    [
        ("https://tool.example/hook?token=t0k3n-of-ours", "no such page: /hook?token=t0k3n-of-ours", "no such page: ***"),
        ("https://tool.example/hook?token=t0k3n-of-ours", "token t0k3n-of-ours is unknown", "token *** is unknown"),
        ("https://hooks.example/services/T000/XXXXXXXXXX", "no team for XXXXXXXXXX in services", "no team for *** in ***"),
        ("Bearer t0k3n-of-ours", "bad token 't0k3n-of-ours'", "bad token '***'"),
        ("Bearer t0k3n-of-ours", "the Bearer of this hook", "the Bearer of this hook"),
        ("https://tool.example/hook", "no hook on this host: tool.example", "no hook on this host: tool.example"),
    ],
)
def test_what_a_tool_sees_of_a_secret_is_masked_too(secret: str, said: str, kept: str) -> None:
    """It gets an address without the host, and a token behind its scheme; it may repeat just that, and words stay words."""
    assert redacted_answer(said.encode(), forms_to_mask([secret])) == kept


def test_answers_are_redacted_before_they_are_cut() -> None:
    """A secret that lies across the cut is masked as a whole."""
    masks = forms_to_mask(["hunter22"])
    assert "x" * 1021 + "***" == redacted_answer(b"x" * 1021 + b"hunter22 and more", masks)
    assert "no *** here" == redacted_answer(b"no hunter22 here", masks)
    assert "and *** there" == redacted_answer(b"and aHVudGVyMjI= there", masks)
    assert "" == redacted_answer(b"", masks)


@given(st.binary(max_size=3000), st.lists(st.text(min_size=1, max_size=20), max_size=3))
def test_answers_are_short_text(body: bytes, secrets: list[str]) -> None:
    """Any bytes become at most 1 KB of UTF-8."""
    assert len(redacted_answer(body, forms_to_mask(secrets)).encode()) <= 1024
