"""The published schema of the ledger says what the ledger's writer writes, and its example is what readers read."""

from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pipeline.app.monitor.volumes import read_entry
from pipeline.model.ledger import LATENCY_BOUNDS_MS, ROWS_MOST, Row, Tally, ledger_value

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
SCHEMA: dict[str, Any] = orjson.loads((SCHEMAS / "ledger.json").read_bytes())
EXAMPLE: dict[str, Any] = orjson.loads((SCHEMAS / "examples" / "ledger.json").read_bytes())
VALIDATOR = jsonschema_rs.validator_for(SCHEMA)

NAMES = st.text(max_size=20)
ROWS = st.builds(Row, NAMES, NAMES, NAMES, st.sampled_from(["passed", "dropped", "dead", "blocked", "withheld"]), NAMES, NAMES)


def test_schema_is_valid() -> None:
    """The schema is itself valid JSON Schema 2020-12."""
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(SCHEMA)


def test_every_property_has_a_sentence() -> None:
    """Each property and each column of a row is described in a sentence that ends with a full stop."""
    columns = SCHEMA["properties"]["rows"]["items"]["prefixItems"]
    assert len(columns) == len(Row._fields) + 1
    assert [place for place in [SCHEMA, *SCHEMA["properties"].values(), *columns] if not place["description"].endswith(".")] == []


def test_example_is_valid_and_adds_up() -> None:
    """The example is valid in both validators, is read by the monitor, and ends each input once."""
    assert Draft202012Validator(SCHEMA).is_valid(EXAMPLE)
    assert VALIDATOR.is_valid(EXAMPLE)
    assert EXAMPLE["in"] == sum(EXAMPLE[verdict] for verdict in ("passed", "dropped", "dead", "blocked"))
    assert EXAMPLE["in"] == sum(row[-1] for row in EXAMPLE["rows"] if row[3] != "withheld")
    assert sum(EXAMPLE["statuses"].values()) == sum(EXAMPLE["latency_ms"])
    entry = read_entry(orjson.dumps(EXAMPLE))
    assert entry is not None
    assert entry.rows[0] == (Row("web", "track", "Order Completed", "passed", "", "crm"), 7)


@pytest.mark.parametrize("name", SCHEMA["required"])
def test_required_properties_are_required(name: str) -> None:
    """A record without one of its numbers is not valid, so a reader may count on all of them."""
    assert not VALIDATOR.is_valid({key: value for key, value in EXAMPLE.items() if key != name})


@given(
    rows=st.dictionaries(ROWS, st.integers(1, 2**40), max_size=8),
    lanes=st.dictionaries(NAMES, st.integers(0, 2**40), max_size=4),
    attempts=st.lists(st.tuples(st.sampled_from([0, 200, 429, 503]), st.floats(0, 60_000)), max_size=4),
    start=st.integers(0, 2**62),
)
def test_what_is_written_is_valid(rows: dict[Row, int], lanes: dict[str, int], attempts: list[tuple[int, float]], start: int) -> None:
    """Whatever a transaction did, its ledger record is valid and is read as written."""
    tally = Tally()
    tally.rows.update(rows)
    tally.lanes.update(lanes)
    for status, latency in attempts:
        tally.attempt(status, latency)
    value = ledger_value(tally, processor="filter", topic="enriched", partition=3, start=start, end=start + 9, at_ms=1_795_374_187_951)
    VALIDATOR.validate(orjson.loads(value))
    entry = read_entry(value)
    assert entry is not None
    assert dict(entry.rows) == rows


def test_bounds_are_those_of_the_writer() -> None:
    """The histogram has as many buckets as the schema says, and the rest of the rows are valid too."""
    assert SCHEMA["properties"]["latency_ms"]["minItems"] == len(LATENCY_BOUNDS_MS) + 1
    assert ", ".join(map(str, LATENCY_BOUNDS_MS[:-1])) in SCHEMA["properties"]["latency_ms"]["description"]
    assert str(ROWS_MOST) in SCHEMA["properties"]["rows"]["description"]
    tally = Tally()
    tally.rows.update({Row("web", "track", f"Event {number}", "passed"): 1 for number in range(ROWS_MOST + 7)})
    body = orjson.loads(ledger_value(tally, processor="filter", topic="enriched", partition=0, start=0, end=207, at_ms=0))
    VALIDATOR.validate(body)
    assert body["rows"][-1] == ["", "", "other", "passed", "", "", 7]
