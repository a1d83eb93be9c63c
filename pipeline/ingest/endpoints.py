"""The paths that SDKs post to, each with and without a slash at its end (reference: tracking-api §1). None is ever redirected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

CALLS: Final = ("identify", "track", "page", "screen", "group", "alias")
"""The calls of the spec; a short path is the first letter of one."""


class Endpoint(NamedTuple):
    """What a path takes.

    Attributes:
        name: Name in metrics: the call, `batch` or `metrics`.
        takes: `event`: one event. `batch`: many. `nothing`: the SDKs' own metrics, answered and thrown away.
        call: Type of an event that names none; empty unless `takes` is `event`.
    """

    name: str
    takes: Literal["event", "batch", "nothing"]
    call: str = ""


def _paths() -> Iterator[tuple[str, Endpoint]]:
    for call in CALLS:
        yield call, Endpoint(call, "event", call)
        yield call[0], Endpoint(call, "event", call)
    for path in ("batch", "b", "import"):
        yield path, Endpoint("batch", "batch")
    yield "m", Endpoint("metrics", "nothing")


ENDPOINTS: Final[Mapping[str, Endpoint]] = MappingProxyType({f"/v1/{path}{slash}": endpoint for path, endpoint in _paths() for slash in ("", "/")})
"""Every path of the tracking API that is posted to."""
