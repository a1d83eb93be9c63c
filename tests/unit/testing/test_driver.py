"""The driver keeps what it promises to those who test their topologies with it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from pipeline.declaration import DeclarationError
from pipeline.model.workspace import Destination, Source, Storage, Workspace
from pipeline.ports.broker import BrokerError
from pipeline.resources import resource
from pipeline.runtime.breaker import CRASHES_MOST
from pipeline.testing import START_MS, Driver, an_answer, event, record
from pipeline.testing.loop import JumpingLoop

FUSED = resource("topologies") / "fused.yaml"
CRM = Destination("crm", "webhook", ("web",), settings={"url": "https://crm.example/hook", "shared_secret": "${env:CRM_SECRET}"})
WORKSPACE = Workspace(
    "shop",
    sources={"web": Source("web")},
    destinations={"crm": CRM},
    storage={"lake": Storage("lake", "parquet", ("web",), {"path": "./lake"})},
)
SECRETS = {"CRM_SECRET": "whsec_dGVzdC1zZWNyZXQtb2YtdGhlLWNybQ=="}


def test_time_stands_still_but_for_advance() -> None:
    """However much work there is, everything happens at one moment until the clock is moved; what falls due on the way has its own time."""
    statuses = [503, 200]
    with Driver(FUSED, WORKSPACE, secrets=SECRETS, answering=lambda _request: an_answer(statuses.pop(0))) as driver:
        driver.send(event(), source="web")
        driver.run_until_idle()
        assert {START_MS} == {one.timestamp for topic in ("raw", "routed", "requests.crm", "retry.10s", "ledger") for one in driver.read(topic)}
        assert [] == driver.rows("lake")
        driver.advance(3600)
        assert START_MS + 3_600_000 == driver.clock.now_ms()
        (due,) = driver.read("requests.crm.retry")
        assert 10_000 <= due.timestamp - START_MS <= 11_000
        assert [START_MS, due.timestamp] == [orjson.loads(one.value or b"")["at"] for one in driver.read("deliveries")]
        assert 1 == len(driver.rows("lake"))


def test_runs_are_alike() -> None:
    """The same input gives the same records at the same places, each time; only the configuration names another folder."""

    def run() -> list[object]:
        with Driver(FUSED, WORKSPACE, secrets=SECRETS) as driver:
            for number in range(50):
                driver.send(event(anonymousId=f"a-{number % 9}", properties={"n": number}), source="web")
            driver.advance(2)
            return [driver.read(topic.removeprefix("shop.")) for topic in sorted(driver.broker.topics()) if topic != "shop.config"]

    assert run() == run()


def test_a_configuration_is_taken_over() -> None:
    """A destination added to a running topology gets what comes from then on; what was judged before stays."""
    with Driver(FUSED, replace(WORKSPACE, destinations={}), secrets=SECRETS) as driver:
        driver.send(event(messageId="m-1"), source="web")
        driver.run_until_idle()
        assert 2 == driver.apply(WORKSPACE)
        driver.send(event(messageId="m-2"), source="web")
        driver.run_until_idle()
        assert [b"1", b"2"] == [dict(one.headers)["config"] for one in driver.read("routed")]
        assert [b"m-2"] == [dict(one.headers)["message_id"] for one in driver.read("requests.crm")]
        assert "crm" not in str(driver.read("config")[0].value)
        assert "webhook-signature" in driver.http.requests[0].headers


def test_what_is_wrong_is_refused(tmp_path: Path) -> None:
    """A wrong topology, a workspace of another name or that no processor takes, an unknown topic or processor: each says so."""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(FUSED.read_text(encoding="utf-8").replace("validate, dedup", "valdate, dedup"), encoding="utf-8")
    with pytest.raises(DeclarationError, match="valdate"):
        Driver(wrong, WORKSPACE)
    with Driver(FUSED, WORKSPACE) as driver:
        with pytest.raises(ValueError, match="shop, not other"):
            driver.apply(replace(WORKSPACE, name="other"))
        with pytest.raises(ValueError, match="refused"):
            driver.apply(replace(WORKSPACE, destinations={"crm": replace(CRM, concurrency=-1)}))
        with pytest.raises(ValueError, match="no processor typo"):
            driver.crash("typo")
        with pytest.raises(BrokerError, match="nowhere"):
            driver.read("nowhere")
        driver.send(event(), source="web")
        driver.run_until_idle()
        assert 1 == len(driver.read("routed"))


def test_a_bug_is_raised_where_the_driver_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would end a processor's process ends the test."""

    def crash(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("pipeline.assembly.hosts.create_dedup", lambda _seen: crash)
    with Driver(FUSED, WORKSPACE) as driver:
        for number in range(CRASHES_MOST):
            driver.send(event(messageId=f"m-{number}"), source="web")
        with pytest.raises(Exception, match="crashed on 100 records"):
            driver.run_until_idle()


def test_builders_are_overrides_only() -> None:
    """Equal events are copies, different ones are not; a record takes bytes or an object."""
    assert event() == event()
    assert event()["messageId"] != event(event="Other")["messageId"]
    assert {"type": "group", "groupId": "g-9", "anonymousId": "a-1"}.items() <= event("group", groupId="g-9").items()
    assert event() == orjson.loads(record().value or b"")
    assert (b"x", b'{"n":1180591620717411303424}') == (record(b"x").value, record({"n": 2**70}).value)


def test_a_jumping_loop_waits_for_nothing() -> None:
    """A day of sleep takes no time and happens in order; threads are not used; a deadlock is an error instead of a hang."""

    async def day() -> list[float]:
        loop = asyncio.get_running_loop()
        times: list[float] = []

        async def wake(seconds: float) -> None:
            await asyncio.sleep(seconds)
            times.append(await asyncio.to_thread(loop.time))

        await asyncio.gather(wake(86_400), wake(1), wake(3_600))
        return times

    async def deadlock() -> None:
        await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        assert [1, 3_600, 86_400] == [round(time) for time in runner.run(day())]
        with pytest.raises(RuntimeError, match="cannot happen"):
            runner.run(deadlock())
