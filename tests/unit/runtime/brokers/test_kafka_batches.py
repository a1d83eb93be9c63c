"""How records are packed for Kafka."""

from __future__ import annotations

import pytest

from pipeline.model.record import Output
from pipeline.runtime.brokers.kafka_batches import FEW, SMALL_BYTES, worth_packing


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([SMALL_BYTES - 1], False), ([SMALL_BYTES], True), ([SMALL_BYTES // 2] * 2, True), ([1] * FEW, False), ([1] * (FEW + 1), True), ([0], False)],
)
def test_what_is_small_goes_as_it_is(sizes: list[int], expected: bool) -> None:  # noqa: FBT001 (a case of the table)
    """A ledger record or a single small event is not worth its compression; many records are."""
    assert expected == worth_packing([Output("test.out", None, b"v" * size or None) for size in sizes])
