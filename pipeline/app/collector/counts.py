"""What the collector counts, added up here and handed to the metrics once in a while: a request costs a few additions."""

from __future__ import annotations

from pipeline.ingest import Accepted, Refused
from pipeline.ingest.write_keys import Holder
from pipeline.model.metrics import METRICS
from pipeline.ports.metrics import Metrics


class Counts:
    """Sums since they were last handed on."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._requests: dict[tuple[str, int], int] = {}
        self._seconds: dict[str, list[float]] = {}
        self._events: dict[tuple[str, str], int] = {}
        self._keys: dict[Holder, int] = {}
        self._refusals: dict[tuple[str, str, str, str], int] = {}
        self._sums: dict[tuple[str, str, str], int] = {}

    def request(self, endpoint: str, status: int, seconds: float) -> None:
        """Count an answered request and the time from its last byte to its answer."""
        self._requests[endpoint, status] = self._requests.get((endpoint, status), 0) + 1
        taken = self._seconds.get(endpoint)
        if taken is None:
            taken = self._seconds[endpoint] = []
        taken.append(seconds)

    def accepted(self, verdict: Accepted) -> None:
        """Count the events of a request that was taken, what was replaced in them, and whose key it was."""
        for label, count in verdict.counts.items():
            self._events[label] = self._events.get(label, 0) + count
        if verdict.key is not None:
            self._keys[verdict.key] = self._keys.get(verdict.key, 0) + 1
        if verdict.replaced:
            for (source, name), count in verdict.replaced.items():
                self._add("headrace_ingest_replaced_values_total", source, name, count)

    def refusal(self, endpoint: str, refusal: Refused) -> None:
        """Count a request that was refused; its code stands here only, where it is a pixel's. Takes as long for a disabled key as for any."""
        counted = (endpoint, refusal.code, refusal.source, refusal.key)
        self._refusals[counted] = self._refusals.get(counted, 0) + 1

    def retry(self, verdict: Accepted, attempt: str) -> None:
        """Count a request that its client says it sends again, by how often it has."""
        source = next((source for source, _ in verdict.counts), "")
        self._add("headrace_ingest_retries_total", source, attempt_label(attempt))

    def _add(self, name: str, first: str, second: str, count: int = 1) -> None:
        key = (name, first, second)
        self._sums[key] = self._sums.get(key, 0) + count

    def publish(self) -> None:
        """Hand the sums on and begin anew."""
        for (endpoint, status), count in self._requests.items():
            self._metrics.add("headrace_ingest_requests_total", count, endpoint=endpoint, status=str(status))
        for endpoint, seconds in self._seconds.items():
            self._metrics.observe("headrace_ingest_request_seconds", *seconds, endpoint=endpoint)
        for (source, outcome), count in self._events.items():
            self._metrics.add("headrace_ingest_events_total", count, source=source, outcome=outcome)
        for holder, count in self._keys.items():
            self._metrics.add("headrace_ingest_key_requests_total", count, source=holder.source, key=holder.fingerprint)
        for (endpoint, code, source, key), count in self._refusals.items():
            self._metrics.add("headrace_ingest_refused_total", count, endpoint=endpoint, code=code)
            if source:
                self._metrics.add("headrace_ingest_events_total", count, source=source, outcome="refused")
            if key:
                self._metrics.add("headrace_ingest_key_requests_total", count, source=source, key=key)
        for (name, first, second), count in self._sums.items():
            labels = METRICS[name].labels
            self._metrics.add(name, count, **{labels[0]: first, labels[1]: second})
        self._requests.clear()
        self._seconds.clear()
        self._events.clear()
        self._keys.clear()
        self._refusals.clear()
        self._sums.clear()


def attempt_label(attempt: str) -> str:
    """Give the label of a retry count, of which there are few.

    Args:
        attempt: What the client's header says.

    Returns:
        `1`, `2`, `3`, `4-10` or `more`; `unknown` where it is no number.
    """
    if not attempt.isascii() or not attempt.isdigit() or len(attempt) > 9:
        return "unknown"
    number = int(attempt)
    return str(number) if number <= 3 else "4-10" if number <= 10 else "more"
