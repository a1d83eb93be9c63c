"""Differences of JSON values, place by place."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.explain import Change, changes

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda each: st.lists(each) | st.dictionaries(st.text(), each))


def test_each_kind_of_difference() -> None:
    """Added, removed and changed, with the pointer to the place; what is new as a whole is one difference."""
    before = {"a": 1, "b": {"c": [1, 2]}, "gone": None}
    after = {"a": 2, "b": {"c": [1, 3]}, "new/~": {"x": {}}}
    assert changes(before, after) == (
        Change("changed", "/a", 1, 2),
        Change("changed", "/b/c/1", 2, 3),
        Change("removed", "/gone", None),
        Change("added", "/new~1~0", after={"x": {}}),
    )


def test_numbers_and_truth_are_not_alike() -> None:
    """1, 1.0 and true are three values."""
    assert 2 == len(changes([1, 1], [True, 1.0]))


def test_much_is_cut_and_secrets_are_hidden() -> None:
    """No more than was asked for, long texts cut, write keys never."""
    assert 3 == len(changes({}, {str(number): number for number in range(10)}, 3))
    assert "x" * 300 + "… (1000 characters)" == changes("", "x" * 1000)[0].after
    assert (Change("removed", "/writeKey", "…"),) == changes({"writeKey": "key-of-web"}, {})
    assert (Change("added", "/body", after={"writeKey": "…"}),) == changes({}, {"body": {"writeKey": "key-of-web"}})


@given(JSON, JSON)
def test_nothing_differs_only_from_itself(one: object, other: object) -> None:
    """Equal values have no differences; different ones have some."""
    assert () == changes(one, one)
    if repr(one) != repr(other) and one != other:
        assert changes(one, other)
