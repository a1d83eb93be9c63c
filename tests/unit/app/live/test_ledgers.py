"""Rates, totals and quantiles from ledger records."""

from typing import Any

import orjson
import pytest

from pipeline.app.live.ledgers import Ledgers, Rate, quantile
from pipeline.model.ledger import Row, Tally, ledger_value


def body(processor: str, rows: dict[Row, int], *, start: int = 0, at_ms: int = 100_000, status: int = 0) -> dict[str, Any]:
    """Write a ledger record of partition 0 of `raw` and read it again."""
    tally = Tally()
    tally.rows.update(rows)
    if status:
        tally.attempt(status, 30.0)
    count = sum(tally.totals().values())
    value = ledger_value(tally, processor=processor, topic="raw", partition=0, start=start, end=start + count, at_ms=at_ms)
    parsed: dict[str, Any] = orjson.loads(value)
    return parsed


def test_rate_is_the_mean_of_ten_whole_seconds() -> None:
    """The second that is under way does not count yet, nor does the eleventh before it."""
    rate = Rate()
    for at_ms, count in ((89_999, 1000), (90_000, 30), (99_999, 20), (100_000, 500)):
        rate.add(at_ms, count)
    assert 5.0 == rate.per_second(100_400)


def test_rate_forgets() -> None:
    """A rate keeps minutes, not hours."""
    rate = Rate()
    for second in range(10_000):
        rate.add(second * 1000, 1)
    assert [1] * 60 == rate.history(10_000_000)
    assert len(rate._seconds) <= 120


def test_totals_by_reason() -> None:
    """Inputs are added up by verdict and reason; what was withheld stands beside them."""
    ledgers = Ledgers()
    rows = {
        Row("web", "track", "E", "passed"): 3,
        Row("web", "track", "E", "dropped", "duplicate"): 2,
        Row("web", "page", "", "withheld", "filtered_by_rules", "crm"): 1,
    }
    ledgers.add(body("validate", rows), "validate")
    summary = ledgers.summary(105_000)["validate"]
    assert (5, 3, {"duplicate": 2}, {}, {"filtered_by_rules": 1}) == (
        summary["in"],
        summary["passed"],
        summary["dropped"],
        summary["dead"],
        summary["withheld"],
    )
    assert {"web": 0.5} == ledgers.source_rates(105_000)


def test_deliver_has_statuses_and_quantiles() -> None:
    """Answers are counted by status; latencies are those of the histogram's bounds."""
    ledgers = Ledgers()
    ledgers.add(body("deliver.crm", {Row("web", "track", "E", "passed"): 1}, status=200), "validate")
    summary = ledgers.summary(100_000)["deliver.crm"]
    assert ({"200": 1}, 50, 50) == (summary["statuses"], summary["p50"], summary["p95"])


def test_transaction_of_an_offset() -> None:
    """The transaction that took an offset is found, until it is forgotten."""
    ledgers = Ledgers()
    for start in range(0, 1000, 2):
        ledgers.add(body("validate", {Row("web", "track", "E", "dead", "crashed"): 2}, start=start), "validate")
    found = ledgers.transaction("validate", "raw", 0, 997)
    assert found is not None
    assert (996, 998) == (found.start, found.end)
    assert ledgers.transaction("validate", "raw", 0, 3) is None
    assert ledgers.transaction("validate", "raw", 0, 1000) is None
    assert ledgers.transaction("enrich", "raw", 0, 997) is None


@pytest.mark.parametrize(
    ("buckets", "share", "expected"),
    [([0] * 12, 0.5, None), ([1, 0, 1] + [0] * 9, 0.5, 10), ([1, 0, 1] + [0] * 9, 0.95, 50), ([0] * 11 + [1], 0.5, None)],
)
def test_quantile(buckets: list[int], share: float, expected: int | None) -> None:
    """A quantile is the upper bound of its bucket, and unknown above the last one."""
    assert expected == quantile(buckets, share)
