"""`raw` takes what anyone writes: no size, header or name in it may stop a partition, or grow what the pipeline itself writes."""

from __future__ import annotations

import orjson
import pytest

from pipeline.model import limits
from pipeline.model.ledger import Row, ledger_value
from pipeline.model.outcomes import Dead, Outcome
from pipeline.model.record import Message, Output, Record
from pipeline.runtime.dead_letters import dead_letter
from pipeline.runtime.judgement import Judged, Plan, judge
from pipeline.testing import event, record

LANES = {"main": "validated", "dead": "dead.{stage}", "raw": "raw"}
MOST = limits.TOPIC_MESSAGE_BYTES


def judged(*records: Record, outcome: Outcome | None = None) -> Judged:
    """Judge what lies in raw with one step that has one outcome for all."""

    def step(_message: Message) -> Outcome | None:
        return outcome

    result = Judged()
    judge(records, Plan("test", 3, (("validate", step),), LANES, trusted=False), result, at_ms=7)
    return result


def size(output: Output) -> int:
    """Count what a broker counts, but for a few bytes of framing."""
    return len(output.key or b"") + len(output.value or b"") + sum(len(name) + len(value or b"") for name, value in output.headers)


@pytest.mark.parametrize(
    "hostile",
    [
        record(b" " * (MOST - 100) + orjson.dumps(event())),
        record(b" " * 10 * MOST + orjson.dumps(event())),
        record(event(), headers={"x": b"v" * (MOST - 1000)}),
        record(event(), headers={f"{number:07}": b"" for number in range(MOST // 16)}),
        record(event(), headers={"x" * (limits.HEADERS_BYTES + 1): b""}),
        record(b"{", key=b"k" * (MOST - 100)),
    ],
    ids=["a value that leaves no room", "a value that came compressed", "a long header", "many headers", "a long name", "a long key"],
)
def test_what_a_topic_could_not_take_again_dies_and_fits(hostile: Record) -> None:
    """The broker refuses none of what is written about it, and the next record goes on."""
    result = judged(hostile, record(event(event="Next")))
    assert ["test.dead.validate", "test.validated"] == [output.topic for output in result.outputs]
    assert all(size(output) < MOST - 16_384 for output in result.outputs)
    assert {"passed": 1, "dropped": 0, "dead": 1, "blocked": 0} == result.tally.totals()


def test_what_a_dead_letter_leaves_out_it_says() -> None:
    """The beginning of the value is kept; the detail has the full sizes."""
    hostile = record(b"a" * (MOST + 1), key=b"k" * 9000)._replace(headers=(("x", b"v" * 140_000), ("y", None)))  # type: ignore[arg-type]  # Kafka has null headers
    letter = dead_letter(hostile, topic="test.dead.filter", stage="filter", reason="crashed", detail="Bug", config=3, at_ms=7)
    assert (None, b"a" * limits.LETTER_BYTES) == (letter.key, letter.value)
    assert b"140002 bytes of headers" in dict(letter.headers)["dead_detail"]
    assert b"key of 9000 bytes" in dict(letter.headers)["dead_detail"]
    assert b"of its 2097153 bytes are kept) Bug" in dict(letter.headers)["dead_detail"]


def test_a_source_that_nobody_knows_is_in_no_ledger() -> None:
    """A name in a header of raw is anyone's text, of any length: only a source that validate has named is counted under its name."""
    strangers = [record(event(), headers={"source": b"%d" % number * 3000}) for number in range(200)]
    result = judged(*strangers, outcome=Dead("unknown_source"))
    assert {Row("", "track", "", "dead", "unknown_source"): 200} == {row._replace(event=""): count for row, count in result.tally.rows.items()}
    value = ledger_value(result.tally, processor="validate", topic="raw", partition=0, start=0, end=200, at_ms=7)
    assert 200 == orjson.loads(value)["in"]
    assert len(value) < 1000
