"""Assertions of OAuth clients, and the access tokens that they get."""

from __future__ import annotations

from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pipeline.ingest import oauth
from pipeline.ingest.oauth import Client, Denied, Grant, public_key
from tests.unit.ingest.requests_of_sdks import form

NOW = 1_800_000_000
HOST = "cdp.example.com"
SECRET = b"s" * 32
ONE = rsa.generate_private_key(65537, 2048)
TWO = ec.generate_private_key(ec.SECP256R1())


def pem(key: Any) -> str:  # noqa: ANN401 (either kind of key)
    """Write the public half of a key."""
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


CLIENT = Client("server", {"one": public_key(pem(ONE)), "two": public_key(pem(TWO))})
CLIENTS = {"shop": CLIENT}


def assertion(key: Any = ONE, algorithm: str = "RS256", kid: str | None = "one", **claims: Any) -> str:  # noqa: ANN401 (any claims)
    """Write an assertion as segment-analytics-python 2.4 does."""
    said = {"iss": "shop", "sub": "shop", "aud": f"https://{HOST}", "iat": NOW - 5, "exp": NOW + 55, "jti": "j1", **claims}
    said = {name: value for name, value in said.items() if value is not None}
    return jwt.encode(said, key, algorithm=algorithm, headers={"kid": kid} if kid else None)


def judge(text: str) -> Grant | Denied:
    """Judge an assertion."""
    return oauth.judge_assertion(form(text), CLIENTS, HOST, NOW)


def test_both_keys_of_a_client_work_side_by_side() -> None:
    """RSA and P-256, by key id; without a key id each is tried."""
    assert judge(assertion()) == Grant("shop", "one", "j1", NOW + 55)
    assert judge(assertion(TWO, "ES256", "two")) == Grant("shop", "two", "j1", NOW + 55)
    assert judge(assertion(TWO, "ES256", None)) == Grant("shop", "two", "j1", NOW + 55)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x.y.z",
        assertion(kid="gone"),
        assertion(TWO, "ES256", "one"),
        assertion(rsa.generate_private_key(65537, 2048)),
        assertion(iss="other", sub="other"),
        assertion(pem(ONE).encode()[:40], "HS256"),
        jwt.encode({"iss": "shop", "sub": "shop"}, "", algorithm="none"),
        assertion(jti=None),
    ],
)
def test_what_no_declared_key_has_signed_is_nobody(text: str) -> None:
    """Another key, another algorithm, none at all, a public key used as a secret: all the same answer."""
    found = judge(text)
    assert isinstance(found, Denied)
    assert (found.status, found.error) == (401, "invalid_client")


@pytest.mark.parametrize(
    ("claims", "description"),
    [
        ({"exp": NOW - 31}, "Token is expired"),
        ({"iat": NOW + 31}, "Token used before issued"),
        ({"nbf": NOW + 31}, "Token used before issued"),
        ({"exp": NOW + 4000}, "exp lies more than an hour ahead"),
        ({"exp": "soon"}, "exp, iat and nbf must be numbers"),
        ({"aud": "https://oauth2.segment.io"}, "aud is not this server"),
        ({"aud": "https://["}, "aud is not this server"),
        ({"sub": "other"}, "iss and sub must both be the client's id"),
        ({"jti": "j" * 257}, "jti must be text of 1 to 256 characters"),
    ],
)
def test_what_an_assertion_must_say(claims: dict[str, Any], description: str) -> None:
    """In the words for which Segment's Python SDK corrects its clock, where the clock is what is wrong."""
    assert judge(assertion(**claims)) == Denied(400, "invalid_request", description)


def test_a_declared_audience_counts_alone() -> None:
    """Behind a proxy the host of the request is not the address that the client was told."""
    clients = {"shop": CLIENT._replace(audience="https://events.example.com")}
    assert isinstance(oauth.judge_assertion(form(assertion(aud="https://events.example.com")), clients, HOST, NOW), Grant)
    assert isinstance(oauth.judge_assertion(form(assertion()), clients, HOST, NOW), Denied)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"client_assertion_type": "x"}, "invalid_request"),
        ({"scope": "all"}, "invalid_scope"),
    ],
)
def test_what_the_form_must_say(fields: dict[str, str], error: str) -> None:
    """RFC 6749 names the errors."""
    found = oauth.judge_assertion(form(assertion(), **fields), CLIENTS, HOST, NOW)
    assert isinstance(found, Denied)
    assert (found.status, found.error) == (400, error)


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", b"&" * 100, b"x=" + b"1" * 20_000])
def test_any_body_gets_an_answer(body: bytes) -> None:
    """What is no form of ours is refused."""
    assert isinstance(oauth.judge_assertion(body, CLIENTS, HOST, NOW), Denied)


def test_a_token_lives_as_long_as_its_client_says() -> None:
    """It names its source until it ends, and nothing afterwards."""
    grant = Grant("shop", "one", "j1", NOW + 55)
    token = oauth.token_for(grant, CLIENT, SECRET, NOW)
    assert oauth.read_token(token, CLIENTS, SECRET, NOW + 3599) == ("valid", "server", NOW + 3600)
    assert oauth.read_token(token, CLIENTS, SECRET, NOW + 3600).state == "invalid"
    assert orjson.loads(oauth.granted(token, CLIENT).body)["expires_in"] == 3600


def test_a_token_ends_with_its_key_and_its_client() -> None:
    """Taking a public key out of the workspace takes what it brought."""
    token = oauth.token_for(Grant("shop", "one", "j1", NOW + 55), CLIENT, SECRET, NOW)
    for clients in ({}, {"shop": Client("server", {"two": CLIENT.keys["two"]})}, {"shop": CLIENT._replace(source="other")}):
        assert oauth.read_token(token, clients, SECRET, NOW).state == "invalid"


@pytest.mark.parametrize(
    "token",
    ["", "x", "a.b.c", oauth.token_for(Grant("shop", "one", "j", NOW), CLIENT, b"t" * 32, NOW), jwt.encode({"iss": "headrace"}, SECRET)],
)
def test_others_tokens_are_invalid(token: str) -> None:
    """Whoever has signed them, and whatever they are."""
    assert oauth.read_token(token, CLIENTS, SECRET, NOW).state == "invalid"


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP384R1())])  # noqa: S505 (what is refused)
def test_weak_and_foreign_keys_are_refused(key: Any) -> None:  # noqa: ANN401 (either kind of key)
    """The message says what is taken."""
    with pytest.raises(ValueError, match="2048 bits"):
        public_key(pem(key))
    with pytest.raises(ValueError, match="PEM"):
        public_key("no key")
