"""The tally of a transaction becomes metrics, each count once."""

from __future__ import annotations

import pytest

from pipeline.model.ledger import Row, Tally
from pipeline.runtime.counting import count_transaction
from pipeline.runtime.metrics.memory import MemoryMetrics
from pipeline.testing import record


def counted(tally: Tally, received_at: bytes | None = b"1000") -> MemoryMetrics:
    """Count a transaction that ended at 3.5 s."""
    metrics = MemoryMetrics()
    last = record()._replace(headers=(("source", b"web"), ("received_at", received_at)))  # type: ignore[arg-type]  # Kafka lets a header be null
    count_transaction(metrics, "filter", tally, last, 3_500)
    return metrics


def test_verdicts_become_counters() -> None:
    """Inputs, verdicts by reason and outputs by lane are added up; what is withheld counts by destination and is no input."""
    tally = Tally()
    tally.rows[Row("web", "track", "A", "passed")] = 3
    tally.rows[Row("app", "track", "B", "passed")] = 2
    tally.rows[Row("web", "track", "A", "dropped", "no_route")] = 4
    tally.rows[Row("web", "page", "", "dropped", "no_route")] = 1
    tally.rows[Row("web", "track", "A", "dead", "crashed")] = 1
    tally.rows[Row("web", "track", "A", "withheld", "filtered_by_rules", "crm")] = 6
    tally.lanes.update({"main": 5, "dead": 1})
    metrics = counted(tally)
    assert {
        ("headrace_records_in_total", ("filter",)): 11,
        ("headrace_records_passed_total", ("filter",)): 5,
        ("headrace_records_dropped_total", ("filter", "no_route")): 5,
        ("headrace_records_dead_total", ("filter", "crashed")): 1,
        ("headrace_records_withheld_total", ("filter", "crm", "filtered_by_rules")): 6,
        ("headrace_records_out_total", ("filter", "main")): 5,
        ("headrace_records_out_total", ("filter", "dead")): 1,
    } == metrics.sums
    assert [11] == metrics.observations["headrace_batch_records", ("filter",)]
    assert [2.5] == metrics.observations["headrace_end_to_end_seconds", ("filter",)]


@pytest.mark.parametrize(
    ("received_at", "seconds"), [(None, []), (b"", []), (b"soon", []), (b"-5", []), (b"9" * 5_000, []), (b"9999", [0.0]), (b"0", [3.5])]
)
def test_an_age_that_is_none_is_not_observed(received_at: bytes | None, seconds: list[float]) -> None:
    """Whatever a foreign producer wrote as received_at, counting goes on; a time in the future is no age below nothing."""
    assert seconds == counted(Tally(), received_at).observations.get(("headrace_end_to_end_seconds", ("filter",)), [])
