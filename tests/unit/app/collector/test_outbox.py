"""Micro-batches: bounds, failures, and who learns what."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.app.collector.outbox import BESIDE_BYTES, FLIGHT_BYTES, RECORD_BYTES, Outbox
from pipeline.model.record import Output
from pipeline.ports.broker import RecordRefused
from tests.integration.collector_over_http import LeapingClock, SteeredProducer


def record(value: bytes) -> list[Output]:
    """Make one record."""
    return [Output("shop.raw", b"k", value)]


async def test_what_gathers_during_a_send_goes_together() -> None:
    """One send is under way, and everything after it waits for the next one."""
    producer = SteeredProducer()
    producer.gate.clear()
    outbox = Outbox(producer, LeapingClock())
    first = outbox.put(record(b"1"), 1)
    await producer.asked.acquire()
    others = [outbox.put(record(b"%d" % number), 1) for number in range(2, 9)]
    await asyncio.sleep(0)
    assert producer.sends == 1
    producer.gate.set()
    assert all(await asyncio.gather(first, *others))
    assert producer.sends == 2
    assert sorted(output.value or b"" for output in producer.stored) == [b"%d" % number for number in range(1, 9)]
    assert outbox.held_bytes == 0


async def test_what_comes_soon_after_a_send_gathers() -> None:
    """What comes right after a send waits for what else comes, and goes with it; what is worth a send does not wait."""
    producer = SteeredProducer()
    outbox = Outbox(producer, LeapingClock())
    assert await outbox.put(record(b"1"), 1)
    second = outbox.put(record(b"2"), 1)
    await asyncio.sleep(0)
    third = outbox.put(record(b"3"), 1)
    assert all(await asyncio.gather(second, third))
    assert producer.sends == 2
    fourth, fifth = outbox.put(record(b"4"), 1), outbox.put(record(b"5"), BESIDE_BYTES)
    assert all(await asyncio.gather(fourth, fifth))
    assert producer.sends == 3


async def test_what_is_worth_a_send_goes_beside_the_first() -> None:
    """A second send starts once enough waits, and no third one."""
    producer = SteeredProducer()
    producer.gate.clear()
    outbox = Outbox(producer, LeapingClock())
    stored = [outbox.put(record(b"1"), 1)]
    await producer.asked.acquire()
    stored += [outbox.put(record(b"2"), BESIDE_BYTES), outbox.put(record(b"3"), BESIDE_BYTES)]
    await producer.asked.acquire()
    stored.append(outbox.put(record(b"4"), BESIDE_BYTES))
    await asyncio.sleep(0)
    assert producer.sends == 2
    producer.gate.set()
    assert all(await asyncio.gather(*stored))
    assert producer.sends == 3


async def test_a_send_has_a_size() -> None:
    """What would make it too large goes with the next one; a single request is never cut."""
    producer = SteeredProducer()
    producer.gate.clear()
    outbox = Outbox(producer, LeapingClock())
    large = [outbox.put(record(b"x"), FLIGHT_BYTES) for _ in range(3)]
    await producer.asked.acquire()
    await producer.asked.acquire()
    assert producer.sends == 2
    producer.gate.set()
    assert await asyncio.gather(*large) == [True, True, True]


async def test_has_room_until_the_bound() -> None:
    """Bytes count until they are stored; a request alone is always taken, however large."""
    producer = SteeredProducer()
    producer.gate.clear()
    outbox = Outbox(producer, LeapingClock(), most_bytes=1000)
    assert outbox.has_room(5000)
    stored = outbox.put(record(b"x"), 900 - RECORD_BYTES)
    assert outbox.has_room(100)
    assert not outbox.has_room(101)
    producer.gate.set()
    assert await stored
    await outbox.drain()
    assert outbox.has_room(5000)


async def test_bytes_of_a_silent_broker_stay_held() -> None:
    """A request that was given up is told so at once; its bytes count until its send ends, and those that still waited are let go."""
    producer = SteeredProducer()
    producer.gate.clear()
    clock = LeapingClock()
    outbox = Outbox(producer, clock)
    flying = outbox.put(record(b"1"), 1)
    await producer.asked.acquire()
    waiting = outbox.put(record(b"3"), 1)
    clock.ahead = 5.0
    outbox.give_up_on_late()
    assert (await flying, await waiting) == (False, False)
    assert outbox.held_bytes == 1 + RECORD_BYTES
    producer.gate.set()
    await outbox.drain()
    assert outbox.held_bytes == 0


async def test_a_refused_record_fails_its_own_request_only() -> None:
    """The others of the same send are stored one by one."""

    class Choosy(SteeredProducer):
        async def send(self, outputs: object) -> None:
            assert isinstance(outputs, list)
            if any(output.value == b"bad" for output in outputs):
                raise RecordRefused("too large")
            await super().send(outputs)

    producer = Choosy()
    outbox = Outbox(producer, LeapingClock())
    results = [outbox.put(record(value), 3) for value in (b"one", b"bad", b"two")]
    assert await asyncio.gather(*results) == [True, False, True]
    assert [output.value for output in producer.stored] == [b"one", b"two"]


async def test_a_bug_is_told() -> None:
    """What is no BrokerError fails the request and becomes the outbox's own failure."""

    class Buggy(SteeredProducer):
        async def send(self, outputs: object) -> None:
            raise LookupError("bug")

    outbox = Outbox(Buggy(), LeapingClock())
    assert not await outbox.put(record(b"x"), 1)
    with pytest.raises(LookupError, match="bug"):
        await outbox.crashed
