"""What the collector counts, added up here and handed to the metrics once in a while: a request costs two additions."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.ports.metrics import Metrics


class Counts:
    """Sums since they were last handed on."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._requests: dict[tuple[str, int], int] = {}
        self._events: dict[tuple[str, str], int] = {}
        self._retries: dict[str, int] = {}

    def request(self, endpoint: str, status: int, seconds: float) -> None:
        """Count an answered request and the time from its last byte to its answer."""
        self._requests[endpoint, status] = self._requests.get((endpoint, status), 0) + 1
        self._metrics.observe("headrace_ingest_request_seconds", seconds, endpoint=endpoint)

    def events(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Count events by source and outcome."""
        for label, count in counts.items():
            self._events[label] = self._events.get(label, 0) + count

    def retry(self, source: str) -> None:
        """Count a request that its client marked as a retry."""
        self._retries[source] = self._retries.get(source, 0) + 1

    def publish(self) -> None:
        """Hand the sums on and begin anew."""
        for (endpoint, status), count in self._requests.items():
            self._metrics.add("headrace_ingest_requests_total", count, endpoint=endpoint, status=str(status))
        for (source, outcome), count in self._events.items():
            self._metrics.add("headrace_ingest_events_total", count, source=source, outcome=outcome)
        for source, count in self._retries.items():
            self._metrics.add("headrace_ingest_retries_total", count, source=source)
        self._requests.clear()
        self._events.clear()
        self._retries.clear()
