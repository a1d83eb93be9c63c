"""Ids are written in one form, and the key is made of what they have become."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.ids import event_key
from pipeline.validate.normalise import text_ids

IDS: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | st.just([]) | st.just({"id": 1})
)


@given(st.dictionaries(st.sampled_from(["anonymousId", "userId", "groupId"]), IDS))
def test_the_key_is_made_of_the_ids_as_they_are_written(body: dict[str, Any]) -> None:
    """The key that is given is that of the event with its ids as text, and a second time changes nothing."""
    key = text_ids(body)
    assert event_key(body) == key
    once = dict(body)
    assert key == text_ids(body)
    assert once == body
