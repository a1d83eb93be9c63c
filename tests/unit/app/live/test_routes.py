"""Only this machine may look, and nothing of an event can leave its line or become markup."""

import asyncio
import re
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.app.collector.routes import Reply, RouteRequest, Stream, find
from pipeline.app.live.feed import LiveFeed
from pipeline.app.live.routes import STATIC, STREAMS_MOST, live_routes, names_this_machine
from pipeline.app.live.setup import Setup, setup_json
from pipeline.app.live.sse import frame
from pipeline.model.topology import Topology
from pipeline.model.workspace import Workspace
from pipeline.runtime.brokers.memory import MemoryBroker
from pipeline.runtime.clock import SystemClock

SETUP = Setup("demo", "web", "http://127.0.0.1:7070", "127.0.0.1:9092", "shop.raw")


async def one_job() -> list[dict[str, Any]]:
    """Answer as the process does that runs jobs."""
    return [{"id": "3f2a91c0", "state": "running"}]


async def no_command(job: str, command: str) -> str:
    """Know one job that can be paused, and one that has ended."""
    if job == "ended":
        raise ValueError("it has ended: done")
    return {"3f2a91c0": {"pause": "paused"}}[job][command]


async def no_volumes(minutes: int) -> None:
    """Answer as without a monitor."""
    del minutes


async def no_explanation(wanted: str, source: str) -> dict[str, Any] | None:
    """Take too long for `slow`; answer the others with what was asked for."""
    return None if wanted == "slow" else {"asked": [wanted, source], "big": 2**70}


async def get(path: str, host: str = "localhost:7070", query: str = "", site: str = "") -> Reply:
    """Ask a live page of an empty pipeline."""
    feed = LiveFeed(MemoryBroker(), "shop", Topology("none", {}), workspace=lambda: Workspace("shop"), clock=SystemClock())
    handler = find(live_routes(feed, lambda: SETUP, no_volumes, no_explanation, one_job, no_command), "GET", path)
    assert handler is not None
    headers = {"host": host, "sec-fetch-site": site} if site else {"host": host}
    reply = await handler(RouteRequest("GET", path, query, headers, b""))
    assert isinstance(reply, Reply)
    return reply


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:7070", "127.0.0.1", "127.0.0.1:7070", "127.8.9.1:1", "[::1]", "[::1]:7070"])
def test_names_of_this_machine(host: str) -> None:
    """Loopback by any of its names is this machine."""
    assert names_this_machine(host)


@pytest.mark.parametrize(
    "host", [None, "", "example.com", "example.com:7070", "localhost.example.com", "10.0.0.1:7070", "[fe80::1]:7070", "0.0.0.0:7070", "[", ":7070"]
)
def test_other_names(host: str | None) -> None:
    """A name that another site chose is refused, even where it resolves to this machine."""
    assert not names_this_machine(host)


@pytest.mark.parametrize(
    "path", ["/", "/live/static/live.js", "/live/events", "/live/topology.json", "/live/trail", "/live/record", "/live/setup.json"]
)
async def test_every_route_refuses_other_names(path: str) -> None:
    """DNS rebinding reaches no route."""
    reply = await get(path, host="rebound.example.com:7070")
    assert 403 == reply.status


@pytest.mark.parametrize("path", ["/", "/live/static/panels/graph.js", "/live/topology.json", "/live/trail", "/live/setup.json"])
async def test_guards(path: str) -> None:
    """Every answer carries the policy, and none lets another origin read it."""
    reply = await get(path)
    headers = dict(reply.headers)
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "require-trusted-types-for 'script'" in headers["content-security-policy"]
    assert "nosniff" == headers["x-content-type-options"]
    assert not any(name.startswith("access-control") for name in headers)


async def test_unknown_paths() -> None:
    """No path leads out of the static files, and none to what is not there."""
    assert 404 == (await get("/live/static/../routes.py")).status
    assert 404 == (await get("/live/static/")).status
    assert 404 == (await get("/live/trail", query="message_id=nobody")).status
    assert 404 == (await get("/live/record", query="topic=raw&partition=0&offset=-1")).status
    assert 404 == (await get("/live/record", query="topic=__consumer_offsets&partition=0&offset=1")).status


async def test_stream() -> None:
    """A page that opens the stream is told the state of the stages first."""
    feed = LiveFeed(MemoryBroker(), "shop", Topology("none", {}), workspace=lambda: Workspace("shop"), clock=SystemClock())
    headers = {"host": "[::1]"}
    reply = await live_routes(feed, lambda: SETUP, no_volumes, no_explanation, one_job, no_command)["GET", "/live/events"](
        RouteRequest("GET", "/live/events", "", headers, b"")
    )
    assert isinstance(reply, Stream)
    first = await anext(reply.chunks)
    assert first.startswith(b"event: stages\ndata: {")
    close: Any = reply.chunks
    await close.aclose()


async def test_streams_are_bounded() -> None:
    """Each stream costs work for every change, on the collector's own loop: one too many is refused, and one that ends makes room."""
    feed = LiveFeed(MemoryBroker(), "shop", Topology("none", {}), workspace=lambda: Workspace("shop"), clock=SystemClock())
    handler = live_routes(feed, lambda: SETUP, no_volumes, no_explanation, one_job, no_command)["GET", "/live/events"]
    headers: dict[str, str] = {"host": "localhost"}
    request = RouteRequest("GET", "/live/events", "", headers, b"")
    streams: list[Any] = []
    for _ in range(STREAMS_MOST):
        reply = await handler(request)
        assert isinstance(reply, Stream)
        streams.append(reply.chunks)
        await anext(streams[-1])
    refused = await handler(request)
    assert isinstance(refused, Reply)
    assert 503 == refused.status
    await streams.pop().aclose()
    again, late = await handler(request), await handler(request)
    assert isinstance(again, Stream)
    assert isinstance(late, Stream)
    streams.append(again.chunks)
    await anext(streams[-1])
    assert [] == [chunk async for chunk in late.chunks]
    for stream in streams:
        await stream.aclose()


@pytest.mark.parametrize(("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)])
async def test_pages_of_other_sites_get_nothing(site: str, status: int) -> None:
    """A page elsewhere can have the browser ask 127.0.0.1 without reading the answer: even that would cost, and is refused."""
    assert status == (await get("/live/topology.json", site=site)).status


@given(st.recursive(st.none() | st.text() | st.integers(-(2**60), 2**60), lambda each: st.lists(each) | st.dictionaries(st.text(), each)))
def test_frames_are_one_message(data: Any) -> None:  # noqa: ANN401 (JSON)
    """Whatever it says, a message is an event line, a data line and an empty line, and says just that."""
    text = frame("events", data).decode()
    head, body, *rest = re.split(r"\r\n|\r|\n", text)  # the line ends of the stream's format
    assert ("event: events", ["", ""]) == (head, rest)
    assert data == orjson.loads(body.removeprefix("data: "))


def test_static_files_make_no_markup_of_text() -> None:
    """No file writes markup, evaluates text, holds inline script or style, or names another host."""
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|srcdoc|\bon[a-z]+=\"|style=\"|<style|<script>|@import"
    )
    foreign = re.compile(r"https?://(?!www\.w3\.org/2000/svg)[\w.-]+|[\"'(]//\w")
    for path in STATIC.rglob("*.*"):
        text = path.read_text(encoding="utf-8")
        assert not forbidden.search(text), path
        assert not foreign.search(text), path


def test_snippets_name_the_address_and_the_key() -> None:
    """Every snippet can be pasted as it is."""
    shown = setup_json(SETUP)
    texts = {snippet["id"]: snippet["text"] for snippet in shown["snippets"]}
    assert 'analytics.host = "http://127.0.0.1:7070"' in texts["python"]
    assert "kcat -P -b 127.0.0.1:9092 -t shop.raw -H source=web" in texts["kafka"]


async def test_snippets_of_another_source() -> None:
    """The page asks for them by the source's id; one that does not exist gets the first."""
    setup = replace(SETUP, sources={"web": "demo", "app": "app-key"})
    keys = {source: setup_json(setup, source)["write_key"] for source in ("web", "app", "nobody", "")}
    assert {"web": "demo", "app": "app-key", "nobody": "demo", "": "demo"} == keys
    assert "-u app-key:" in setup_json(setup, "app")["snippets"][0]["text"]
    assert ["web", "app"] == setup_json(setup, "app")["sources"]


def test_a_webhook_source_shows_the_address_to_paste() -> None:
    """It has no write key; what is pasted into the other product is an address."""
    shown = setup_json(replace(SETUP, sources={"web": "demo"}, webhooks=("billing",)), "billing")
    assert ("", "http://127.0.0.1:7070/v1/webhook/billing", ["web", "billing"]) == (shown["write_key"], shown["webhook"], shown["sources"])
    assert ["http://127.0.0.1:7070/v1/webhook/billing\n"] == [one["text"] for one in shown["snippets"]]


async def test_volumes_are_those_of_the_monitor() -> None:
    """The page gets the monitor's lines for as many minutes as it asks for, and 404 where no monitor runs."""
    feed = LiveFeed(MemoryBroker(), "shop", Topology("none", {}), workspace=lambda: Workspace("shop"), clock=SystemClock())

    async def volumes(minutes: int) -> list[dict[str, Any]]:
        return [{"source": "web", "event": "Hello", "verdict": "passed", "reason": "", "counts": [0] * (minutes - 1) + [3]}]

    handler = live_routes(feed, lambda: SETUP, volumes, no_explanation, one_job, no_command)["GET", "/live/volumes.json"]
    headers: dict[str, Any] = {"host": "localhost:7070"}
    reply = await handler(RouteRequest("GET", "/live/volumes.json", "minutes=2", headers, b""))
    assert isinstance(reply, Reply)
    assert orjson.loads(reply.body) == {"lines": [{"source": "web", "event": "Hello", "verdict": "passed", "reason": "", "counts": [0, 3]}]}
    assert (await get("/live/volumes.json")).status == 404


async def test_an_explanation_is_asked_for_by_id_and_source() -> None:
    """It is passed on with numbers of any size; what is too long is not looked for, and what takes too long is said."""
    reply = await get("/live/explain", query="message_id=m%201&source=web")
    assert (200, b'{"asked":["m 1","web"],"big":1180591620717411303424}') == (reply.status, reply.body)
    assert 404 == (await get("/live/explain", query="message_id=")).status
    assert 404 == (await get("/live/explain", query="message_id=" + "x" * 401)).status
    assert 503 == (await get("/live/explain", query="message_id=slow")).status
    assert 403 == (await get("/live/explain", host="rebound.example.com", query="message_id=m")).status


async def test_one_explanation_at_a_time() -> None:
    """Each reads a dozen topics: a second one is refused while the first is under way."""
    began, end = asyncio.Event(), asyncio.Event()

    async def waiting(wanted: str, source: str) -> dict[str, Any] | None:
        began.set()
        await end.wait()
        return {"asked": [wanted, source]}

    feed = LiveFeed(MemoryBroker(), "shop", Topology("none", {}), workspace=lambda: Workspace("shop"), clock=SystemClock())
    handler = live_routes(feed, lambda: SETUP, no_volumes, waiting, one_job, no_command)["GET", "/live/explain"]
    headers: dict[str, str] = {"host": "localhost"}
    request = RouteRequest("GET", "/live/explain", "message_id=m", headers, b"")
    first = asyncio.create_task(_reply(handler(request)))
    await began.wait()
    assert 503 == (await _reply(handler(request))).status
    end.set()
    assert 200 == (await first).status


async def _reply(answer: Awaitable[Reply | Stream]) -> Reply:
    reply = await answer
    assert isinstance(reply, Reply)
    return reply


async def test_jobs_are_those_of_the_process_that_runs_them() -> None:
    """They come as it gives them."""
    feed = LiveFeed(MemoryBroker(), "shop", Topology("none", {}), workspace=lambda: Workspace("shop"), clock=SystemClock())
    headers: dict[str, str] = {"host": "localhost"}
    handler = live_routes(feed, lambda: SETUP, no_volumes, no_explanation, one_job, no_command)["GET", "/live/jobs.json"]
    reply = await handler(RouteRequest("GET", "/live/jobs.json", "", headers, b""))
    assert isinstance(reply, Reply)
    assert {"jobs": await one_job()} == orjson.loads(reply.body)


async def command(body: bytes, **headers: str) -> Reply:
    """Send a command for a job as a page would."""
    feed = LiveFeed(MemoryBroker(), "shop", Topology("none", {}), workspace=lambda: Workspace("shop"), clock=SystemClock())
    handler = live_routes(feed, lambda: SETUP, no_volumes, no_explanation, one_job, no_command)["POST", "/live/jobs.json"]
    named = {name.replace("_", "-"): value for name, value in {"host": "localhost:7070", "content_type": "application/json", **headers}.items()}
    reply = await handler(RouteRequest("POST", "/live/jobs.json", "", named, body))
    assert isinstance(reply, Reply)
    return reply


PAUSE = b'{"job":"3f2a91c0","command":"pause"}'


async def test_a_job_is_commanded_by_the_page_itself() -> None:
    """The state that it has then is the answer; curl, which names no origin, may too."""
    for headers in ({}, {"origin": "http://localhost:7070", "sec_fetch_site": "same-origin"}):
        reply = await command(PAUSE, **headers)
        assert (200, {"job": "3f2a91c0", "state": "paused"}) == (reply.status, orjson.loads(reply.body))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:8080"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"host": "evil.example", "origin": "http://evil.example"}, 403),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "application/x-www-form-urlencoded"}, 415),
    ],
)
async def test_nobody_elses_page_commands_a_job(headers: dict[str, str], status: int) -> None:
    """Another site, another port, a name that was made to mean this machine, and what a plain form can send are refused."""
    assert status == (await command(PAUSE, **headers)).status


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"job":"3f2a91c0"}', 400),
        (b'{"job":"3f2a91c0","command":"delete"}', 400),
        (b'{"job":"other","command":"pause"}', 404),
        (b'{"job":"ended","command":"resume"}', 409),
    ],
)
async def test_what_no_job_can_be_told_is_refused(body: bytes, status: int) -> None:
    """No job, no command, or one that has ended."""
    assert status == (await command(body)).status
