"""Counts in plain dictionaries, for drivers and tests."""

from __future__ import annotations

from collections import defaultdict

from pipeline.model.metrics import METRICS


class MemoryMetrics:
    """Keeps sums, last values and observations by name and labels.

    Attributes:
        sums: Counters.
        values: Gauges.
        observations: Histograms.
    """

    def __init__(self) -> None:
        self.sums: defaultdict[tuple[str, tuple[str, ...]], float] = defaultdict(float)
        self.values: dict[tuple[str, tuple[str, ...]], float] = {}
        self.observations: defaultdict[tuple[str, tuple[str, ...]], list[float]] = defaultdict(list)

    def _key(self, name: str, labels: dict[str, str]) -> tuple[str, tuple[str, ...]]:
        metric = METRICS[name]
        if set(labels) != set(metric.labels):
            reason = f"{name} takes the labels {metric.labels}, not {tuple(labels)}"
            raise KeyError(reason)
        return name, tuple(labels[label] for label in metric.labels)

    def add(self, name: str, amount: float, **labels: str) -> None:
        """Add to a counter."""
        self.sums[self._key(name, labels)] += amount

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self.values[self._key(name, labels)] = value

    def observe(self, name: str, *values: float, **labels: str) -> None:
        """Add observations to a histogram."""
        self.observations[self._key(name, labels)].extend(values)
