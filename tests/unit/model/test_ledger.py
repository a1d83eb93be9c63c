"""The ledger proves that nothing is dropped without a reason, in small records."""

from __future__ import annotations

import orjson

from pipeline.model.ledger import LATENCY_BOUNDS_MS, ROWS_MOST, Row, Tally, ledger_key, ledger_value


def test_totals_leave_out_what_is_withheld() -> None:
    """The sum of the totals is how many inputs there were."""
    tally = Tally()
    tally.rows.update(
        {Row("w", "track", "A", "passed"): 3, Row("w", "track", "A", "withheld", "filtered", "crm"): 3, Row("w", "", "", "dead", "x"): 1}
    )
    assert {"passed": 3, "dropped": 0, "dead": 1, "blocked": 0} == tally.totals()


def test_a_record_stays_small_and_its_sums_exact() -> None:
    """Beyond 200 rows the rarest are added up as other, by verdict and reason; the totals are those of all rows."""
    tally = Tally()
    for number in range(ROWS_MOST + 50):
        tally.rows[Row("web", "track", f"Event {number}", "passed")] = 2
    for number in range(30):
        tally.rows[Row("web", "track", f"Rare {number}", "dropped", "duplicate")] = 1
    body = orjson.loads(ledger_value(tally, processor="filter", topic="enriched", partition=2, start=5, end=535, at_ms=9))
    assert 2 * (ROWS_MOST + 50) + 30 == body["in"] == sum(row[-1] for row in body["rows"])
    assert ROWS_MOST + 2 == len(body["rows"])
    assert [["", "", "other", "passed", "", "", 100], ["", "", "other", "dropped", "duplicate", "", 30]] == body["rows"][ROWS_MOST:]
    assert (5, 535, 2, "enriched", 9) == (body["from"], body["to"], body["partition"], body["topic"], body["at"])
    assert b"filter/enriched/2" == ledger_key("filter", "enriched", 2)


def test_attempts_fall_into_their_bucket() -> None:
    """A latency counts in the first bucket whose bound it does not exceed; beyond the last bound there is one more."""
    tally = Tally()
    for latency in (0, 10, 10.1, 30_000, 30_001):
        tally.attempt(200, latency)
    tally.attempt(0, 5)
    body = orjson.loads(ledger_value(tally, processor="deliver.crm", topic="requests.crm", partition=0, start=0, end=6, at_ms=0))
    assert {"0": 1, "200": 5} == body["statuses"]
    expected = [0] * (len(LATENCY_BOUNDS_MS) + 1)
    expected[0], expected[1], expected[-2], expected[-1] = 3, 1, 1, 1
    assert expected == body["latency_ms"]
