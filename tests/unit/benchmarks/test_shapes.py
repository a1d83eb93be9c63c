"""Shapes are measured one after the other; one that fails is named."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from benchmarks import shapes
from benchmarks.figures import ALONE, AMONG
from benchmarks.processors import Shape


async def test_a_shape_that_fails_leaves_the_figures_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reason is kept on one line; of a shape that is sent only deliver's figures are kept."""

    @asynccontextmanager
    async def no_cluster() -> AsyncIterator[None]:
        yield

    async def one(_bare: object, _number: int, shape: Shape) -> list[dict[str, Any]]:
        if shape.destinations == 200:
            raise RuntimeError("a process ended\nwith status 75")
        return [{"processor": name} for name in shape.stages]

    monkeypatch.setattr(shapes, "cluster", no_cluster)
    monkeypatch.setattr(shapes, "_one", one)
    found = await shapes.measure(1_000, "sent")
    assert found == {"shapes": {ALONE: [{"processor": "deliver"}]}, "not_run": {AMONG: "a process ended with status 75"}}
