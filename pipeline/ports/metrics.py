"""Counting, without saying where the counts go."""

from __future__ import annotations

from typing import Protocol


class Metrics(Protocol):
    """Takes counts under the names of `pipeline.model.metrics`; an unknown name or label is a bug and raises KeyError."""

    def add(self, name: str, amount: float, **labels: str) -> None:
        """Add to a counter."""
        ...

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        ...

    def observe(self, name: str, *values: float, **labels: str) -> None:
        """Add observations to a histogram."""
        ...
