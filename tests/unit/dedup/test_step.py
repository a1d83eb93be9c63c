"""Dedup: what is remembered, and for how long."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dedup import UNKNOWN_OFFSET, coverage, create_dedup, digest, is_duplicate, pack, unpack
from pipeline.model.outcomes import Drop
from pipeline.model.record import Message, Record

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["messageId", "type", "x"]) | st.text(), inner, max_size=4),
    max_leaves=12,
)
ENTRIES = st.dictionaries(
    st.binary(min_size=16, max_size=16),
    st.tuples(st.integers(1_700_000_000_000, 1_700_000_000_000 + 2**32 - 1), st.integers(2**40, 2**40 + 2**32 - 1)),
    max_size=20,
)
HOUR = 3_600_000


def _message(body: object, source: str = "web", timestamp: int = 1_000) -> Message:
    return Message(body, b"k", {}, Record("raw", 0, 0, timestamp, b"k", b"{}"), source)


class _Memory:
    """A dictionary with a window of one hour."""

    def __init__(self) -> None:
        self.first: dict[bytes, tuple[int, int]] = {}

    def __call__(self, name: bytes, timestamp_ms: int, offset: int, died_at: int | None) -> bool:
        first = self.first.get(name)
        if first is not None and first[1] != died_at and is_duplicate(first[0], timestamp_ms, HOUR):
            return True
        self.first[name] = timestamp_ms, offset
        return False


def test_the_second_copy_is_dropped() -> None:
    """A message id that was seen from the same source inside the window is a duplicate."""
    dedup = create_dedup(_Memory())
    assert [dedup(_message({"messageId": "m"}, timestamp=at)) for at in (0, HOUR - 1, HOUR)] == [None, Drop("duplicate"), None]


def test_sources_do_not_share_ids() -> None:
    """Two sources may use the same message id."""
    dedup = create_dedup(_Memory())
    assert [dedup(_message({"messageId": "1"}, source)) for source in ("web", "app")] == [None, None]


def test_digest_separates_source_and_id() -> None:
    """The border between source and message id is part of the digest."""
    assert len({digest("a", "bc"), digest("ab", "c"), digest("abc", "")}) == 3
    assert len(digest("a", "b")) == 16


def test_a_digest_is_the_same_for_ever() -> None:
    """Stores and changelogs hold it: BLAKE2b with 16 bytes over the source, a NUL and the message id."""
    assert blake2b(b"web\0m-1", digest_size=16).digest() == digest("web", "m-1")


@given(JSON)
def test_no_value_makes_it_raise(body: object) -> None:
    """Any JSON value either goes on or is a duplicate."""
    assert create_dedup(_Memory())(_message(body)) is None


@given(ENTRIES)
def test_changelog_round_trip(entries: dict[bytes, tuple[int, int]]) -> None:
    """What one transaction remembered is read back as it was, in 24 bytes an entry."""
    packed = pack(entries)
    digests, places = unpack(packed)
    assert (b"".join(entries), [list(place) for place in entries.values()]) == (digests, places.tolist())
    assert all(place == unpack(packed).seen(name) for name, place in entries.items())
    assert unpack(packed).seen(b"another digest..") is None
    assert len(packed) == 17 + 24 * len(entries)


def test_changelog_refuses_what_it_does_not_know() -> None:
    """Another version, a cut-off record, a digest of another length and times or offsets too far apart are refused."""
    whole = pack({b"d" * 16: (5, 7)})
    for value in (b"", b"\x03" + whole[1:], whole[:-1]):
        assert _refuses(partial(unpack, value))
    assert _refuses(partial(pack, {b"short": (5, 7)}))
    assert _refuses(partial(pack, {b"d" * 16: (0, 7), b"e" * 16: (2**32, 8)}))
    assert _refuses(partial(pack, {b"d" * 16: (0, 7), b"e" * 16: (1, 7 + 2**32)}))


def test_a_changelog_without_offsets_is_read() -> None:
    """Records of the first layout give their entries with an unknown offset."""
    record = b"\x01" + struct.pack(">q2I", 1_000, 0, 5) + b"d" * 16 + b"e" * 16
    digests, places = unpack(record)
    assert (b"d" * 16 + b"e" * 16, [[1_000, UNKNOWN_OFFSET], [1_005, UNKNOWN_OFFSET]]) == (digests, places.tolist())


def test_a_clock_that_goes_back_changes_nothing() -> None:
    """A copy that an earlier clock appended is a duplicate too."""
    assert is_duplicate(first_seen_ms=10, now_ms=5, window_ms=1)


def test_coverage_is_the_stretch_that_is_known() -> None:
    """Nothing missing covers the window; else what lies after the gap, at most the window. Less than the window or a day is short."""
    assert (86_400, False) == coverage(0, 5, 24 * HOUR)
    assert (3_600, True) == coverage(0, 5, HOUR)
    assert (60, True) == coverage(1_000, 61_000, 24 * HOUR)
    assert (86_400, False) == coverage(1_000, 1_000 + 24 * HOUR, 24 * HOUR)
    assert (86_400, True) == coverage(1_000, 1_000 + 24 * HOUR, 48 * HOUR)
    assert (0, True) == coverage(9_000, 5_000, 24 * HOUR)


def _refuses(call: Callable[[], object]) -> bool:
    try:
        call()
    except ValueError:
        return True
    return False


@pytest.mark.parametrize(
    ("origin", "goes_on"),
    [(b"raw/0/0", True), (b"raw/0/1", False), (b"raw/1/0", False), (b"other/0/0", False), (b"raw/0/x", False), (b"", False), (b"/" * 99, False)],
)
def test_the_copy_that_died_does_not_stop_its_own_redriving(origin: bytes, *, goes_on: bool) -> None:
    """A record that was redriven from where the first copy lay goes on, once; from anywhere else it is a duplicate."""
    dedup = create_dedup(_Memory())
    first = _message({"messageId": "m-1"})
    assert dedup(first) is None
    for offset, expected in ((5, goes_on), (6, False)):
        record = first.record._replace(offset=offset)
        again = Message({"messageId": "m-1"}, b"k", {"redriven_from": origin}, record, "web")
        assert expected == (dedup(again) is None)
