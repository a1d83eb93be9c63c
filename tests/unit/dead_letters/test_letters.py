"""What is read of letters, which of them are meant, and what is noted of those that are handled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dead_letters import Choice, Handled, HandledLetters, Letter, handled_record, parse_place, read_letter
from pipeline.model.record import Record
from pipeline.model.topics import DEAD_LETTERS_MS


def a_letter(stage: str = "translate", offset: int = 3, **headers: str) -> Letter:
    """Read a letter with these headers."""
    return read_letter(
        Record(f"shop.dead.{stage}", 0, offset, 500, b"k", b"{}", tuple((name, text.encode()) for name, text in headers.items())), "shop"
    )


def test_what_its_headers_say() -> None:
    """Where it lies, where the record lay that died, and for whom it was."""
    letter = a_letter(dead_topic="shop.routed", dead_partition="2", dead_offset="9", dead_destination="crm", dead_first_failure="7", redriven="4")
    assert ("dead.translate/0/3", "routed", "shop.routed/2/9") == (letter.place, letter.topic, letter.origin)
    assert ("crm", 7, 4, "unknown") == (letter.destination, letter.first_failure_ms, letter.redriven, letter.reason)


def test_any_client_may_write_there() -> None:
    """Headers that are missing, null or no numbers are no fault."""
    letter = read_letter(Record("shop.dead.filter", 0, 0, 500, None, None, (("dead_reason", None), ("dead_config", b"x"))), "shop")  # type: ignore[arg-type]  # a foreign producer's null
    assert ("unknown", 0, 500, "", "filter") == (letter.reason, letter.config, letter.first_failure_ms, letter.origin, letter.step)


@pytest.mark.parametrize("text", ["raw/0/1", "dead.validate/0", "dead.validate/0/x", "dead.validate/0/1/", ""])
def test_anything_else_is_no_place(text: str) -> None:
    """A place has a stage, a partition and an offset."""
    assert parse_place(text) is None


@pytest.mark.parametrize(
    ("choice", "held"),
    [
        (Choice(), True),
        (Choice(stage="translate", reason="mapping_failed", destination="crm", source="web", begin_ms=500, end_ms=501), True),
        (Choice(places=frozenset({"dead.translate/0/3"})), True),
        (Choice(stage="deliver"), False),
        (Choice(reason="rejected"), False),
        (Choice(destination="mail"), False),
        (Choice(source="app"), False),
        (Choice(begin_ms=501), False),
        (Choice(end_ms=500), False),
        (Choice(places=frozenset({"dead.translate/0/4"})), False),
    ],
)
def test_a_letter_is_meant_that_satisfies_all(choice: Choice, *, held: bool) -> None:
    """Each condition counts, and one that is not given holds for every letter."""
    assert held == choice.holds(a_letter(dead_reason="mapping_failed", dead_destination="crm", source="web"))


def test_places_say_what_need_not_be_read() -> None:
    """Only their stages, from the first of them on."""
    choice = Choice(places=frozenset({"dead.deliver/0/9", "dead.deliver/0/4", "dead.filter/1/2"}))
    assert (["filter", "deliver"], {0: 4}) == (choice.stages(), choice.start("deliver"))


@given(st.sets(st.integers(0, 50), min_size=1), st.sets(st.integers(0, 50), min_size=1))
def test_what_is_noted_is_read_again(offsets: set[int], others: set[int]) -> None:
    """Every offset that was noted is handled, and no other; other partitions have their own."""
    handled, what = HandledLetters(), Handled("redriven", 5, "why")
    handled.take(*handled_record("filter", 0, sorted(offsets), what))
    handled.take(*handled_record("filter", 1, sorted(others), what))
    assert offsets == {offset for offset in range(60) if handled.get("filter", 0, offset) == what}
    assert others == {offset for offset in range(60) if handled.get("filter", 1, offset) is not None}


def test_one_record_stands_for_a_run_of_letters() -> None:
    """100,000 letters in a row take as much as two."""
    key, value = handled_record("deliver", 0, range(100_000), Handled("redriven", 5))
    assert (b"dead.deliver/0/0", b'{"how":"redriven","at":5,"because":"","offsets":[[0,99999]]}') == (key, value)


@pytest.mark.parametrize("value", [b"", b"[]", b"{}", b'{"how":"redriven","at":1,"because":"","offsets":[1]}'])
def test_what_is_no_record_of_ours_is_passed_over(value: bytes) -> None:
    """Any client may write there too."""
    handled = HandledLetters()
    handled.take(b"dead.filter/0/1", value)
    handled.take(b"else", handled_record("filter", 0, [1], Handled("redriven", 5))[1])
    assert handled.get("filter", 0, 1) is None


def test_what_letters_have_outlived_is_forgotten() -> None:
    """After twice the time that letters are kept for, unless it was deleted already."""
    handled = HandledLetters()
    for offset in (1, 5):
        handled.take(*handled_record("filter", 0, [offset], Handled("redriven", 0)))
    handled.take(b"dead.filter/0/5", None)
    assert ([], [b"dead.filter/0/1"]) == (handled.expired(2 * DEAD_LETTERS_MS), handled.expired(2 * DEAD_LETTERS_MS + 1))
