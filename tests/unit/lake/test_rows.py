"""Messages as rows."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.lake.columns import Column
from pipeline.lake.names import TABLES
from pipeline.lake.rows import COLUMNS_MOST, Table


def _columns(table: Table) -> dict[str, list[Any]]:
    return {column.name: column.values for column in table.take()}


def _track(**properties: Any) -> dict[str, Any]:  # noqa: ANN401 (any JSON)
    return {"type": "track", "messageId": "m1", "event": "Order Completed", "properties": properties}


def _added(*bodies: dict[str, Any]) -> Table:
    table = Table(bodies[0]["type"], "web")
    for body in bodies:
        table.add(body, orjson.dumps(body))
    return table


def test_a_track_call_becomes_columns() -> None:
    """Ids, times, event and slug, properties without prefix, context with one, arrays as JSON text."""
    body = {
        **_track(total=25.5, address={"city": "Göteborg"}, products=[{"sku": "A", "n": None}], empty={}),
        "anonymousId": "a1",
        "receivedAt": "2026-03-14T09:26:54.100Z",
        "context": {"page": {"url": "https://x.example"}, "userAgent": "UA"},
        "channel": "web",
    }
    columns = {name: values[0] for name, values in _columns(_added(body)).items()}
    assert columns == {
        "id": "m1",
        "source": "web",
        "type": "track",
        "anonymous_id": "a1",
        "user_id": None,
        "event": "order_completed",
        "event_text": "Order Completed",
        "received_at": "2026-03-14T09:26:54.100Z",
        "sent_at": None,
        "timestamp": None,
        "original_timestamp": None,
        "message_json": orjson.dumps(body),
        "total": 25.5,
        "address_city": "Göteborg",
        "products": '[{"sku":"A","n":null}]',
        "context_page_url": "https://x.example",
        "context_user_agent": "UA",
        "channel": "web",
    }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"type": "identify", "traits": {"email": "z@example.com"}}, {"email": "z@example.com"}),
        ({"type": "group", "groupId": "g1", "traits": {"plan": "plus"}}, {"group_id": "g1", "plan": "plus"}),
        ({"type": "alias", "previousId": "p1", "userId": "u1"}, {"previous_id": "p1", "user_id": "u1"}),
        ({"type": "page", "name": "Home", "category": "Shop", "properties": {"url": "u"}}, {"name": "Home", "category": "Shop", "url": "u"}),
        ({"type": "screen", "name": "Home", "properties": {"name": "other"}}, {"name": "Home", "_name": "other"}),
    ],
)
def test_each_call_has_its_columns(body: dict[str, Any], expected: dict[str, Any]) -> None:
    """What a call carries beside the common fields has columns of its own."""
    columns = _columns(_added(body))
    assert {name: columns[name][0] for name in expected} == expected


def test_rows_without_a_value_are_null() -> None:
    """A column that a row lacks is null there, before, between and after."""
    columns = _columns(_added(_track(a=1), _track(b=2), _track(a=3), _track()))
    assert columns["a"] == [1, None, 3, None]
    assert columns["b"] == [None, 2, None, None]


def test_a_name_of_a_fixed_column_gets_an_underscore() -> None:
    """A property never hides a column of ours, and the renaming is counted."""
    table = _added(_track(id="x", properties=1, source="newsletter"))
    assert table.notes == {"renamed": 3}
    columns = _columns(table)
    assert (columns["_id"], columns["_properties"], columns["_source"]) == (["x"], [1], ["newsletter"])


@pytest.mark.parametrize("keys", [("userName", "user_name"), ("user_name", "userName")])
def test_the_exact_name_wins_a_clash(keys: tuple[str, str]) -> None:
    """Where two keys fold to one column, the exact one is stored whatever the order, and the clash is counted."""
    table = _added(_track(**{key: key for key in keys}), _track(userName="alone"))
    assert table.notes == {"clash": 1}
    assert _columns(table)["user_name"] == ["user_name", "alone"]


def test_context_wins_against_a_property_of_its_name() -> None:
    """A property cannot pose as context."""
    body = {**_track(context_ip="forged"), "context": {"ip": "192.0.2.1"}}
    assert _columns(_added(body))["context_ip"] == ["192.0.2.1"]


def test_columns_are_bounded() -> None:
    """Ten thousand keys make no ten thousand columns: the rest stays in the message and is counted."""
    table = _added(_track(**{f"k{index}": index for index in range(10_000)}))
    assert table.notes == {"over_limit": 10_000 - COLUMNS_MOST}
    assert len([name for name in _columns(table) if name.startswith("k")]) == COLUMNS_MOST


def test_columns_are_found_anew_after_too_many() -> None:
    """One crowded file does not keep the next one from having its columns."""
    table = _added(_track(**{f"k{index}": index for index in range(COLUMNS_MOST)}))
    table.take()
    table.add(_track(total=1), b"{}")
    assert _columns(table)["total"] == [1]


def test_a_name_without_letters_is_counted() -> None:
    """A key that folds to nothing has no column."""
    table = _added(_track(日本=1))
    assert table.notes == {"unnamed": 1}


def test_a_row_that_fails_leaves_nothing() -> None:
    """After a value that cannot be written, the table holds what it held before."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    table = _added(_track(a=1))
    with pytest.raises(ValueError, match="deep"):
        table.add(_track(a=2, b=deep), b"{}")
    table.add(_track(a=3), b"{}")
    assert _columns(table)["a"] == [1, 3]


def test_take_starts_empty() -> None:
    """Rows are given once."""
    table = _added(_track(a=1))
    table.take()
    assert table.rows == 0
    assert _columns(table)["id"] == []


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(call=st.sampled_from(sorted(TABLES)), bodies=st.lists(st.dictionaries(st.text(max_size=6), VALUES, max_size=4), min_size=1, max_size=5))
def test_every_column_has_a_value_for_each_row(call: str, bodies: list[dict[str, Any]]) -> None:
    """Whatever the messages hold, the table stays rectangular, and the messages are kept whole."""
    table = Table(call, "web")
    messages = [str(number).encode() for number in range(len(bodies))]
    for number, body in enumerate(bodies):
        table.add({"context": body, "properties": body, "traits": body, **body}, messages[number])
    columns: list[Column] = table.take()
    assert {len(column.values) for column in columns} == {len(bodies)}
    assert next(column.values for column in columns if column.name == "message_json") == messages
    assert len({column.name for column in columns}) == len(columns)
