"""Who gathers on, waits or writes."""

import orjson
import pytest

from pipeline.lake.gathering import Gathering
from pipeline.lake.memory import Move, next_move
from pipeline.model.record import Record


@pytest.mark.parametrize(
    ("own", "largest", "total", "expected"),
    [
        (0, 0, 0, "take"),
        (0, 49, 49, "take"),
        (0, 50, 50, "wait"),
        (1, 98, 99, "take"),
        (60, 60, 100, "write"),
        (40, 60, 100, "wait"),
        (50, 50, 100, "write"),
        (10, 10, 120, "write"),
    ],
)
def test_the_one_that_holds_the_most_writes(own: int, largest: int, total: int, expected: Move) -> None:
    """Of a bound of 100: nobody begins from 50 on, and at 100 the largest writes while the others wait."""
    assert next_move(own, largest, total, 100) == expected


def test_what_is_taken_counts_until_it_is_given() -> None:
    """A row counts with its message, its values and its place in each column; a record for others counts too, so that it is committed."""
    gathering = Gathering("lake")
    assert gathering.memory == 0
    gathering.add(Record("shop.routed", 0, 0, 1, None, b"{}", (("routes", b"crm"),)))
    assert gathering.memory == 1
    value = orjson.dumps({"type": "track", "messageId": "m", "properties": {"a": 1, "b": 2}})
    gathering.add(Record("shop.routed", 0, 1, 1, None, value, (("routes", b"lake"),)))
    assert gathering.memory == 1 + int(2.6 * len(value)) + 200 + 2 * 8
    gathering.take()
    assert gathering.memory == 0
