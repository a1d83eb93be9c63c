"""The demo's sender against a collector in memory."""

import asyncio
from collections.abc import Iterator

import orjson
import pytest

from pipeline.app.cli.errors import CommandError
from pipeline.app.demo_sender import DemoSender
from pipeline.demo import DemoCall
from pipeline.ports.http import Answer, Request
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.http.memory import MemoryHttpClient, an_answer


def _sent(answers: Iterator[Answer], *, patient: bool) -> tuple[list[str], list[str], DemoSender]:
    """Send until a first request is acknowledged; give the ids that were asked for, and those that were acknowledged."""
    asked: list[str] = []
    done: list[str] = []
    stop = asyncio.Event()

    def answer(request: Request) -> Answer:
        asked.extend(call["messageId"] for call in orjson.loads(request.body)["batch"])
        return next(answers)

    def acknowledged(calls: list[DemoCall]) -> None:
        done.extend(call.body["messageId"] for call in calls)
        stop.set()

    sender = DemoSender(
        MemoryHttpClient(answer),
        SystemClock(),
        collector="http://127.0.0.1:1",
        write_key="demo",
        patient=patient,
        acknowledged=acknowledged,  # type: ignore[arg-type]  # the list that the sender gives
    )

    async def run() -> None:
        await sender.run(200.0, 1, stop)

    asyncio.run(run())
    return asked, done, sender


def test_a_patient_sender_sends_again_until_it_is_acknowledged() -> None:
    """The same calls go out at each try, and count once."""
    answers = iter([an_answer(0, error="connection_refused"), an_answer(503), an_answer(200)])
    asked, done, sender = _sent(answers, patient=True)
    assert asked == done * 3
    assert (sender.counts["requests"], sender.counts["sent"]) == (1, len(done))


def test_an_impatient_sender_says_that_nothing_answers() -> None:
    """Without a run to kill, a collector that is away is an error with its remedy."""
    with pytest.raises(CommandError, match="nothing answers at http"):
        _sent(iter([an_answer(0, error="connection_refused")]), patient=False)


def test_a_refused_key_is_an_error() -> None:
    """No other try helps."""
    with pytest.raises(CommandError, match="401"):
        _sent(iter([an_answer(401)]), patient=True)
