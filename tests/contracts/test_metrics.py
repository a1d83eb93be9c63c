"""The contract of the metrics port, held by both adapters over the whole table of metrics."""

from __future__ import annotations

import pytest

from pipeline.model.metrics import METRICS, Metric
from pipeline.ports.metrics import Metrics
from pipeline.runtime.metrics.memory import MemoryMetrics
from pipeline.runtime.metrics.prometheus import PrometheusMetrics


@pytest.fixture(params=[MemoryMetrics, PrometheusMetrics])
def metrics(request: pytest.FixtureRequest) -> MemoryMetrics | PrometheusMetrics:
    """Each adapter in turn."""
    made: MemoryMetrics | PrometheusMetrics = request.param()
    return made


def note(metrics: Metrics, metric: Metric, value: float, **labels: str) -> None:
    """Give a metric a value, whatever its kind."""
    if metric.kind == "counter":
        metrics.add(metric.name, value, **labels)
    elif metric.kind == "gauge":
        metrics.set(metric.name, value, **labels)
    else:
        metrics.observe(metric.name, value, **labels)


def seen(metrics: MemoryMetrics | PrometheusMetrics, metric: Metric, labels: tuple[str, ...]) -> float:
    """Read a metric: a counter's or gauge's value, or the sum of a histogram's observations."""
    if isinstance(metrics, MemoryMetrics):
        key = (metric.name, labels)
        return {"counter": metrics.sums.get(key, 0.0), "gauge": metrics.values.get(key, 0.0), "histogram": sum(metrics.observations.get(key, []))}[
            metric.kind
        ]
    suffix = "_sum" if metric.kind == "histogram" else ""
    value = metrics.registry.get_sample_value(f"{metric.name}{suffix}", dict(zip(metric.labels, labels, strict=True)))
    return 0.0 if value is None else value


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())
def test_every_metric_takes_its_labels(metrics: MemoryMetrics | PrometheusMetrics, metric: Metric) -> None:
    """Counters and histograms add up, gauges keep the last value, and other labels are other series."""
    labels = dict.fromkeys(metric.labels, "a")
    note(metrics, metric, 2.0, **labels)
    note(metrics, metric, 3.0, **labels)
    note(metrics, metric, 7.0, **dict.fromkeys(metric.labels, "b"))
    assert (3.0 if metric.kind == "gauge" else 5.0) == seen(metrics, metric, ("a",) * len(metric.labels))
    assert 7.0 == seen(metrics, metric, ("b",) * len(metric.labels))


def test_labels_go_by_name(metrics: MemoryMetrics | PrometheusMetrics) -> None:
    """The order in which labels are given does not matter."""
    metrics.add("headrace_records_dropped_total", 1, processor="filter", reason="no_route")
    metrics.add("headrace_records_dropped_total", 1, reason="no_route", processor="filter")
    assert 2.0 == seen(metrics, METRICS["headrace_records_dropped_total"], ("filter", "no_route"))


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("headrace_nothing_total", {}),
        ("headrace_records_in_total", {}),
        ("headrace_records_in_total", {"processor": "filter", "user": "u-1"}),
        ("headrace_records_in_total", {"process": "filter"}),
    ],
)
def test_what_the_table_does_not_know_is_a_bug(metrics: MemoryMetrics | PrometheusMetrics, name: str, labels: dict[str, str]) -> None:
    """An unknown name, a missing or a further label raises KeyError."""
    with pytest.raises(KeyError):
        metrics.add(name, 1, **labels)


def test_text_says_what_each_metric_is() -> None:
    """Prometheus reads name, kind and sentence of every metric of the table."""
    text = PrometheusMetrics().text().decode()
    for metric in METRICS.values():
        assert f"# HELP {metric.name} {metric.sentence}" in text
        assert f"# TYPE {metric.name} {metric.kind}" in text


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())
def test_names_follow_the_conventions(metric: Metric) -> None:
    """Counters end in _total, nothing else does; histograms have rising buckets, nothing else has any."""
    assert metric.name.startswith("headrace_")
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert sorted(set(metric.buckets)) == list(metric.buckets)
