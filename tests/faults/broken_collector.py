"""Deliberately broken collectors, to show that the tests of attacks can fail: each takes one defence away."""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final
from uuid import uuid4

import orjson

from pipeline.app.collector import bodies, connection, limits, listener, outbox, requests, server
from pipeline.ingest import Refused, WriteKeys, body, collect, refusals
from pipeline.ingest.credentials import basic_key
from pipeline.ingest.webhook import delivery, signature
from pipeline.ingest.write_keys import Holder
from pipeline.model import json_text
from pipeline.model import limits as sizes

_PATIENT_SECONDS: Final = 3600


def _unbounded_gunzip() -> None:
    body._gunzip = lambda packed: zlib.decompress(packed, 16 + zlib.MAX_WBITS)  # type: ignore[assignment]


def _bottomless() -> None:
    sizes.DEPTH = 2_000  # type: ignore[misc]  # a constant, otherwise


def _few_connections() -> None:
    server.most_connections = lambda: 512  # type: ignore[attr-defined]


def _patient() -> None:
    listener.HEAD_SECONDS = _PATIENT_SECONDS  # type: ignore[misc]
    bodies.BODY_SECONDS = float(_PATIENT_SECONDS)  # type: ignore[misc]


def _waits_for_readers() -> None:
    listener.UNREAD_SECONDS = _PATIENT_SECONDS  # type: ignore[misc]


def _long_heads() -> None:
    listener.HEAD_BYTES = 64 * 1024 * 1024  # type: ignore[misc]
    connection.HEADERS_MOST = 1_000_000  # type: ignore[misc]


def _any_coding() -> None:
    bodies._CODINGS = _Everything()  # type: ignore[misc, assignment]


class _Everything:
    """Contains whatever is asked for."""

    def __contains__(self, _one: object) -> bool:
        return True


def _crashes() -> None:
    take = requests.Application._take

    def sometimes(self: Any, taking: Any, text: bytes | Refused) -> None:  # noqa: ANN401 (as the method it breaks)
        take(self, taking, Refused(500, "internal_error", "") if not isinstance(text, Refused) and b"1e400" in text else text)

    requests.Application._take = sometimes  # type: ignore[method-assign, assignment]


def _forgetful() -> None:
    give = outbox.Outbox.give
    count = 0

    def sometimes(self: Any, outputs: Any, size: int, told: Any) -> None:  # noqa: ANN401 (as the method it breaks)
        nonlocal count
        count += 1
        if count % 50 == 0:
            told(True)  # noqa: FBT003 (as it is declared)
        else:
            give(self, outputs, size, told)

    outbox.Outbox.give = sometimes  # type: ignore[method-assign]


def _read(change: Callable[[bytes], bytes], settle: Callable[[Any], Any] = lambda value: value) -> None:
    """Change the text of bodies before they are read, and what was read of them."""
    decode = json_text.decode_marked

    def changed(text: bytes, write: Callable[[Any], bytes] | None = None) -> tuple[Any, bool]:
        del write  # with a text that it wrote, a record would be whole again
        value, odd = decode(change(text))
        return settle(value), odd

    json_text.decode_marked = changed


def _rounds_numbers() -> None:
    """Carry integers as doubles, as a reader of JavaScript does."""
    _read(lambda text: re.sub(rb"(?<=[:\[])-?\d{16,400}(?=[,}\]])", lambda number: repr(float(number[0])).encode(), text))


def _cuts_texts() -> None:
    """End a text at NUL, as C does."""
    _read(lambda text: re.sub(rb'\\u0000[^"]*', b"", text))


def _folded(value: Any) -> Any:  # noqa: ANN401 (any JSON value)
    if isinstance(value, dict):
        return {re.sub(r"[^a-z]", "", name.lower()) if name not in _SPEC else name: _folded(one) for name, one in value.items()}
    return [_folded(one) for one in value] if isinstance(value, list) else value


_SPEC: Final = ("messageId", "userId", "anonymousId")


def _folds_keys() -> None:
    _read(lambda text: text, _folded)


def _neat_texts() -> None:
    """Strip what a spreadsheet would take for a formula."""
    _read(lambda text: text.replace(b'"=', b'"'))


def _talkative() -> None:
    take = requests.Application._take

    def told(self: Any, taking: Any, text: bytes | Refused) -> None:  # noqa: ANN401 (as the method it breaks)
        if not isinstance(text, Refused):
            print(orjson.loads(text).get("event") if text.endswith(b"}") else text, file=sys.stderr, flush=True)
        take(self, taking, text)

    requests.Application._take = told  # type: ignore[method-assign, assignment]


def _believes_all() -> None:
    delivery.unproved = lambda *_: None  # type: ignore[attr-defined]


def _ageless() -> None:
    signature._age_fault = lambda *_: None


def _rereads() -> None:
    """Sign what the body says, not its bytes."""
    signed = signature._signed

    def compact(template: str, headers: Any, body: bytes, stamp: str) -> bytes:  # noqa: ANN401 (as the function it breaks)
        return signed(template, headers, orjson.dumps(orjson.loads(body)), stamp)

    signature._signed = compact


def _new_ids() -> None:
    made = delivery.calls_of  # type: ignore[attr-defined]

    def calls_of(*arguments: Any) -> list[dict[str, Any]]:  # noqa: ANN401 (as the function it breaks)
        return [{**call, "messageId": str(uuid4())} for call in made(*arguments)]

    delivery.calls_of = calls_of  # type: ignore[attr-defined, assignment]


def _whole_or_nothing() -> None:
    def broken(request: Any, keys: Any, workspace: Any) -> Any:  # noqa: ANN401 (as collect)
        verdict = collect(request, keys, workspace)
        bad = not isinstance(verdict, Refused) and any(outcome == "dead" for _, outcome in verdict.counts)
        yield
        return refusals.INVALID_JSON if bad else verdict

    requests.collect_in_turns = broken  # type: ignore[attr-defined]


def _compares_letters() -> None:
    def of(_self: Any, key: Any) -> Holder | None:  # noqa: ANN401 (as the method it breaks)
        return next((Holder("app", "") for one in _collector_keys() if isinstance(key, str) and _same(one, key)), None)

    WriteKeys.of = of  # type: ignore[method-assign, assignment]
    WriteKeys.of_header = lambda self, authorization: self.of(basic_key(authorization or ""))  # type: ignore[method-assign]


def _collector_keys() -> list[str]:
    """Give the keys that the collector under attack knows, in clear."""
    from tests.faults.collector_member import KEYS  # noqa: PLC0415 (it imports this)

    return list(KEYS)


def _same(one: str, other: str) -> bool:
    """Compare letter by letter up to the first that differs, in a way that costs some microseconds for each."""
    for mine, theirs in zip(one, other, strict=False):
        if sha256(mine.encode() * 500).digest() != sha256(theirs.encode() * 500).digest():
            return False
    return len(one) == len(other)


def _names_disabled() -> None:
    def broken(request: Any, keys: Any, workspace: Any) -> Any:  # noqa: ANN401 (as collect)
        verdict = collect(request, keys, workspace)
        return refusals.SOURCE_DISABLED if isinstance(verdict, Refused) and verdict.key else verdict

    requests.collect = broken  # type: ignore[attr-defined]


def _unbounded_guesses() -> None:
    limits.GUESSES_AT_ONCE = 1e9  # type: ignore[misc]


BROKEN: Final[Mapping[str, Callable[[], None]]] = {
    "ageless": _ageless,
    "any_coding": _any_coding,
    "believes_all": _believes_all,
    "bottomless": _bottomless,
    "compares_letters": _compares_letters,
    "crashes": _crashes,
    "cuts_texts": _cuts_texts,
    "few_connections": _few_connections,
    "folds_keys": _folds_keys,
    "forgetful": _forgetful,
    "long_heads": _long_heads,
    "names_disabled": _names_disabled,
    "neat_texts": _neat_texts,
    "new_ids": _new_ids,
    "patient": _patient,
    "rereads": _rereads,
    "rounds_numbers": _rounds_numbers,
    "talkative": _talkative,
    "unbounded_guesses": _unbounded_guesses,
    "unbounded_gunzip": _unbounded_gunzip,
    "waits_for_readers": _waits_for_readers,
    "whole_or_nothing": _whole_or_nothing,
}
