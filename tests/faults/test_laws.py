"""The laws on hand-made sets: each of them holds where it should, and fails on a violation of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.laws import (
    Seen,
    Verdict,
    bounded,
    concurrent_reader,
    conserved,
    hold,
    in_order,
    intact,
    no_duplicate,
    no_invention,
    no_loss,
    recovered,
    repeated_with_one_id,
)
from tests.faults.sent import Event, Sent, SentLedger, digest, event_of, read_sent

EVENTS = {f"m{number}": Event("web", "ada", number, f"m{number}", f"sum{number}") for number in range(6)}
SENT = Sent(EVENTS, frozenset({"m0", "m1", "m2"}), frozenset({"m3"}), frozenset({"m4"}), copies=3)


def seen(*numbers: int, user: str = "ada") -> list[Seen]:
    """Records as a reader gets them."""
    return [Seen(user, number, f"m{number}", f"sum{number}") for number in numbers]


@pytest.mark.parametrize(
    ("law", "violations"),
    [
        (no_loss(SENT, {"m0"}, {"m1"}, {"m2"}), ()),
        (no_loss(SENT, {"m0", "m3"}, {"m1"}), ("m2",)),
        (no_duplicate({"m0": 1, "m1": 1}), ()),
        (no_duplicate({"m0": 1, "m1": 2}), ("m1 2 times",)),
        (no_invention(SENT, {"m0", "m3"}), ()),
        (no_invention(SENT, {"m0", "m4"}, {"alien"}), ("alien", "m4")),
        (in_order([*seen(0, 2), *seen(1, user="bob"), *seen(3)]), ()),
        (in_order(seen(0, 2, 1, 3)), ("m1 after 2",)),
        (intact(SENT, seen(0, 1)), ()),
        (intact(SENT, [Seen("ada", 0, "m0", "another sum")]), ("m0",)),
        (conserved([("filter", 3, 3)]), ()),
        (conserved([("filter", 3, 3), ("lake", 3, 2)]), ("lake: 3 != 2",)),
        (recovered({"enrich": 2.0}, 60), ()),
        (recovered({"enrich": 2.0, "lake": 61.0}, 60), ("lake 61.0 s",)),
        (bounded({"rss": 10.0}, {"rss": 10.0}), ()),
        (bounded({"rss": 10.5}, {"rss": 10.0}), ("rss 10.5 > 10",)),
        (repeated_with_one_id({"m0": {"r0"}}, repeats=3, in_flight=3), ()),
        (repeated_with_one_id({"m0": {"r0", "r1"}}, repeats=0, in_flight=3), ("m0: 2 ids",)),
        (repeated_with_one_id({"m0": {"r0"}}, repeats=4, in_flight=3), ("4 repeats, 3 in flight at most",)),
    ],
    ids=lambda value: value.law if isinstance(value, Verdict) else "",
)
def test_each_law_names_what_breaks_it(law: Verdict, violations: tuple[str, ...]) -> None:
    """What holds has no violation; what does not has each case."""
    assert violations == law.violations


def test_a_reader_during_the_faults_is_held_to_the_same_laws() -> None:
    """L7 is L1 to L4 on what it saw: here one is lost, one doubled and late, one invented."""
    assert [(), (), (), ()] == [law.violations for law in concurrent_reader(SENT, seen(0, 1, 2))]
    broken = concurrent_reader(SENT, seen(0, 2, 0, 5))
    assert [("m1",), ("m0 2 times",), ("m5",), ("m0 after 2",)] == [law.violations for law in broken]


def test_a_broken_law_ends_with_an_error_that_names_the_cases(capsys: pytest.CaptureFixture[str]) -> None:
    """All laws are printed with their counts; the broken ones are the error."""
    with pytest.raises(AssertionError, match="m2"):
        hold([no_duplicate({"m0": 1}), no_loss(SENT, {"m0", "m1"})])
    assert "L2 no duplicate: 1 checked, 0 violations\nL1 no loss: 3 checked, 1 violations: m2\n" == capsys.readouterr().out


def test_the_ledger_tells_acknowledged_from_doubtful_and_refused(tmp_path: Path) -> None:
    """A try without an answer is in doubt, also where the sender died; a later 2xx settles it; 429 and 5xx leave it open; other 4xx refuse."""
    path = tmp_path / "sent"
    with SentLedger(path) as ledger:
        for events, answer in (("m0", 200), ("m1", 0), ("m1", 202), ("m2", 503), ("m3", 400), ("m4", 429)):
            ledger.after(ledger.before([EVENTS[events]]), answer)
        ledger.before([EVENTS["m5"]])
    with path.open("ab") as file:
        file.write(b'{"try": 9, "ev')  # it was killed here
    sent = read_sent([path])
    assert [["m0", "m1"], ["m2", "m4", "m5"], ["m3"]] == [sorted(ids) for ids in (sent.acknowledged, sent.unknown, sent.refused)]
    assert 2 == sent.copies
    assert EVENTS == sent.events


def test_the_digest_covers_what_the_client_said_and_nothing_else() -> None:
    """What the pipeline adds does not count; a changed value does."""
    body = {"type": "track", "event": "Load", "userId": "ada", "messageId": "m1", "properties": {"seq": 1, "text": "Zoë"}}
    assert digest(body) == digest({"receivedAt": "now", **body, "context": {}})
    assert digest(body) != digest({**body, "properties": {"seq": 1, "text": "Zoe"}})
    assert ("web", "ada", 1, "m1") == event_of(body)[:4]
