"""Questions to a lake: what was routed comes back with equal values, whatever its types."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.app.query import QueryError, open_lake, run_query
from pipeline.lake.names import TABLES
from pipeline.model.json_text import decode, encode
from pipeline.model.record import Output, TopicPartition
from pipeline.runtime.brokers.memory import MemoryBroker
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.lake.worker import LakeLimits
from pipeline.runtime.lake.workers import lake_workers
from pipeline.runtime.metrics.memory import MemoryMetrics
from pipeline.runtime.partitions import PartitionHost

GROUP = "shop.lake.lake"
RECEIVED = "2026-03-14T09:26:54.100Z"


def _event(call: str = "track", /, **fields: Any) -> dict[str, Any]:  # noqa: ANN401 (any JSON)
    return {"type": call, "messageId": "m", "receivedAt": RECEIVED, **fields}


async def _store(root: Path, *batches: list[dict[str, Any]], source: str = "web") -> MemoryBroker:
    """Store events through a group member; each batch becomes a manifest record of its own."""
    broker = MemoryBroker(SystemClock())
    for topic in ("shop.routed", "shop.ledger", "shop.dead.lake"):
        broker.create(topic, 1)
    make = lake_workers(broker, storage="lake", prefix="shop", root=root, clock=SystemClock(), metrics=MemoryMetrics(), limits=LakeLimits(seconds=0))
    host = PartitionHost(broker, group=GROUP, topics=["shop.routed"], make_worker=make)
    running = asyncio.create_task(host.run())
    end = 0
    for batch in batches:
        headers = (("source", source.encode()), ("routes", b"lake"))
        broker.append([Output("shop.routed", None, encode(event), headers) for event in batch])
        end += len(batch)
        while not running.done():
            position = broker.positions(GROUP).get(TopicPartition("shop.routed", 0))
            if position is not None and position.offset == end:
                break
            await asyncio.sleep(0.005)
    host.stop()
    await running
    return broker


def _paths(root: Path, pattern: str = "*") -> list[Path]:
    return sorted(root.rglob(pattern))


@pytest.mark.parametrize("table", TABLES.values())
def test_a_lake_without_rows_has_empty_tables(tmp_path: Path, table: str) -> None:
    """Before the first event, every table is there with its columns, and no rows."""
    answer = run_query(tmp_path / "none", f"SELECT * FROM {table}")  # noqa: S608 (a name of ours)
    assert answer.rows == []
    assert {"id", "source", "anonymous_id", "user_id", "received_at", "timestamp", "context", "context_ip"} <= set(answer.columns)


async def test_tables_without_rows_are_empty_beside_others(tmp_path: Path) -> None:
    """A table that no event belongs to is empty, not an error."""
    await _store(tmp_path, [_event(event="Bought")])
    assert run_query(tmp_path, "SELECT count(*) FROM aliases").rows == [[0]]
    assert run_query(tmp_path, "SELECT url, title, context_campaign_source FROM pages").rows == []


async def test_the_columns_of_a_row(tmp_path: Path) -> None:
    """Times are times, `event` is the slug, `event_text` the name, objects are JSON text."""
    event = _event(
        event="Order Completed", sentAt="2026-03-14T09:26:54Z", userId="u1", properties={"total": 25.5, "a": [1]}, context={"ip": "192.0.2.1"}
    )
    await _store(tmp_path, [event])
    columns = "id, user_id, event, event_text, received_at, sent_at, total, a, context_ip, properties, context"
    assert run_query(tmp_path, f"SELECT {columns} FROM tracks").rows == [  # noqa: S608 (columns of this test)
        [
            *("m", "u1", "order_completed", "Order Completed", RECEIVED, "2026-03-14T09:26:54.000Z", 25.5, "[1]", "192.0.2.1"),
            *('{"total":25.5,"a":[1]}', '{"ip":"192.0.2.1"}'),
        ]
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2.5], [1.0, 2.5]),
        ([1, "x"], ["1", "x"]),
        ([2.5, "x"], ["2.5", "x"]),
        ([True, 1], ["true", "1"]),
        ([True, 2.5, "x"], ["true", "2.5", "x"]),
        ([{"a": 1}, "x"], [None, "x"]),
        ([[1], 1], ["[1]", "1"]),
        ([None, 1], [None, 1]),
    ],
)
async def test_types_that_differ_between_files_break_no_query(tmp_path: Path, values: list[Any], expected: list[Any]) -> None:
    """A column that is one thing in one file and another in the next is read as the type that holds both."""
    await _store(tmp_path, *([_event(messageId=f"m{place}", event="Bought", properties={"v": value})] for place, value in enumerate(values)))
    assert run_query(tmp_path, "SELECT v FROM tracks WHERE event = 'bought' ORDER BY id").rows == [[value] for value in expected]
    assert run_query(tmp_path, "SELECT event, count(*) FROM tracks GROUP BY 1").rows == [["bought", len(values)]]


async def test_a_message_stored_twice_is_one_row(tmp_path: Path) -> None:
    """A store holds one row for each source and message id: the one that was received first."""
    late = _event("identify", messageId="m1", receivedAt="2026-03-20T00:00:00.000Z", traits={"n": 2})
    await _store(tmp_path, [late], [_event("identify", messageId="m1", traits={"n": 1})], [_event("identify", messageId="m2")])
    assert run_query(tmp_path, "SELECT id, n FROM identifies ORDER BY id").rows == [["m1", 1], ["m2", None]]


async def test_each_event_has_a_view(tmp_path: Path) -> None:
    """A track event can be asked for by its slug; one that is named like a table does not hide it."""
    await _store(tmp_path, [_event(messageId="m1", event="Order Completed"), _event(messageId="m2", event="Pages")])
    assert run_query(tmp_path, "SELECT id FROM order_completed").rows == [["m1"]]
    assert run_query(tmp_path, "SELECT id FROM _pages").rows == [["m2"]]
    assert run_query(tmp_path, "SELECT id FROM pages").rows == []
    assert ["order_completed"] in run_query(tmp_path, "SHOW TABLES").rows


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO 'x.csv'",
        "CREATE TABLE x (a INT)",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO 'x.csv'",
        "SELECT 1; SELECT 2",
        "ATTACH 'x.db'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM nothing",
        "SELEC 1",
        "",
    ],
)
async def test_a_query_only_reads_the_lake(tmp_path: Path, sql: str) -> None:
    """Whatever writes, leaves the lake or is no SQL is refused with a reason."""
    await _store(tmp_path, [_event(event="Bought")])
    before = _paths(tmp_path)
    with pytest.raises(QueryError, match=r"."):
        run_query(tmp_path, sql)
    assert _paths(tmp_path) == before


async def test_only_listed_files_are_read(tmp_path: Path) -> None:
    """A file that no manifest record names is no part of the lake, whatever it holds."""
    await _store(tmp_path, [_event(event="Bought")])
    (stored,) = _paths(tmp_path, "source=*/**/*.parquet")
    stored.with_name("orphan.parquet").write_bytes(stored.read_bytes())
    stored.with_name("broken.parquet").write_bytes(b"PAR1")
    assert run_query(tmp_path, "SELECT count(*) FROM tracks").rows == [[1]]


async def test_a_damaged_manifest_is_said(tmp_path: Path) -> None:
    """A record that cannot be read is named, not passed over."""
    await _store(tmp_path, [_event(event="Bought")])
    (record,) = _paths(tmp_path, "_manifest/**/*.json")
    record.write_bytes(b"{")
    with pytest.raises(QueryError, match=record.name):
        run_query(tmp_path, "SELECT 1 FROM tracks")


async def test_a_topic_made_anew_starts_a_new_chain(tmp_path: Path) -> None:
    """Offsets that start again do not make the lake skip events, and what it had stays."""
    await _store(tmp_path, [_event(messageId="m1", event="A"), _event(messageId="m2", event="A")])
    await _store(tmp_path, [_event(messageId="m3", event="A")])
    assert run_query(tmp_path, "SELECT id FROM tracks ORDER BY id").rows == [["m1"], ["m2"], ["m3"]]


async def test_a_poisonous_record_goes_to_the_dead_letters(tmp_path: Path) -> None:
    """What is no spec message is kept whole with its reason, and stops nothing."""
    broker = await _store(tmp_path, [{"type": "nonsense"}, _event(event="Bought")])
    (dead,) = broker.log("shop.dead.lake")[0]
    assert dead.value == b'{"type":"nonsense"}'
    assert dict(dead.headers)["dead_reason"] == b"unknown_type"
    assert run_query(tmp_path, "SELECT count(*) FROM tracks").rows == [[1]]


def test_open_lake_gives_a_connection(tmp_path: Path) -> None:
    """A program can ask more than once; its connection is as locked as the command's."""
    with open_lake(tmp_path) as connection:
        assert connection.execute("SELECT count(*) FROM screens").fetchall() == [(0,)]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.sampled_from([2**53 + 1, -(2**63), 2**64 - 1, 0.1, -0.0, 1e300, 5e-324, "\x00", "\u2028", "👩‍👩‍👧", "null"])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    events=st.lists(
        st.tuples(st.sampled_from(["track", "identify"]), st.dictionaries(st.text(max_size=8), JSON, max_size=5)), min_size=1, max_size=30
    )
)
def test_every_value_comes_back_equal(tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, dict[str, Any]]]) -> None:
    """Objects survive exactly: big integers, nested arrays, nulls, NULs, every character."""
    root = tmp_path_factory.mktemp("lake")
    bodies = [
        _event(call, messageId=f"m{place}", event="E", properties=value, traits=value, context=value, integrations={})
        for place, (call, value) in enumerate(events)
    ]
    asyncio.run(_store(root, [body for body in bodies if body["messageId"] == "m0"], [body for body in bodies if body["messageId"] != "m0"]))
    sql = "SELECT id, properties, context, message_json FROM tracks UNION ALL SELECT id, traits, context, message_json FROM identifies"
    rows = {row[0]: row[1:] for row in run_query(root, sql).rows}
    assert sorted(rows) == sorted(body["messageId"] for body in bodies)
    for body in bodies:
        main, context, message = (decode(text.encode())[0] for text in rows[body["messageId"]])
        expected = decode(encode(body))[0]
        assert repr((main, context)) == repr((expected["properties"], expected["context"]))
        assert message == expected
    assert orjson.dumps(run_query(root, "SELECT * FROM tracks").rows)


async def test_events_are_listed_without_being_read(tmp_path: Path) -> None:
    """A listing names the table of every event, and an event's own columns and rows are there once it is named."""
    await _store(tmp_path, [_event(event="Trip Booked", messageId="1", properties={"city": "Bern"}), _event(event="Tracks", messageId="2")])
    names = [row[0] for row in run_query(tmp_path, "SHOW TABLES").rows]
    assert sorted([*TABLES.values(), "trip_booked", "_tracks"]) == names
    described = [row[0] for row in run_query(tmp_path, "DESCRIBE trip_booked").rows]
    assert {"id", "city", "message_json"} <= set(described)
    assert [["Bern"]] == run_query(tmp_path, "SELECT city FROM trip_booked WHERE 'show' <> 'describe'").rows


def test_columns_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """A join gives a name twice; as JSON, neither value may hide the other."""
    assert ["a", "a_2", "a_1", "a_3"] == run_query(tmp_path, "SELECT 1 AS a, 2 AS a, 3 AS a_1, 4 AS a").columns


def test_numbers_beyond_json_stay_exact(tmp_path: Path) -> None:
    """What neither a 64-bit integer nor a double can say is text with the same digits."""
    sql = "SELECT 170141183460469231731687303715884105727::HUGEINT, 0.1::DECIMAL(38, 3), 12345678901234567890.123::DECIMAL(38, 3), 5::DECIMAL(4, 1)"
    assert [["170141183460469231731687303715884105727", 0.1, "12345678901234567890.123", 5]] == run_query(tmp_path, sql).rows
