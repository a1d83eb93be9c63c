"""Odd JSON becomes what one table says: exact where it can be, replaced and counted where not, never changed in silence."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.model import json_text
from pipeline.model.json_text import decode, decoder_of, encode

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_reads_the_same(value: Any) -> None:  # noqa: ANN401 (any JSON value)
    """Any JSON value survives writing and reading, with nothing replaced; types do too."""
    found = decode(encode(value))
    assert (value, 0) == found
    assert repr(value) == repr(found[0])


@given(st.dictionaries(TEXT, VALUES, max_size=3), st.lists(VALUES, max_size=4))
@example({}, [-(2**63) - 1, 1.192092896e-07])
def test_an_array_written_apart_reads_the_same(value: dict[str, Any], elements: list[Any]) -> None:
    """The whole reads as what is written at once (a float may be spelled `1e-7` or `1e-07`), and each element is as it is written alone."""
    whole = {**value, "batch": elements}
    text, texts = json_text.encode_apart(whole, "batch")
    assert (repr(whole), [encode(element) for element in elements]) == (repr(decode(text)[0]), texts)


@given(VALUES)
def test_writing_is_stable(value: Any) -> None:  # noqa: ANN401 (any JSON value)
    """What was read and written once is the same bytes from then on."""
    text = encode(value)
    assert text == encode(decode(text)[0])


@pytest.mark.parametrize(
    ("text", "value", "replaced"),
    [
        (b"9007199254740993", 2**53 + 1, 0),
        (b"18446744073709551615", 2**64 - 1, 0),
        (b"18446744073709551616", 2**64, 0),
        (b"-9223372036854775809", -(2**63) - 1, 0),
        (b"1180591620717411303424", 2**70, 0),
        (b"[NaN,Infinity,-Infinity]", [None, None, None], 3),
        (b'{"a":1e400,"b":-1e400}', {"a": None, "b": None}, 2),
        (b"1e-400", 0.0, 0),
        (b'"\\ud800"', "\ufffd", 1),
        (b'{"\\udc00a":["\\ud83d\\ude00","\\ud83d"]}', {"\ufffda": ["😀", "\ufffd"]}, 2),
        (b'"a\\u0000b"', "a\x00b", 0),
        (b'{"a":1,"a":2}', {"a": 2}, 0),
        (b" \n{} ", {}, 0),
        (b"-0.0", -0.0, 0),
    ],
)
def test_the_table(text: bytes, value: Any, replaced: int) -> None:  # noqa: ANN401 (any JSON value)
    """Each row of the module's table, by example."""
    found = decode(text)
    assert (value, replaced) == found
    assert math.copysign(1, found[0]) == math.copysign(1, value) if isinstance(value, float) else type(value) is type(found[0])


@pytest.mark.parametrize(
    "text", [b"", b" ", b"{", b"[1,]", b"{'a':1}", b"\xff", b'"\xed\xa0\x80"', b"nan", b"01", b"1 2", b"\xef\xbb\xbf{}", b'"\t"']
)
def test_what_is_no_json_is_refused(text: bytes) -> None:
    """Text that is not JSON, or not UTF-8, is no event."""
    with pytest.raises(ValueError, match=r".+"):
        decode(text)


def test_depth_is_refused_not_fatal() -> None:
    """Nesting beyond what can be read is refused as any other text that is no event."""
    for text in (b"[" * 200_000, b"[" * 200_000 + b"]" * 200_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000):
        with pytest.raises(ValueError, match=r".+"):
            decode(text)


def test_an_integer_does_not_change_its_neighbours() -> None:
    """Beside an integer that needs the exact reader, everything else reads as without it."""
    plain = b'{"a":1.10,"b":"\xc5\xbc","c":[true,null,1e3],"d":-0.0}'
    big = plain[:-1] + b',"n":1180591620717411303424}'
    assert {**decode(plain)[0], "n": 2**70} == decode(big)[0]
    assert encode(decode(plain)[0])[:-1] == encode(decode(big)[0])[: len(encode(decode(plain)[0])) - 1]


ODD: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-(2**70), 2**70) | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(ODD)
def test_the_fast_reader_reads_as_the_exact_one(value: Any) -> None:  # noqa: ANN401 (any JSON value)
    """Integers of any size, NaN, lone surrogates and NUL come out the same, whichever of the two readers decides."""
    text = json.dumps(value).encode()
    assert repr(json_text._decode_exactly(text)) == repr(json_text.decode(text))


@given(
    st.dictionaries(st.sampled_from(["type", "event", "a b", 'a"b']) | TEXT, VALUES, max_size=8), st.sets(st.sampled_from(["type", "event", 'a"b']))
)
def test_members_read_alone_read_the_same(value: dict[str, Any], names: set[str]) -> None:
    """A reader of a few members gives them as a reader of everything does, in their order, whatever lies between them."""
    found = decoder_of(names)(encode(value))
    assert found is None or [(name, item) for name, item in value.items() if name in names] == list(found.items())
    assert found is not None or any(name.isascii() and abs(item) > 2**63 for name, item in value.items() if isinstance(item, int))


@pytest.mark.parametrize(
    "text", [b"", b"null", b"[]", b'"type"', b"5", b'{"type":1', b'{"a":[1,}', b'{"type":NaN}', b"[" * 100_000, b'{"a":' + b"[" * 100_000]
)
def test_what_is_no_object_has_no_members(text: bytes) -> None:
    """What is no object, or not JSON, is left to the reader of everything."""
    assert decoder_of({"type"})(text) is None


def test_members_that_the_reader_cannot_find_are_left_to_the_whole() -> None:
    """Msgspec passes over names beyond ASCII as if they were not asked for."""
    assert decoder_of({"type", "größe"})('{"größe":5,"type":"track"}'.encode()) is None
