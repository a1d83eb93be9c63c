"""The table of odd JSON, and that nothing is lost in silence."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model import json_text, odd_json
from pipeline.model.odd_json import ODD_VALUES, OddValue, Place, settle

VALUES = [row for row in ODD_VALUES if row.stored is not None and not row.whole]


@pytest.mark.parametrize("row", VALUES, ids=[row.name for row in VALUES])
def test_a_value_is_what_its_row_says(row: OddValue) -> None:
    """Stored text, count and place."""
    value, _ = json_text.decode_marked(b'{"a":[%s]}' % row.sent)
    found = settle(value)
    assert json_text.encode(found.value) == b'{"a":[%s]}' % (row.stored or b"")
    assert found.counts == ({row.counted: 1} if row.counted else {})
    assert [place.what for place in found.places] == ([row.counted] if row.counted else [])
    assert all(place.path.startswith("/a/0") for place in found.places)


def test_places_are_json_pointers() -> None:
    """Slashes and tildes are escaped (RFC 6901), half a surrogate pair in a name is replaced there too."""
    value, odd = json_text.decode_marked(b'{"a/b":{"~":NaN},"\\ud83d":[{"k":1,"k":2}],"c":1,"c":2}')
    found = settle(value)
    assert odd
    assert set(found.places) == {
        Place("/a~1b/~0", "not_a_number"),
        Place("/\ufffd", "lone_surrogate"),
        Place("/\ufffd/0/k", "duplicate_key"),
        Place("/c", "duplicate_key"),
    }
    assert found.value == {"a/b": {"~": None}, "\ufffd": [{"k": 2}], "c": 2}


def test_all_are_counted_and_ten_are_named() -> None:
    """A batch of nothing but NaN does not grow by what is said of it."""
    found = settle(json_text.decode_marked(b"[" + b",".join([b"NaN"] * 5000) + b"]")[0])
    assert (found.counts, len(found.places)) == ({"not_a_number": 5000}, 10)


TEXTS = st.text(st.characters(codec="utf-8"), max_size=5)
PAIRS = st.lists(st.tuples(st.text(st.characters(codec="utf-8"), max_size=3), st.integers() | TEXTS), max_size=6)


@given(PAIRS, st.booleans(), st.sampled_from([(",", ":"), (" , ", " :  ")]))
def test_a_doubled_key_is_never_missed(pairs: list[tuple[str, Any]], ascii_only: bool, separators: tuple[str, str]) -> None:  # noqa: FBT001 (hypothesis passes it)
    """However the text is written, the fast reader's result is not taken where a key was lost."""

    def written(value: Any) -> str:  # noqa: ANN401 (a text or number)
        return json.dumps(value, ensure_ascii=ascii_only)

    comma, colon = separators
    text = "{" + comma.join(written(name) + colon + written(value) for name, value in pairs) + "}"
    value, odd = json_text.decode_marked(b'{"x":[%s]}' % text.encode())
    doubled = len(pairs) - len({name for name, _ in pairs})
    found = settle(value) if odd else odd_json.Settled(value, {}, ())
    assert found.counts.get("duplicate_key", 0) == doubled
    assert found.value == {"x": [dict(pairs)]}


def test_an_escaped_colon_hides_nothing() -> None:
    """It is written as a plain one and would make up for the one that is lost."""
    value, odd = json_text.decode_marked(b'{"a":1,"a":"\\u003a"}')
    assert odd
    assert settle(value).counts == {"duplicate_key": 1}


@pytest.mark.parametrize("text", [b"", b"{", b"nan", b"\xff", b'"\xed\xa0\x80"', b"\xef\xbb\xbf", b"\xef\xbb\xbf\xef\xbb\xbf{}"])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    """One byte order mark is passed over, and nothing else."""
    with pytest.raises(ValueError, match=r".+"):
        json_text.decode_marked(text)


@pytest.mark.parametrize(("length", "path"), [(253, "/" + "x" * 253 + "/0"), (254, "/" + "x" * 254 + "…"), (100_000, "/" + "x" * 254 + "…")])
def test_a_long_path_is_cut(length: int, path: str) -> None:
    """A name may be as long as a request, and each event of a batch carries the paths of its envelope."""
    assert settle(json_text.decode_marked(b'{"%s":[NaN]}' % (b"x" * length))[0]).places == ((path, "not_a_number"),)
