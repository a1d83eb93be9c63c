"""What became of the demo's events."""

from pipeline.demo import Tally, tally


def test_an_event_is_stored_or_on_the_way_or_lost() -> None:
    """What is not stored is lost only when its minute is over."""
    acknowledged = {"stored": 0.0, "old": 39.0, "new": 41.0}
    assert tally(acknowledged, {"stored": 1}, now=100.0) == Tally(sent=3, stored=1, on_the_way=1, lost=1, doubled=0)


def test_a_second_row_is_doubled_and_not_stored_twice() -> None:
    """An event with three rows counts once as stored and twice as doubled."""
    assert tally({"a": 0.0, "b": 0.0}, {"a": 3, "b": 1}, now=1.0) == Tally(sent=2, stored=2, on_the_way=0, lost=0, doubled=2)


def test_rows_of_others_are_not_counted() -> None:
    """The lake holds more than what this demo sent."""
    assert tally({"a": 0.0}, {"a": 1, "other": 5}, now=1.0) == Tally(sent=1, stored=1, on_the_way=0, lost=0, doubled=0)
