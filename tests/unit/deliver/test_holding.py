"""What waits for an earlier request of its user, read back from its topic."""

from __future__ import annotations

from pipeline.deliver.holding import held_key, waiting
from pipeline.model.record import Record

LIVE = "shop.requests.crm"


def a_record(offset: int, key: bytes | None, value: bytes | None = b"{}") -> Record:
    """Make a record of the held topic, with overrides only."""
    return Record(f"{LIVE}.held", 2, offset, 0, key, value)


def test_key_names_offset_and_user() -> None:
    """The key is the offset of the request and its own key, also where that holds a slash or nothing."""
    assert [b"17/ada", b"18/a/b", b"19/"] == [
        held_key(Record(LIVE, 2, offset, 0, key, b"")) for offset, key in ((17, b"ada"), (18, b"a/b"), (19, None))
    ]


def test_order_is_that_of_the_offsets() -> None:
    """Written again counts in place of the first, ended is gone, and the order is that of the live partition."""
    records = [
        a_record(0, b"9/ada", b"first"),
        a_record(1, b"4/bob"),
        a_record(2, b"5/a/b"),
        a_record(3, b"9/ada", b"again"),
        a_record(4, b"4/bob", None),
    ]
    assert [(5, b"a/b", b"{}"), (9, b"ada", b"again")] == [(one.offset, one.key, one.value) for one in waiting(records, topic=LIVE)]
    assert {(LIVE, 2)} == {(one.topic, one.partition) for one in waiting(records, topic=LIVE)}


def test_foreign_records_are_passed_over() -> None:
    """A record that is none of ours is no request."""
    assert [] == waiting([a_record(0, None), a_record(1, b"ada"), a_record(2, b"x/ada")], topic=LIVE)
