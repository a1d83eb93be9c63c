"""What the collector counts, on its way to the metrics."""

from __future__ import annotations

from pipeline.app.collector.counts import Counts
from pipeline.runtime.metrics.memory import MemoryMetrics


def test_what_was_counted_is_handed_on_once() -> None:
    """Requests and how long each took, all together, and nothing of them again."""
    metrics = MemoryMetrics()
    counts = Counts(metrics)
    counts.request("track", 200, 0.25)
    counts.request("track", 503, 0.5)
    assert not metrics.observations
    counts.publish()
    counts.publish()
    assert {("headrace_ingest_request_seconds", ("track",)): [0.25, 0.5]} == metrics.observations
    assert {("headrace_ingest_requests_total", ("track", status)): 1 for status in ("200", "503")} == metrics.sums
