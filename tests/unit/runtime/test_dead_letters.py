"""A dead letter is the record as it was, and says where, why and when it died."""

from __future__ import annotations

from pipeline.model.limits import DETAIL_BYTES
from pipeline.model.record import Record
from pipeline.runtime.dead_letters import dead_letter
from pipeline.testing import record


def died(input_record: Record, at_ms: int = 7, detail: str = "") -> Record:
    """Kill a record, and give what lies in the dead letters."""
    output = dead_letter(input_record, topic="test.dead.filter", stage="filter", reason="crashed", detail=detail, config=3, at_ms=at_ms)
    return Record(output.topic, 0, 0, at_ms, output.key, output.value, output.headers)


def test_key_value_and_headers_are_untouched() -> None:
    """The record's own headers come first, in their order, repeated ones too."""
    own = (("b", b"1"), ("a", b"2"), ("b", b"3"))
    letter = died(record(b"\xff", key=None)._replace(headers=own))
    assert (None, b"\xff", own) == (letter.key, letter.value, letter.headers[:3])
    assert letter.headers[3:] == died(record(b"\xff")).headers


def test_a_second_death_keeps_the_time_of_the_first() -> None:
    """What died before says when it first did, and where it died last; its old reason is gone."""
    first = died(record(topic="test.raw", partition=3, offset=5), at_ms=7)
    second = dict(died(first, at_ms=9).headers)
    assert (b"7", b"9", b"test.dead.filter") == (second["dead_first_failure"], second["dead_last_failure"], second["dead_topic"])
    assert len(first.headers) == len(second)


def test_the_attempt_is_the_requests() -> None:
    """A request that was tried says how often; anything else was tried never."""
    assert b"4" == dict(died(record(headers={"attempt": b"4"})).headers)["dead_attempt"]
    assert b"0" == dict(died(record()).headers)["dead_attempt"]


def test_details_are_short_and_always_text() -> None:
    """A long detail is cut by its bytes, and lone surrogates do no harm."""
    assert DETAIL_BYTES == len(dict(died(record(), detail="ż" * 5_000).headers)["dead_detail"])
    assert b"?" == dict(died(record(), detail="\ud800").headers)["dead_detail"]
