"""Every row of the table of odd JSON, sent to the real collector and read out of the lake (T47, T48)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest

from pipeline.model.headers import RECEIVED_AT
from pipeline.model.odd_json import ODD_VALUES, OddValue
from pipeline.model.record import Output
from pipeline.model.workspace import Source, Storage, Workspace
from pipeline.resources import resource
from pipeline.testing import Driver
from tests.integration.collector_over_http import AUTHORIZATION, Answer, SteeredProducer, collector, connection

WORKSPACE = Workspace("shop", sources={"web": Source("web", ("demo",))}, storage={"lake": Storage("lake", "parquet", ("web",), {"path": "lake"})})


class Carried(NamedTuple):
    """What became of the rows: the answers, what the collector stored, what it counted, and the lake's messages by message id."""

    answers: list[Answer]
    counted: dict[str, float]
    messages: dict[str, bytes]


def body_of(row: OddValue, number: int) -> bytes:
    """Write the request of a row; its message id is its place in the table."""
    if row.whole:
        return row.sent.replace(b'"m"', b'"%d"' % number)
    return b'{"type":"track","event":"E","userId":"u","messageId":"%d","properties":{"x":%s}}' % (number, row.sent)


@pytest.fixture(scope="module")
def carried() -> Carried:
    """Send all rows, and let the whole topology carry what was stored."""
    producer = SteeredProducer()

    async def send() -> tuple[list[Answer], dict[str, float]]:
        async with collector(producer, workspace=WORKSPACE) as running, connection(running.port) as client:
            got = []
            for number, row in enumerate(ODD_VALUES):
                path = "/v1/page" if row.whole else "/v1/track"
                got.append(await client.ask(f"POST {path}", AUTHORIZATION, body=body_of(row, number)))
        sums = running.metrics.sums
        return got, {labels[1]: total for (name, labels), total in sums.items() if name == "headrace_ingest_replaced_values_total"}

    answers, counted = asyncio.run(send())
    return Carried(answers, counted, in_the_lake(producer.stored))


def in_the_lake(outputs: list[Output]) -> dict[str, bytes]:
    """Run the default topology over records of `raw`."""
    with Driver(Path(str(resource("topologies") / "default.yaml")), WORKSPACE) as driver:
        for output in outputs:
            headers = {name: value for name, value in output.headers if name != RECEIVED_AT}
            driver.write(output.topic.removeprefix("shop."), output.key, output.value, headers)
        driver.run_until_idle()
        driver.advance(60)
        return {row["id"]: row["message_json"].encode() for row in driver.rows("lake")}


ROWS = list(enumerate(ODD_VALUES))
NAMES = [row.name for row in ODD_VALUES]


@pytest.mark.parametrize(("number", "row"), ROWS, ids=NAMES)
def test_the_answer_is_the_row_s(carried: Carried, number: int, row: OddValue) -> None:
    """200, or 400 with the code."""
    answer = carried.answers[number]
    assert (answer.status, orjson.loads(answer.body).get("code", "")) == (400 if row.code else 200, row.code)


@pytest.mark.parametrize(("number", "row"), ROWS, ids=NAMES)
def test_the_lake_holds_what_the_row_says(carried: Carried, number: int, row: OddValue) -> None:
    """The value's text is that of the table, byte for byte, and what was replaced is told in the event."""
    message = carried.messages.get(str(number))
    if row.stored is None:
        assert message is None
        return
    assert message is not None
    if not row.whole:
        assert b'"properties":{"x":%s}' % row.stored in message
    context = orjson.loads(message).get("context") or {} if row.counted else {}
    told = [place["what"] for place in context.get("replaced", [])]
    assert told == ([row.counted] if row.counted else [])


def test_every_replacement_is_counted(carried: Carried) -> None:
    """By source and name, as often as it happened."""
    wanted: dict[str, float] = {}
    for row in ODD_VALUES:
        if row.counted:
            wanted[row.counted] = wanted.get(row.counted, 0) + 1
    assert wanted == carried.counted


def test_no_odd_value_costs_its_batch() -> None:
    """All values of the table in one batch, and a plain one: each is stored, or dies alone."""
    good = [(number, row) for number, row in ROWS if not row.whole and row.code != "invalid_json"]
    producer = SteeredProducer()

    async def send() -> Answer:
        async with collector(producer, workspace=WORKSPACE) as running, connection(running.port) as client:
            return await client.ask("POST /v1/batch", AUTHORIZATION, body=b'{"batch":[%s]}' % b",".join(body_of(row, number) for number, row in good))

    assert asyncio.run(send()).status == 200
    assert len(good) == len(producer.stored)
    dead = [row for (_, row), output in zip(good, producer.stored, strict=True) if output.topic != "shop.raw"]
    assert [row for _, row in good if row.code] == dead
    for (_, row), output in zip(good, producer.stored, strict=True):
        assert row.stored is None or b'"properties":{"x":%s}' % row.stored in (output.value or b"")
