"""What checks the product is itself able to find a fault."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.conservation import laws, read_counts
from tests.acceptance.sent import compare, difference
from tests.faults.whole_run_accounts import read_ledger

METRICS = """\
headrace_ingest_events_total{outcome="accepted",source="web"} 3.0
headrace_records_in_total{processor="validate"} 4.0
headrace_records_passed_total{processor="validate"} 3.0
headrace_records_dropped_total{processor="validate",reason="duplicate"} 1.0
headrace_records_out_total{processor="validate",lane="main"} 3.0
headrace_records_in_total{processor="lake.lake"} 3.0
headrace_records_passed_total{processor="lake.lake"} 3.0
"""


def test_a_balanced_run_satisfies_every_law() -> None:
    """Three events of the collector and one foreign record: four in, three on, one dropped."""
    assert [law for law in laws(read_counts([METRICS]), foreign=1) if law.left != law.right] == []


@pytest.mark.parametrize(
    ("line", "broken"),
    [
        ('records_passed_total{processor="validate"} 3.0', "validate: in = passed + dropped + dead + blocked"),
        ('records_in_total{processor="lake.lake"} 3.0', "validate main = lake.lake in"),
        ('ingest_events_total{outcome="accepted",source="web"} 3.0', "raw: collector + foreign + rekeyed = validate in"),
    ],
)
def test_one_record_too_few_breaks_a_law(line: str, broken: str) -> None:
    """A count that is one less breaks the law of its place."""
    counts = read_counts([METRICS.replace(line, line.replace("3.0", "2.0"))])
    assert broken in [law.name for law in laws(counts, foreign=1) if law.left != law.right]


def test_missing_doubled_unknown_and_changed_messages_are_found() -> None:
    """Each way in which stored messages can differ from the sent ones has its list."""
    sent: dict[str, dict[str, Any]] = {name: {"messageId": name, "properties": {"n": 2**53 + 1}} for name in ("kept", "changed", "doubled", "lost")}
    stored: list[dict[str, Any]] = [
        sent["kept"],
        {"messageId": "changed", "properties": {"n": 2**53}},
        sent["doubled"],
        sent["doubled"],
        {"messageId": "new"},
    ]
    assert compare(sent, stored) == (["lost"], ["doubled"], ["new"], ["changed/properties"])


def test_types_count_and_the_order_of_keys_does_not() -> None:
    """1, 1.0 and true are different values; additions to the context are none."""
    assert [difference({"properties": 1}, {"properties": value}) for value in (1, 1.0, True, "1")] == [
        "",
        "/properties",
        "/properties",
        "/properties",
    ]
    assert difference({"properties": {"a": 1, "b": 2}, "context": {"x": 1}}, {"context": {"x": 1, "ip": "::1"}, "properties": {"b": 2, "a": 1}}) == ""


def test_offsets_that_two_transactions_took_are_found() -> None:
    """Two ledger records of one partition may not take the same offset."""
    ends = {"passed": 2, "dropped": 0, "dead": 0, "blocked": 0, "lanes": {"main": 2}, "rows": []}
    place = {"processor": "enrich", "topic": "validated", "partition": 0}
    first, second = ({**place, **ends, "in": 2, "from": start, "to": start + 2} for start in (0, 1))
    assert read_ledger([first, {**first, "from": 2, "to": 4}]).overlaps == []
    assert len(read_ledger([first, second]).overlaps) == 1
