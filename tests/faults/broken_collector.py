"""Deliberately broken collectors, to show that the tests of attacks can fail: each takes one defence away."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from pipeline.app.collector import bodies, listener, requests, server
from pipeline.ingest import Refused, body, collect, refusals
from pipeline.model import limits as sizes

_PATIENT_SECONDS: Final = 3600


def _unbounded_gunzip() -> None:
    body._gunzip = lambda packed: zlib.decompress(packed, 16 + zlib.MAX_WBITS)  # type: ignore[assignment]


def _bottomless() -> None:
    sizes.DEPTH = 2_000  # type: ignore[misc]  # a constant, otherwise


def _few_connections() -> None:
    server.most_connections = lambda: 512  # type: ignore[attr-defined]


def _patient() -> None:
    server.HEAD_SECONDS = _PATIENT_SECONDS  # type: ignore[attr-defined]
    bodies.BODY_SECONDS = float(_PATIENT_SECONDS)  # type: ignore[misc]


def _waits_for_readers() -> None:
    listener.UNREAD_SECONDS = _PATIENT_SECONDS  # type: ignore[misc]


def _long_heads() -> None:
    server.HEAD_BYTES = 64 * 1024 * 1024  # type: ignore[attr-defined]


def _any_coding() -> None:
    bodies._CODINGS = _Everything()  # type: ignore[misc, assignment]


class _Everything:
    """Contains whatever is asked for."""

    def __contains__(self, _one: object) -> bool:
        return True


def _crashes() -> None:
    take = requests.Application._take

    async def sometimes(self: Any, endpoint: Any, scope: Any, headers: Any, origin: Any, text: bytes, now: float) -> Any:  # noqa: ANN401 (as the method it breaks)
        if b"1e400" in text:
            return Refused(500, "internal_error", "")
        return await take(self, endpoint, scope, headers, origin, text, now)

    requests.Application._take = sometimes  # type: ignore[method-assign, assignment]


def _forgetful() -> None:
    take = requests.Application._take
    count = 0

    async def sometimes(self: Any, endpoint: Any, scope: Any, headers: Any, origin: Any, text: bytes, now: float) -> Any:  # noqa: ANN401 (as the method it breaks)
        nonlocal count
        count += 1
        outbox = self._outbox
        if count % 50 == 0:
            self._outbox = _Black()
        try:
            return await take(self, endpoint, scope, headers, origin, text, now)
        finally:
            self._outbox = outbox

    requests.Application._take = sometimes  # type: ignore[method-assign, assignment]


class _Black:
    """An outbox that says that it has stored what it threw away."""

    def has_room(self, _size: int) -> bool:
        return True

    async def put(self, _outputs: object, _size: int) -> bool:
        return True


def _whole_or_nothing() -> None:
    def broken(request: Any, keys: Any, workspace: Any) -> Any:  # noqa: ANN401 (as collect)
        verdict = collect(request, keys, workspace)
        bad = not isinstance(verdict, Refused) and any(outcome == "dead" for _, outcome in verdict.counts)
        return refusals.INVALID_JSON if bad else verdict

    requests.collect = broken  # type: ignore[attr-defined]


BROKEN: Final[Mapping[str, Callable[[], None]]] = {
    "any_coding": _any_coding,
    "bottomless": _bottomless,
    "crashes": _crashes,
    "few_connections": _few_connections,
    "forgetful": _forgetful,
    "long_heads": _long_heads,
    "patient": _patient,
    "unbounded_gunzip": _unbounded_gunzip,
    "waits_for_readers": _waits_for_readers,
    "whole_or_nothing": _whole_or_nothing,
}
