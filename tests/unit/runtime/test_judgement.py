"""Records go through the steps: one outcome each, counted, and written once."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from pipeline.model.ledger import Row
from pipeline.model.outcomes import Blocked, Dead, Drop, Emit, Emits, Outcome, Step
from pipeline.model.record import Message, Output, Record
from pipeline.runtime.judgement import EXACT, Judged, Plan, dead_stage, judge
from pipeline.testing import event, record

LANES = {"main": "out", "dead": "dead.{stage}", "blocked": "blocked", "raw": "raw", "requests": "requests.{destination}"}


def a_plan(*steps: Step, trusted: bool = True, names: tuple[str, ...] = ("validate", "enrich")) -> Plan:
    """Make a plan of steps at version 3."""
    return Plan("test", 3, tuple(zip(names, steps, strict=False)), LANES, trusted)


def judged(plan: Plan, *records: Record) -> Judged:
    """Judge records at time 7."""
    result = Judged()
    judge(records, plan, result, at_ms=7)
    return result


def ends(outcome: Outcome | None) -> Callable[[Message], Outcome | None]:
    """Make a step with one outcome for all."""
    return lambda _message: outcome


def headers(output: Output) -> dict[str, bytes]:
    """Give headers by name."""
    return dict(output.headers)


def test_a_message_that_goes_on_is_written_to_main() -> None:
    """What all steps let through is written as they left it, with the version that judged it."""

    def change(message: Message) -> None:
        message.body["added"] = 1
        message.headers["new"] = b"x"
        message.key = b"other"

    result = judged(a_plan(ends(None), change), record(b'{"type":"track","event":"A"}', headers={"source": b"web", "config": b"1"}))
    assert [Output("test.out", b"other", b'{"type":"track","event":"A","added":1}', (("source", b"web"), ("new", b"x"), ("config", b"3")))] == (
        result.outputs
    )
    assert {Row("web", "track", "A", "passed"): 1} == result.tally.rows
    assert {"main": 1} == result.tally.lanes
    assert len(result.outputs[0].value or b"") == result.bytes


def test_a_drop_is_counted_and_written_nowhere() -> None:
    """The reason is counted; steps after it see nothing."""
    result = judged(a_plan(ends(Drop("duplicate")), _never), record(event(event="A"), headers={"source": b"web"}))
    assert [] == result.outputs
    assert {Row("web", "track", "A", "dropped", "duplicate"): 1} == result.tally.rows
    assert {"passed": 0, "dropped": 1, "dead": 0, "blocked": 0} == result.tally.totals()


def test_what_dies_is_kept_as_it_came() -> None:
    """The original bytes, key and headers go to the stage's dead letters, whatever steps did to the message before."""

    def spoil(message: Message) -> Outcome:
        message.body.clear()
        message.headers.clear()
        message.key = None
        return Dead("rejected", "/properties is wrong")

    original = record(b'{"type": "track" }', headers={"source": b"web"}, partition=2, offset=9)
    result = judged(a_plan(ends(None), spoil), original)
    (dead,) = result.outputs
    assert ("test.dead.enrich", b"a-1", b'{"type": "track" }', b"web") == (dead.topic, dead.key, dead.value, headers(dead)["source"])
    assert {
        "dead_stage": b"enrich",
        "dead_reason": b"rejected",
        "dead_detail": b"/properties is wrong",
        "dead_topic": b"test.raw",
        "dead_partition": b"2",
        "dead_offset": b"9",
        "dead_attempt": b"0",
        "dead_first_failure": b"7",
        "dead_last_failure": b"7",
        "dead_config": b"3",
    } == {name: value for name, value in dead.headers if name.startswith("dead_")}
    assert {"dead": 1} == result.tally.lanes


def test_what_is_blocked_is_kept_apart() -> None:
    """A blocked record goes whole to the topic blocked."""
    result = judged(a_plan(ends(Blocked("unplanned"))), record(b'{"type":"track"}', headers={"source": b"web"}))
    assert [Output("test.blocked", b"a-1", b'{"type":"track"}', (("source", b"web"),))] == result.outputs
    assert {Row("web", "track", "", "blocked", "unplanned"): 1} == result.tally.rows


def test_emits_go_to_their_lanes() -> None:
    """Each record goes to the topic of its lane; the input counts as passed, under the destination where there is one only."""
    one, two = (Emit("requests", b"k", b"v", (("h", b"1"),), name) for name in ("crm", "mail"))
    both = judged(a_plan(ends(Emits((one, two)))), record())
    assert [Output("test.requests.crm", b"k", b"v", (("h", b"1"),)), Output("test.requests.mail", b"k", b"v", (("h", b"1"),))] == both.outputs
    assert {"requests": 2} == both.tally.lanes
    assert {"passed": 1, "dropped": 0, "dead": 0, "blocked": 0} == both.tally.totals()
    assert [""] == [row.destination for row in both.tally.rows]
    assert ["crm"] == [row.destination for row in judged(a_plan(ends(Emits((one, one)))), record()).tally.rows]
    assert ["test.raw"] == [output.topic for output in judged(a_plan(ends(Emits((Emit("raw", b"k", b"v"),)))), record()).outputs]


def test_a_crash_ends_one_record_only() -> None:
    """An exception in a step sends its record to dead letters as crashed, without its text, and the others go on."""

    def crash(message: Message) -> None:
        if message.body["event"] == "bad":
            raise ZeroDivisionError(message.body["email"])

    records = [record(event(event=name, email="ada@example.com"), offset=number) for number, name in enumerate(("good", "bad", "fine"))]
    result = judged(a_plan(ends(None), crash), *records)
    assert ["test.out", "test.dead.enrich", "test.out"] == [output.topic for output in result.outputs]
    dead = headers(result.outputs[1])
    assert b"crashed" == dead["dead_reason"]
    assert re.fullmatch(rb"ZeroDivisionError at [\w.]*test_judgement:\d+", dead["dead_detail"])
    assert 1 == len(result.crashes)
    assert {"passed": 2, "dropped": 0, "dead": 1, "blocked": 0} == result.tally.totals()


@pytest.mark.parametrize("value", [b"", b"{", b"\xff", b'{"a":1}}', b"[" * 100_000])
@pytest.mark.parametrize("trusted", [True, False])
def test_what_is_no_json_dies_in_the_first_step(value: bytes, *, trusted: bool) -> None:
    """Bytes that are no JSON are kept under the first step's stage; no step sees them."""
    result = judged(a_plan(_never, trusted=trusted), record(value))
    assert ["test.dead.validate"] == [output.topic for output in result.outputs]
    assert value == result.outputs[0].value
    assert {Row("", "", "", "dead", "invalid_json"): 1} == result.tally.rows


def test_a_tombstone_dies_too() -> None:
    """A record without value is no event."""
    result = judged(a_plan(_never), record()._replace(value=None))
    assert [("test.dead.validate", None)] == [(output.topic, output.value) for output in result.outputs]


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64 - 1, 2**64, 2**70, -(2**70)])
def test_integers_stay_exact_over_two_processors(number: int) -> None:
    """An integer of any size is written as it was read; the header tells the next processor to read it exactly."""
    text = b'{"n":%d}' % number
    first = judged(a_plan(ends(None), trusted=False), record(text)).outputs[0]
    assert text == first.value
    assert (abs(number) > 2**64 - 1) == (EXACT in headers(first))
    again = Record("test.out", 0, 0, 0, first.key, first.value, first.headers)
    second = judged(a_plan(ends(None), trusted=True), again).outputs[0]
    assert (first.value, first.headers) == (second.value, second.headers)


def test_withheld_destinations_are_counted_beside_the_verdict() -> None:
    """Where a message does not go is a row of its own and does not count as an input."""

    def withhold(message: Message) -> None:
        message.withheld += [("crm", "filtered_by_rules"), ("mail", "destination_disabled")]

    result = judged(a_plan(withhold), record(event(event="A"), headers={"source": b"web"}))
    assert {
        Row("web", "track", "A", "passed"): 1,
        Row("web", "track", "A", "withheld", "filtered_by_rules", "crm"): 1,
        Row("web", "track", "A", "withheld", "destination_disabled", "mail"): 1,
    } == result.tally.rows
    assert 1 == sum(result.tally.totals().values())


@pytest.mark.parametrize("body", [b"7", b"[]", b'{"type":7}', b'{"type":"track","event":{"a":1}}', b'{"type":"' + b"x" * 99 + b'"}'])
def test_rows_name_only_what_is_bounded(body: bytes) -> None:
    """Whatever the body is, type and event of its row are short texts or empty."""
    (row,) = judged(a_plan(ends(Drop("x"))), record(body)).tally.rows
    assert row.type in ("", "track")
    assert "" == row.event


def test_dedup_shares_the_dead_letters_of_validate() -> None:
    """Every step has its own stage but dedup."""
    assert ("validate", "validate", "filter") == tuple(dead_stage(step) for step in ("validate", "dedup", "filter"))


def _never(_message: Message) -> Outcome | None:
    raise AssertionError("no step should see this")


def test_each_refusal_costs_the_destination_whose_request_is_largest() -> None:
    """One tool's oversized request takes nothing from the others: they keep theirs, and the dead letter names the tool."""
    sizes = {"crm": 10, "lake-tool": 30, "mail": 20}
    emits = Emits(tuple(Emit("requests", b"k", b"x" * size, (), name) for name, size in sizes.items()))
    plan = a_plan(ends(emits), names=("translate",))
    expected = [
        (("refused",), ["crm", "mail"], ["lake-tool"], True),
        (("refused", "again"), ["crm"], ["lake-tool", "mail"], True),
        (("refused", "again", "again"), [], ["lake-tool", "mail", "crm"], False),
    ]
    for times, kept, dead, spared in expected:
        result = Judged()
        judge([record(event(event="A"), headers={"source": b"web"})], plan, result, at_ms=7, refused={0: times})
        written = [output.topic.removeprefix("test.requests.") for output in result.outputs if output.topic != "test.dead.translate"]
        letters = [headers(output) for output in result.outputs if output.topic == "test.dead.translate"]
        assert (kept, spared) == (written, result.spared)
        assert [(name.encode(), b"output_too_large") for name in dead] == [(one["dead_destination"], one["dead_reason"]) for one in letters]
        ended = (
            Row("web", "track", "A", "passed", "", kept[0] if len(kept) == 1 else "")
            if kept
            else Row("web", "track", "A", "dead", "output_too_large")
        )
        withheld = {Row("web", "track", "A", "withheld", "output_too_large", name): 1 for name in dead}
        assert {ended: 1, **withheld} == result.tally.rows


def test_a_refused_event_of_one_destination_is_dead() -> None:
    """Where there is nobody to spare the whole event is dead, and what the steps end it with otherwise stays."""
    only = Emits((Emit("requests", b"k", b"x", (), "crm"),))
    dead = Row("web", "track", "A", "dead", "output_too_large")
    for outcome, row in ((only, dead), (None, dead), (Drop("duplicate"), Row("web", "track", "A", "dropped", "duplicate"))):
        result = Judged()
        judge([record(event(event="A"), headers={"source": b"web"})], a_plan(ends(outcome)), result, at_ms=7, refused={0: ("refused",)})
        assert {row: 1} == result.tally.rows
        assert not result.spared
