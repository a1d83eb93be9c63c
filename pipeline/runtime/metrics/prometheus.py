"""Counts in prometheus_client, under the names of the table."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from pipeline.model.metrics import METRICS, Metric


class PrometheusMetrics:
    """Every metric of the table, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._metrics: dict[str, Counter | Gauge] = {}
        self._children: dict[tuple[str, tuple[tuple[str, str], ...]], Counter | Gauge] = {}
        self._histograms: dict[str, _Histogram] = {}
        for metric in METRICS.values():
            if metric.kind == "counter":
                self._metrics[metric.name] = Counter(metric.name, metric.sentence, metric.labels, registry=self.registry)
            elif metric.kind == "gauge":
                self._metrics[metric.name] = Gauge(metric.name, metric.sentence, metric.labels, registry=self.registry)
            else:
                made = self._histograms[metric.name] = _Histogram(metric)
                self.registry.register(made)

    def _child(self, name: str, labels: dict[str, str]) -> Counter | Gauge:
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
        self._child(name, labels).inc(amount)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._child(name, labels).set(value)  # type: ignore[union-attr]  # the table says that it is a gauge

    def observe(self, name: str, *values: float, **labels: str) -> None:
        """Add observations to a histogram."""
        self._histograms[name].observe(values, labels)

    def text(self) -> bytes:
        """Write all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _Series:
    """The observations of one set of labels: how many in each bucket, the last for what is beyond all bounds, and their sum."""

    __slots__ = ("counts", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * (buckets + 1)
        self.total = 0.0


class _Histogram(Collector):
    """A histogram that is observed for every request: prometheus_client's own takes a lock for each bucket that it looks at, 2 µs in all."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._series: dict[tuple[str, ...], _Series] = {}

    def observe(self, values: Sequence[float], labels: dict[str, str]) -> None:
        """Add observations."""
        key = tuple(labels.values())
        metric = self._metric
        if tuple(labels) != metric.labels:
            if labels.keys() != set(metric.labels):
                reason = f"{metric.name} takes the labels {metric.labels}, not {tuple(labels)}"
                raise KeyError(reason)
            key = tuple(labels[name] for name in metric.labels)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series(len(metric.buckets))
        for value in values:
            series.counts[bisect_left(metric.buckets, value)] += 1
        series.total += sum(values)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Give what was observed, in the form that the registry asks for."""
        family = HistogramMetricFamily(self._metric.name, self._metric.sentence, labels=self._metric.labels)
        bounds = [*map(floatToGoString, self._metric.buckets), "+Inf"]
        for labels, series in self._series.items():
            below, buckets = 0, []
            for bound, count in zip(bounds, series.counts, strict=True):
                below += count
                buckets.append((bound, float(below)))
            family.add_metric(labels, buckets, series.total)
        yield family
