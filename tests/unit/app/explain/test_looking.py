"""Halving finds the transaction of every offset, among those of other groups."""

import asyncio
from random import Random

import pytest

from pipeline.app.explain import looking
from pipeline.app.explain.looking import Looking, Transaction
from pipeline.model.ledger import Tally, ledger_key, ledger_value
from pipeline.model.record import Output
from pipeline.runtime.brokers.memory import MemoryBroker
from pipeline.testing import HandClock

GROUPS = ("validate", "enrich", "translate.crm")


@pytest.fixture(autouse=True)
def short_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few hundred records are many."""
    monkeypatch.setattr(looking, "LINEAR", 12)
    monkeypatch.setattr(looking, "PROBE", 40)


@pytest.mark.parametrize("seed", range(3))
def test_every_offset_has_its_transaction(seed: int) -> None:
    """Transactions of 1 to 9 offsets, with gaps where markers lie, of three groups and two partitions in any order."""
    chance = Random(seed)  # noqa: S311 (a test's own order)
    clock = HandClock(1_000_000)
    broker = MemoryBroker(clock)
    broker.create("shop.ledger", 1)
    written: dict[tuple[str, int], list[Transaction]] = {(group, number): [] for group in GROUPS for number in range(2)}
    places = dict.fromkeys(written, 0)
    for _ in range(180):
        group, number = chance.choice(list(written))
        start = places[group, number]
        end = start + chance.randint(1, 9)
        places[group, number] = end + chance.randint(0, 1)
        value = ledger_value(Tally(), processor=group, topic="in", partition=number, start=start, end=end, at_ms=0)
        broker.append([Output("shop.ledger", ledger_key(group, "in", number), value, (), 0)])
        written[group, number].append(Transaction(start, end, clock.now_ms(), []))
        clock.move(clock.now_ms() + chance.randint(0, 50))

    async def look() -> None:
        found = Looking(broker.lookup(), "shop", lambda _text: None)
        await found.start(["ledger"])
        for (group, number), transactions in written.items():
            for one in transactions:
                for offset in range(one.start, one.end):
                    assert one == await found.transaction(group, "in", number, offset, 1_000_000)
            assert await found.transaction(group, "in", number, places[group, number] + 5, 1_000_000) is None

    asyncio.run(look())
