"""An inbox gives what came in order, and says when it is full."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.runtime.inbox import Inbox, InboxClosedError
from pipeline.testing import record
from tests.unit.runtime.jumping import jumping


@jumping
async def test_an_inbox_gives_slices_in_order() -> None:
    """At least one record is given, and no more than the bytes asked for; nothing within the time is an empty list."""
    inbox = Inbox(1_000_000, lambda: None)
    records = [record(b"x" * 1_000, offset=number) for number in range(5)]
    assert not inbox.put(records)
    assert 5 == len(inbox)
    assert [0] == [one.offset for one in await inbox.take(1, None)]
    assert [1, 2] == [one.offset for one in await inbox.take(2_000, None)]
    assert [3, 4] == [one.offset for one in await inbox.take(1_000_000, 0)]
    assert [] == await inbox.take(1, 5)


@jumping
async def test_an_inbox_says_when_it_is_full_and_when_there_is_room() -> None:
    """Above its bound put says so; room is told once, when less than half is left."""
    told: list[int] = []
    inbox = Inbox(10_000, lambda: told.append(len(inbox)))
    thousand = record(b"x" * 741)  # with what else a record weighs
    assert not inbox.put([thousand] * 10)
    assert inbox.put([thousand])
    await inbox.take(6_000, None)
    assert [] == told
    await inbox.take(1, None)
    assert [4] == told
    await inbox.take(3_000, None)
    assert [4] == told


@jumping
async def test_a_closed_inbox_lets_go() -> None:
    """What was not taken when it closes is gone, and whoever waits is told."""
    inbox = Inbox(1_000, lambda: None)
    waiting = asyncio.create_task(inbox.take(1, None))
    await asyncio.sleep(0)
    inbox.close()
    with pytest.raises(InboxClosedError):
        await waiting
    full = Inbox(1_000, lambda: None)
    full.put([record()])
    full.close()
    with pytest.raises(InboxClosedError):
        await full.take(1, 0)


@jumping
async def test_an_inbox_counts_all_of_a_record() -> None:
    """Keys and headers take memory like values: a producer that hides its bytes there fills the inbox alike."""
    hidden = record(b"{}", key=b"k" * 400, headers={"a": b"v" * 400})._replace(value=None)
    inbox = Inbox(1_500, lambda: None)
    assert not inbox.put([hidden])
    assert inbox.put([hidden])
    assert [hidden] == await inbox.take(1_000, 0)
