"""Steps that look at a few members of a body are the steps that see all of it, byte for byte."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from pipeline.assembly import Judges, build_steps
from pipeline.model.json_text import encode
from pipeline.model.outcomes import NarrowStep
from pipeline.model.record import Record
from pipeline.model.topology import Processor, Topology
from pipeline.model.workspace import Destination, Filter, Source, Storage, Workspace
from pipeline.runtime.judgement import EXACT, Judged, Plan, judge

FILTER = Processor("filter", "enriched", steps=("filter",), lanes={"main": "routed", "dead": "dead.{stage}"})
NAMES = st.sampled_from(["type", "event", "integrations", "properties", "context", "All", "crm", "plan"])
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(["track", "page", "Debug", "plus"])
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | TEXTS, inner, max_size=5),
    max_leaves=20,
)
BODIES = st.dictionaries(NAMES | TEXTS, JSON, max_size=8) | JSON


def built(*queries: str) -> NarrowStep:
    """Build the filter of a workspace whose destination has these filters."""
    crm = Destination("crm", "webhook", sources=("web",), filters=tuple(Filter(query) for query in queries), except_events=("Debug",))
    workspace = Workspace(
        "test", 1, sources={"web": Source("web")}, destinations={"crm": crm}, storage={"lake": Storage("lake", "parquet", ("web",))}
    )
    ((_, step),) = build_steps(FILTER, "", workspace, Judges(Topology("test", {"filter": FILTER}), {}, str))
    assert isinstance(step, NarrowStep)
    return step


STEP = built('type = "track" and properties.plan = "plus"', "context.plan = 5")


def judged(step: Any, *records: Record) -> Judged:  # noqa: ANN401 (a step or its inside)
    """Judge records at time 7 with a step alone."""
    result = Judged()
    judge(records, Plan("test", 3, (("filter", step),), FILTER.lanes, trusted=True), result, at_ms=7)
    return result


@given(BODIES)
def test_a_narrow_step_writes_what_the_whole_would_be_written_as(body: Any) -> None:  # noqa: ANN401 (any JSON value)
    """What the pipeline wrote is passed on with the same bytes, headers and counts as if all of it had been read and written again."""
    value = encode(body)
    exact = () if value == _plainly(body) else ((EXACT, b"1"),)
    record = Record("test.enriched", 1, 5, 7, b"k", value, (("source", b"web"), *exact))
    narrow, whole = judged(STEP, record), judged(STEP.step, record)
    assert whole.outputs == narrow.outputs
    assert (whole.tally.rows, whole.tally.lanes, whole.bytes) == (narrow.tally.rows, narrow.tally.lanes, narrow.bytes)


def _plainly(body: Any) -> bytes | None:  # noqa: ANN401 (any JSON value)
    """Write without integers beyond 64 bits, whose events bear a header."""
    try:
        return orjson.dumps(body)
    except TypeError:
        return None


def test_what_a_narrow_step_does_not_look_at_is_passed_on_unread() -> None:
    """Bytes that nobody has to read are not read: spaces between them stay."""
    record = Record("test.enriched", 1, 5, 7, b"k", b'{"type":"page", "properties":{"price": 1.50}}', (("source", b"web"),))
    assert record.value == judged(built(), record).outputs[0].value
