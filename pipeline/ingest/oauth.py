"""Access tokens for servers: a client proves itself with a signed assertion and gets a token (RFC 6749 §4.4, RFC 7521, RFC 7523 §2.2).

Answers and texts are those on which Segment's SDKs act: an assertion that is too old or from the future is told so in words for which they
correct their clock and try again (segment-analytics-python 2.4, oauth_manager.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import parse_qs, urlsplit

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from pipeline.ingest.answers import Answer

SCOPE: Final = "tracking_api:write"
_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ISSUER: Final = "headrace"
_RSA_BITS_LEAST: Final = 2048
_SKEW_SECONDS: Final = 30
_ASSERTION_SECONDS_MOST: Final = 3600
_FORM_BYTES_MOST: Final = 16 * 1024
_CLAIMS: Final = ("iss", "sub", "aud", "exp", "jti")
_UNTIMED: Final[Any] = {"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False, "require": list(_CLAIMS)}
"""The library's own clock is not asked: the time is given in."""

PublicKey = RSAPublicKey | EllipticCurvePublicKey


class Client(NamedTuple):
    """Who may ask for tokens of a source.

    Attributes:
        source: Source id.
        keys: Its public keys by key id; two while one follows the other.
        audience: What its assertions must be meant for; empty for the host that they are sent to.
        token_seconds: How long its tokens live.
    """

    source: str
    keys: Mapping[str, PublicKey]
    audience: str = ""
    token_seconds: int = 3600


class Grant(NamedTuple):
    """An assertion that holds.

    Attributes:
        client: Client id.
        key: Id of the key that signed it.
        assertion: Its `jti`, which no other assertion of the client may have while it lives.
        expires: When it ends, seconds since the epoch.
    """

    client: str
    key: str
    assertion: str
    expires: int


class Denied(NamedTuple):
    """An assertion that does not hold (RFC 6749 §5.2).

    Attributes:
        status: HTTP status.
        error: Code of the RFC.
        description: What is wrong, for a person.
    """

    status: int
    error: str
    description: str


class Token(NamedTuple):
    """What an access token says.

    Attributes:
        state: `valid`; `invalid` for one that is expired, of a key that is no longer declared, or not ours; `none` where there is none.
        source: Id of the source of a valid one.
        expires: When a valid one ends, seconds since the epoch.
    """

    state: Literal["none", "valid", "invalid"]
    source: str = ""
    expires: int = 0


NO_TOKEN: Final = Token("none")
_INVALID: Final = Token("invalid")


def public_key(pem: str) -> PublicKey:
    """Read a public key.

    Args:
        pem: PEM text of an RSA key of at least 2,048 bits, or of an elliptic curve key on P-256.

    Returns:
        The key.

    Raises:
        ValueError: It is none.
    """
    try:
        key = load_pem_public_key(pem.encode())
    except Exception as error:  # the library raises many kinds for what is no key
        raise ValueError("is no public key in PEM") from error
    if isinstance(key, RSAPublicKey) and key.key_size >= _RSA_BITS_LEAST:
        return key
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return key
    raise ValueError(f"is neither an RSA key of {_RSA_BITS_LEAST} bits or more nor an elliptic curve key on P-256")


def judge_assertion(form: bytes, clients: Mapping[str, Client], host: str, now: int) -> Grant | Denied:
    """Judge a request for a token.

    Args:
        form: The body, form-encoded.
        clients: The clients by id.
        host: Value of the Host header.
        now: The time, seconds since the epoch.

    Returns:
        The grant, or why there is none.
    """
    fields = _fields(form)
    if fields.get("grant_type") != "client_credentials":
        return Denied(400, "unsupported_grant_type", "grant_type must be client_credentials")
    if fields.get("client_assertion_type") != _ASSERTION_TYPE:
        return Denied(400, "invalid_request", f"client_assertion_type must be {_ASSERTION_TYPE}")
    if fields.get("scope", SCOPE) != SCOPE:
        return Denied(400, "invalid_scope", f"the only scope is {SCOPE}")
    proven = _proven(fields.get("client_assertion", ""), clients)
    if proven is None:
        return Denied(401, "invalid_client", "The assertion is not signed with a declared key of a declared client")
    claims, key_id = proven
    client = str(claims["iss"])
    fault = _fault_of(claims, clients[client].audience or host, now, exactly=bool(clients[client].audience))
    return fault or Grant(client, key_id, claims["jti"], int(claims["exp"]))


def _fields(form: bytes) -> dict[str, str]:
    if len(form) > _FORM_BYTES_MOST:
        return {}
    try:
        return {name: values[0] for name, values in parse_qs(form.decode("ascii"), max_num_fields=16).items()}
    except ValueError:
        return {}


def _proven(assertion: str, clients: Mapping[str, Client]) -> tuple[dict[str, Any], str] | None:
    """Give the claims of an assertion that one of its client's keys has signed, and the id of the key."""
    try:
        head = jwt.get_unverified_header(assertion)
        client = clients[jwt.decode(assertion, options={"verify_signature": False})["iss"]]
    except (jwt.PyJWTError, KeyError, TypeError):
        return None
    named = head.get("kid")
    for key_id, key in client.keys.items():
        if named is not None and key_id != named:
            continue
        algorithm = "RS256" if isinstance(key, RSAPublicKey) else "ES256"
        try:
            return jwt.decode(assertion, key, algorithms=[algorithm], options=_UNTIMED), key_id
        except (jwt.PyJWTError, TypeError, ValueError):
            continue
    return None


def _fault_of(claims: Mapping[str, Any], audience: str, now: int, *, exactly: bool) -> Denied | None:
    expires, issued, valid_from = times = (claims["exp"], claims.get("iat", now), claims.get("nbf", now))
    if not all(isinstance(time, int | float) for time in times):
        return Denied(400, "invalid_request", "exp, iat and nbf must be numbers")
    named = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    meant = any(one == audience if exactly else _host_of(one) == audience.lower() for one in named)
    faults = (
        (claims["sub"] != claims["iss"], "iss and sub must both be the client's id"),
        (not isinstance(claims["jti"], str) or not 0 < len(claims["jti"]) <= 256, "jti must be text of 1 to 256 characters"),
        (not meant, "aud is not this server"),
        (expires <= now - _SKEW_SECONDS, "Token is expired"),
        (max(issued, valid_from) > now + _SKEW_SECONDS, "Token used before issued"),
        (expires > now + _ASSERTION_SECONDS_MOST + _SKEW_SECONDS, "exp lies more than an hour ahead"),
    )
    return next((Denied(400, "invalid_request", description) for wrong, description in faults if wrong), None)


def _host_of(audience: Any) -> str:  # noqa: ANN401 (any JSON value)
    try:
        return urlsplit(audience).netloc.lower() if isinstance(audience, str) else ""
    except ValueError:
        return ""


def token_for(grant: Grant, client: Client, secret: bytes, now: int) -> str:
    """Write an access token.

    Args:
        grant: What the client has proved.
        client: The client.
        secret: What signs tokens, 32 bytes or more.
        now: The time, seconds since the epoch.

    Returns:
        The token: any collector with the same secret and configuration accepts it.
    """
    claims = {"iss": _ISSUER, "sub": client.source, "cid": grant.client, "key": grant.key, "iat": now, "exp": now + client.token_seconds}
    return jwt.encode(claims, secret, algorithm="HS256")


def read_token(token: str, clients: Mapping[str, Client], secret: bytes, now: int) -> Token:
    """Read an access token.

    Args:
        token: What follows `Bearer`.
        clients: The clients by id.
        secret: What signs tokens.
        now: The time, seconds since the epoch.

    Returns:
        What it says.
    """
    try:
        claims = jwt.decode(token, secret, algorithms=["HS256"], issuer=_ISSUER, options=_UNTIMED | {"require": ["sub", "cid", "key", "exp"]})
    except (jwt.PyJWTError, TypeError, ValueError):
        return _INVALID
    client = clients.get(claims["cid"])
    if client is None or claims["key"] not in client.keys or claims["sub"] != client.source or claims["exp"] <= now:
        return _INVALID
    return Token("valid", client.source, claims["exp"])


def granted(token: str, client: Client) -> Answer:
    """Answer with a token (RFC 6749 §5.1)."""
    body = {"access_token": token, "token_type": "Bearer", "expires_in": client.token_seconds, "scope": SCOPE}
    return Answer(200, _HEADERS, orjson.dumps(body))


def denied(why: Denied) -> Answer:
    """Answer without one (RFC 6749 §5.2), with the `code` and `message` that all our errors have."""
    body = {"error": why.error, "error_description": why.description, "success": False, "code": why.error, "message": why.description}
    return Answer(why.status, _HEADERS, orjson.dumps(body))


_HEADERS: Final = (("content-type", "application/json"), ("cache-control", "no-store"))
