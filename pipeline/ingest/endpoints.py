"""The paths of the tracking API, in one table, each with and without a slash at its end (reference: tracking-api §1). None is ever redirected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

CALLS: Final = ("identify", "track", "page", "screen", "group", "alias")
"""The calls of the spec; a short path is the first letter of one."""


class Endpoint(NamedTuple):
    """What a path takes.

    Attributes:
        name: Name in metrics: the call, `batch`, `beacon`, `pixel`, `rudder_pixel`, `metrics` or `token`.
        method: HTTP method; OPTIONS is answered beside it.
        takes: `event`: one event. `batch`: many. `pixel`: one event in the query string, answered with an image. `token`: a client's
            assertion, answered with an access token. `nothing`: the SDKs' own metrics, answered and thrown away.
        call: Type of an event that names none; empty unless `takes` is `event` or `pixel`.
        clients: Who calls it, for a person.
    """

    name: str
    method: Literal["GET", "POST"]
    takes: Literal["event", "batch", "pixel", "token", "nothing"]
    call: str = ""
    clients: str = ""


def _table() -> Iterator[tuple[str, Endpoint]]:
    for call in CALLS:
        yield f"/v1/{call}", Endpoint(call, "POST", "event", call, "HTTP users, RudderStack in the browser")
    for call in CALLS:
        yield f"/v1/{call[0]}", Endpoint(call, "POST", "event", call, "Segment in the browser, one event a request")
    yield "/v1/batch", Endpoint("batch", "POST", "batch", clients="Segment's and RudderStack's server SDKs, RudderStack in the browser")
    yield "/v1/b", Endpoint("batch", "POST", "batch", clients="Segment in the browser with batching, Kotlin, Swift, React Native")
    yield "/v1/import", Endpoint("batch", "POST", "batch", clients="Segment's Java, Ruby and Android SDKs")
    yield "/beacon/v1/batch", Endpoint("beacon", "POST", "batch", clients="RudderStack in the browser with `useBeacon`; the key in the query")
    for call in CALLS:
        yield f"/v1/pixel/{call}", Endpoint("pixel", "GET", "pixel", call, "e-mails, AMP pages; `data` or flat query fields")
    for call in ("track", "page"):
        yield f"/pixel/v1/{call}", Endpoint("rudder_pixel", "GET", "pixel", call, "RudderStack's pixel")
    yield "/token", Endpoint("token", "POST", "token", clients="Segment's server SDKs with OAuth, where the collector is their `authServer`")
    yield "/v1/m", Endpoint("metrics", "POST", "nothing", clients="SDKs about themselves; thrown away")


TABLE: Final[tuple[tuple[str, Endpoint], ...]] = tuple(_table())
"""Every path without a slash at its end, and what it takes."""

ENDPOINTS: Final[Mapping[str, Endpoint]] = MappingProxyType(
    {f"{lead}{path}{slash}": endpoint for path, endpoint in TABLE for lead in ("", "/") for slash in ("", "/")}
)
"""Every spelling of every path of the tracking API. Two slashes lead it where the address that an SDK was given ends in one (analytics-go 3.3)."""
