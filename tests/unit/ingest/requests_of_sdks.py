"""Requests as SDKs make them, for the tests of this room."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import orjson

from pipeline.ingest import ENDPOINTS, Accepted, Refused, Request, WriteKeys, collect
from pipeline.model.record import Output
from pipeline.model.workspace import Source, Workspace

NOW = 1_700_000_000_000
WORKSPACE = Workspace(
    "shop",
    version=7,
    sources={
        "web": Source("web", ("web-key",)),
        "app": Source("app", ("app-key",), event_bytes=64 * 1024),
        "old": Source("old", ("old-key",), enabled=False),
    },
)
KEYS = WriteKeys({"web-key": "web", "app-key": "app", "old-key": "old", "gone-key": "gone"}, {"worn-key": "web"})


def basic(text: str) -> str:
    """Write an Authorization header of the scheme Basic."""
    return "Basic " + base64.b64encode(text.encode()).decode()


WEB = {"authorization": basic("web-key:")}


def post(path: str, body: Any, headers: Mapping[str, str] = WEB, query: str = "", ip: str = "203.0.113.9") -> Accepted | Refused:  # noqa: ANN401 (JSON)
    """Post a body, given as bytes or as a JSON value, to a path."""
    text = body if isinstance(body, bytes) else orjson.dumps(body)
    sent = dict(headers)
    request = Request(ENDPOINTS[path], sent, query, text, ip, NOW, "n/1", sent.get("origin"), sent.get("authorization"))
    return collect(request, KEYS, WORKSPACE)


def taken(verdict: Accepted | Refused) -> list[Output]:
    """Give the records of a request that must have been taken."""
    assert isinstance(verdict, Accepted), verdict
    return verdict.outputs


def events(verdict: Accepted | Refused) -> list[dict[str, Any]]:
    """Give the events of a request that must have been taken whole."""
    outputs = taken(verdict)
    assert {output.topic for output in outputs} <= {"shop.raw"}
    return [orjson.loads(output.value or b"") for output in outputs]


def event(verdict: Accepted | Refused) -> dict[str, Any]:
    """Give the only event of a request that must have been taken."""
    (only,) = events(verdict)
    return only


def refusal(verdict: Accepted | Refused) -> tuple[int, str]:
    """Give status and code of a request that must have been refused."""
    assert isinstance(verdict, Refused), verdict
    return verdict.status, verdict.code


def form(text: str, **fields: str) -> bytes:
    """Write the form with which a server's SDK asks for an access token."""
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    said = {"grant_type": "client_credentials", "client_assertion_type": kind, "client_assertion": text, "scope": "tracking_api:write", **fields}
    return urlencode(said).encode()
