"""Counts in prometheus_client, under the names of the table."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from pipeline.model.metrics import METRICS


class PrometheusMetrics:
    """Every metric of the table, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._metrics: dict[str, Counter | Gauge | Histogram] = {}
        self._children: dict[tuple[str, tuple[tuple[str, str], ...]], Counter | Gauge | Histogram] = {}
        for metric in METRICS.values():
            if metric.kind == "counter":
                made: Counter | Gauge | Histogram = Counter(metric.name, metric.sentence, metric.labels, registry=self.registry)
            elif metric.kind == "gauge":
                made = Gauge(metric.name, metric.sentence, metric.labels, registry=self.registry)
            else:
                made = Histogram(metric.name, metric.sentence, metric.labels, registry=self.registry, buckets=metric.buckets)
            self._metrics[metric.name] = made

    def _child(self, name: str, labels: dict[str, str]) -> Counter | Gauge | Histogram:
        key = (name, tuple(labels.items()))
        child = self._children.get(key)
        if child is None:
            metric = self._metrics[name]
            try:
                child = self._children[key] = metric.labels(**labels) if labels or METRICS[name].labels else metric
            except ValueError as error:
                reason = f"{name} takes the labels {METRICS[name].labels}, not {tuple(labels)}"
                raise KeyError(reason) from error
        return child

    def add(self, name: str, amount: float, **labels: str) -> None:
        """Add to a counter."""
        self._child(name, labels).inc(amount)  # type: ignore[union-attr]  # the table says that it is a counter

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._child(name, labels).set(value)  # type: ignore[union-attr]  # the table says that it is a gauge

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add one observation to a histogram."""
        self._child(name, labels).observe(value)  # type: ignore[union-attr]  # the table says that it is a histogram

    def text(self) -> bytes:
        """Write all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
