"""Large batches in parts: the same as at once, and no turn with more than a bounded piece of work."""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest import ENDPOINTS, Accepted, Refused, Request, WriteKeys, collect, collect_in_turns, refusals, slices
from pipeline.ingest.slices import MARKS_AT_ONCE, VALUES_MOST, Parts, parts_of
from pipeline.model import json_text, odd_json
from pipeline.model.workspace import Source, Workspace

MODULE = sys.modules["pipeline.ingest.collect"]
WORKSPACE = Workspace("shop", version=1, sources={"web": Source("web", ("demo",))})
KEYS = WriteKeys({"demo": "web"})
TEXTS = st.text(alphabet='ab"\\[]{},: \u20ac\n', max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8)
EVENT = b'{"type":"track","event":"E","userId":"u","messageId":"m"'


def whole(text: bytes) -> Parts | Refused:
    """Cut a text, in one go."""
    cutting = parts_of(text)
    while True:
        try:
            next(cutting)
        except StopIteration as cut:
            parts: Parts | Refused = cut.value
            return parts


def request(body: bytes, *, keyed: bool = True) -> Request:
    """Make a request for a batch."""
    headers = {"authorization": "Basic ZGVtbzo="} if keyed else {}
    return Request(ENDPOINTS["/v1/batch"], headers, "", body, "127.0.0.1", 1, "n/1", authorization=headers.get("authorization"))


@given(st.dictionaries(TEXTS, VALUES, max_size=3), st.lists(VALUES, max_size=6), st.booleans())
def test_the_parts_are_the_whole(envelope: dict[str, Any], items: list[Any], indented: bool) -> None:  # noqa: FBT001 (hypothesis)
    """Whatever stands in it: the events are cut where they end, and what is left is the envelope."""
    batch = {**envelope, "batch": items}
    text = orjson.dumps(batch, option=orjson.OPT_INDENT_2 if indented else None)
    parts = whole(text)
    assert isinstance(parts, Parts)
    assert [orjson.loads(item) for item in parts.items] == items
    assert orjson.loads(parts.envelope) == {**envelope, "batch": None}


def values_in(value: Any) -> int:  # noqa: ANN401 (any JSON value)
    """Count the values of one, itself among them."""
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(values_in, members))


@given(VALUES, st.booleans())
def test_no_count_is_less_than_there_are_values(value: Any, indented: bool) -> None:  # noqa: ANN401, FBT001 (hypothesis)
    """Neither the one at sight nor the other, so that no text with too many of them is read at once."""
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2 if indented else None)
    assert values_in(value) <= min(slices._values_most_at_sight(text), slices._values_most(text))


BROKEN = [
    b'{"batch":[{},]}',
    b'{"batch":[,{}]}',
    b'{"batch":[{}{}]}',
    b'{"batch":[{},,{}]}',
    b'{"batch":[{} 1]}',
    b'{"batch":[{},"a]}',
    b'{"batch":[{}]',
    b'{"batch":[{}]}}',
    b'{"batch":[{"a":}]}',
    b'{"batch":[{"a":1]]}',
    b'{"batch":[{}]} x',
    b'{"batch" [{}]}',
    b"]",
    b'[{"batch":[]}]',
    b'{"bitch":[{}]}',
    b'{"a":{"batch":[{}]}}',
    b'{"batch":{"batch":[]}}',
    b'{"batch":[{"userId":"\xff"}]}',
]


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_no_batch_at_once_is_none_in_parts(text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same refusal by both ways."""
    at_once = collect(request(text), KEYS, WORKSPACE)
    monkeypatch.setattr(MODULE, "many_values", lambda one: one == text)
    assert isinstance(at_once, Refused)
    assert collect(request(text), KEYS, WORKSPACE) == at_once


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        b'{"sentAt":"2026-01-01T00:00:00Z","context":{"a":1},"batch":[%s},%s,"n":NaN},1,{"type":"x"},%s,"a":1,"a":2}],"writeKey":"demo"}'
        % ((EVENT,) * 3),
        b'\xef\xbb\xbf{"b\\u0061tch" : [ %s,"writeKey":"demo"} ] , "integrations":{"x":NaN}}' % EVENT,
        b'{"batch":[]}',
        b'{"batch":[%s,"writeKey":"other"},%s}]}' % (EVENT, EVENT),
    ],
)
def test_a_batch_in_parts_is_judged_as_at_once(text: bytes, keyed: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 (pytest)
    """Records, dead letters, counts, tags of what was replaced."""
    at_once = collect(request(text, keyed=keyed), KEYS, WORKSPACE)
    monkeypatch.setattr(MODULE, "many_values", lambda one: one == text)
    assert collect(request(text, keyed=keyed), KEYS, WORKSPACE) == at_once


LARGE = {
    "8 MiB of empty arrays": (b'{"batch":[' + b"[]," * 2_700_000 + b"[]]}", refusals.TOO_MANY_VALUES),
    "8 MiB of numbers": (b'{"batch":[' + b"0," * 4_000_000 + b"0]}", refusals.TOO_MANY_VALUES),
    "an event of 8 MiB of empty arrays": (b'{"batch":[{"a":[' + b"[]," * 2_700_000 + b"[]]}]}", refusals.TOO_MANY_VALUES),
    "an envelope of 8 MiB of numbers": (b'{"a":[' + b"0," * 4_000_000 + b'0],"batch":[]}', refusals.TOO_MANY_VALUES),
    "more events than there may be": (b'{"batch":[' + b"[]," * 400_000 + b"[]]}", refusals.BATCH_TOO_LONG),
    "events of 15,000 empty arrays": (b'{"batch":[' + b",".join([b'{"a":[' + b"[]," * 15_000 + b"[]]}"] * 30) + b"]}", None),
    "2,500 events of 150 odd values": (b'{"batch":[' + b",".join([EVENT + b',"p":[' + b"NaN," * 150 + b"1]}"] * 2_500) + b"]}", None),
    "a text without end": (b'{"batch":["' + b'\\"' * 4_000_000, refusals.INVALID_JSON),
    "brackets alone": (b"[" * 900_000 + b",,,,,", refusals.NOT_A_BATCH),
    "texts without commas": (b'{"batch":[' + b'""' * 2_000_000 + b"," * 40_000 + b"]}", refusals.INVALID_JSON),
}


@pytest.mark.parametrize("name", LARGE)
def test_no_turn_does_more_than_a_piece_of_the_work(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two turns: at most so many brackets are looked at, and so many values read, quickly or exactly."""
    text, wanted = LARGE[name]
    marks, values = 0, 0
    take = slices._Cutting.take
    decode_marked, read = json_text.decode_marked, odd_json.read

    def counted_take(self: Any, mark: Any) -> None:  # noqa: ANN401 (as what it wraps)
        nonlocal marks
        marks += 1
        take(self, mark)

    def counted(decode: Any) -> Any:  # noqa: ANN401 (as what it wraps)
        def decoding(one: bytes, *rest: Any) -> Any:  # noqa: ANN401 (as above)
            nonlocal values
            values += slices._values_most(one)
            return decode(one, *rest)

        return decoding

    monkeypatch.setattr(slices._Cutting, "take", counted_take)
    monkeypatch.setattr(json_text, "decode_marked", counted(decode_marked))
    monkeypatch.setattr(odd_json, "read", counted(read))
    turns: Generator[None, None, Accepted | Refused] = collect_in_turns(request(text), KEYS, WORKSPACE)
    most_marks = most_values = 0
    verdict = None
    while verdict is None:
        marks = values = 0
        try:
            next(turns)
        except StopIteration as decided:
            verdict = decided.value
        most_marks, most_values = max(most_marks, marks), max(most_values, values)
    assert verdict == wanted if wanted is not None else isinstance(verdict, Accepted) and len(verdict.outputs) in {30, 2_500}
    assert most_marks <= MARKS_AT_ONCE
    assert most_values <= 2 * 2 * VALUES_MOST
