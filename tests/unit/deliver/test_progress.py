"""Finished records beyond the committed offset, written and read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.deliver.progress import MOST_CHARACTERS, decode_finished, encode_finished


def test_nothing_finished_is_no_text() -> None:
    """Where nothing beyond the offset is finished, nothing is written."""
    assert "" == encode_finished(5, [(5, False), (6, False)])
    assert "" == encode_finished(5, [])


def test_ranges_are_read_back() -> None:
    """Offsets 11, 12 and 15 beyond 10 are two ranges."""
    text = encode_finished(10, [(10, False), (11, True), (12, True), (13, False), (14, False), (15, True)])
    assert (range(11, 13), range(15, 16)) == decode_finished(10, text)


def test_other_text_is_ignored() -> None:
    """Text that another tool wrote beside the offset means nothing."""
    assert () == decode_finished(10, "")
    assert () == decode_finished(10, "hello")
    assert () == decode_finished(10, "1:é")


@given(st.integers(0, 2**40), st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=1000))
def test_round_trip(committed: int, steps: list[tuple[int, bool]]) -> None:
    """For any thousand records with gaps between them, exactly the finished ones are read back, in at most 4,096 characters."""
    records = [(committed, False)]
    for gap, finished in steps:
        records.append((records[-1][0] + gap, finished))
    text = encode_finished(committed, records)
    done = {offset for span in decode_finished(committed, text) for offset in span}
    assert {offset for offset, finished in records if finished} == done & {offset for offset, _ in records}
    assert len(text) <= MOST_CHARACTERS


def test_what_does_not_fit_is_sent_again() -> None:
    """Beyond 4,096 characters the end is left out, and nothing that is not finished is called finished."""
    records = [(number * 100_000, number % 2 == 1) for number in range(2000)]
    text = encode_finished(0, records)
    done = decode_finished(0, text)
    assert len(text) <= MOST_CHARACTERS
    assert 0 < len(done) < 1000
    assert all(len(span) == 1 and span.start % 200_000 == 100_000 for span in done)
