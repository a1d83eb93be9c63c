"""The unmodified analytics.js in Chromium, loaded from the collector as a website loads it: nothing is asked of any other host."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from pipeline.app.browser import AnalyticsLibrary, Served, browser_routes, demo_routes, read_plugins
from pipeline.app.collector import Reply, RouteRequest
from pipeline.model.workspace import Destination, Workspace
from pipeline.resources import resource
from pipeline.runtime.clock import SystemClock
from pipeline.sdk import Address, website_snippet
from pipeline.testing import Driver
from tests.integration.collector_over_http import WORKSPACE, SteeredProducer, collector

CHROMIUM = next((path for path in map(Path, ("/usr/bin/chromium", "/usr/bin/chromium-browser")) if path.exists()), None)
pytestmark = [
    pytest.mark.sdk,
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not shutil.which("npm") or CHROMIUM is None, reason="needs npm and Chromium"),
]


async def until(happened: Callable[[], bool]) -> None:
    """Wait for what a browser does."""
    async with asyncio.timeout(20):
        while not happened():  # noqa: ASYNC110 (it tells nobody)
            await asyncio.sleep(0.02)


class Site(NamedTuple):
    """A page in Chromium and its collector; what was asked of whom, is declared, a tool was sent, the page showed, and its console said."""

    page: Page
    address: str
    producer: SteeredProducer
    asked: list[str]
    declared: list[Workspace]
    told: list[dict[str, Any]]
    html: list[str]
    problems: list[str]

    @property
    def website(self) -> str:
        """The address of a website of another origin: the same server by its other name, which a browser takes for another."""
        return f"{self.address.replace('127.0.0.1', 'localhost')}/site/"

    async def open(self, html: str, query: str = "") -> None:
        """Open a page of the website."""
        self.html.append(f"<!doctype html><title>Shop</title><link rel=icon href='data:,'>{html}")
        await self.page.goto(f"{self.website}{query}")

    async def stored(self, count: int) -> list[dict[str, Any]]:
        """Wait until so many events are stored."""
        await until(lambda: len(self.producer.events()) >= count)
        return self.producer.events()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def library(tmp_path_factory: pytest.TempPathFactory) -> AnalyticsLibrary:
    """Make the library once, with npm, in a home of its own."""
    made = AnalyticsLibrary(tmp_path_factory.mktemp("home"), SystemClock())
    await made.files()
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """One Chromium for all tests here."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def site(chromium: Browser, library: AnalyticsLibrary) -> AsyncIterator[Site]:
    """A page and a collector; an error in the console, or a request to another host, fails the test."""
    producer = SteeredProducer()
    declared = [WORKSPACE]
    told: list[dict[str, Any]] = []
    served = Served(lambda: declared[0], lambda: {"demo": "web"}, library, read_plugins(), str)
    routes = {**browser_routes(served), **demo_routes(lambda: "demo", served)}

    html: list[str] = []

    async def made(_request: RouteRequest) -> Reply:
        return Reply(200, html[-1].encode(), "text/html")

    async def tool(request: RouteRequest) -> Reply:
        told.append(orjson.loads(request.body))
        return Reply(200, b"")

    async with collector(producer, {**routes, ("GET", "/site/"): made, ("POST", "/tool"): tool}) as running, contextlib.AsyncExitStack() as stack:
        context = await stack.enter_async_context(await chromium.new_context())
        page = await context.new_page()
        asked: list[str] = []
        problems: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type in {"error", "warning"} else None)
        address = f"http://127.0.0.1:{running.port}"
        yield Site(page, address, producer, asked, declared, told, html, problems)
        await page.close()
        assert [] == problems
        assert [] == [url for url in asked if not url.startswith((f"{address}/", f"{address.replace('127.0.0.1', 'localhost')}/", "data:"))]


async def test_a_website_with_the_snippet(site: Site) -> None:
    """What is called before the library is there arrives too, in order, with the page that it was called on."""
    host = site.address.removeprefix("http://")
    early = 'analytics.identify("ada", {plan: "pro"}); analytics.track("Signed Up", {list: "weekly"}); analytics.group("engines")'
    await site.open(f"<script>{website_snippet('demo', Address('http', host))}{early}</script>", "pricing?utm_source=news")
    events = await site.stored(4)
    assert {"page", "identify", "track", "group"} == {event["type"] for event in events}
    track = next(event for event in events if event["type"] == "track")
    assert ("ada", "Signed Up", {"list": "weekly"}) == (track["userId"], track["event"], track["properties"])
    assert ("analytics.js", f"{site.website}pricing?utm_source=news") == (track["context"]["library"]["name"], track["context"]["page"]["url"])
    assert "writeKey" not in track


async def test_a_website_that_bundles_the_library(site: Site) -> None:
    """From npm, one setting is enough: `cdnURL`. The settings that it brings say where events go."""
    start = f"AnalyticsNext.AnalyticsBrowser.load({{writeKey: 'demo', cdnURL: {orjson.dumps(site.address).decode()}}}).track('Signed Up')"
    await site.open(f"<script src='{site.address}/analytics-next/bundles/index.js'></script><script>{start}</script>")
    assert "Signed Up" == (await site.stored(1))[0]["event"]


async def test_calls_in_the_address_of_a_page(site: Site) -> None:
    """`ajs_uid` and `ajs_event` are an identify and a track; the library fetches a chunk of ours for it."""
    await site.page.goto(f"{site.address}/demo?ajs_uid=ada&ajs_trait_plan=pro&ajs_event=Email+Clicked&ajs_prop_campaign=spring")
    events = {event["type"]: event for event in await site.stored(3)}
    assert ("ada", {"plan": "pro"}) == (events["identify"]["userId"], events["identify"]["traits"])
    assert ("ada", "Email Clicked", "spring") == (events["track"]["userId"], events["track"]["event"], events["track"]["properties"]["campaign"])
    assert any("/analytics-next/bundles/queryString" in url for url in site.asked)


async def test_the_demo_page(site: Site) -> None:
    """Each button sends its call, and the answer is shown."""
    await site.page.goto(f"{site.address}/demo")
    await expect(site.page.locator("#state")).to_have_text("analytics.js is loaded.")
    await expect(site.page.locator("#log tr")).to_have_count(1)
    for call in ("track", "identify", "page", "group"):
        await site.page.locator(f'[data-call="{call}"]').click()
    await expect(site.page.locator("#log tr")).to_have_count(5)
    await expect(site.page.locator("#log tr").first).to_contain_text('200{"success":true}')
    assert ["group", "identify", "page", "page", "track"] == sorted(event["type"] for event in await site.stored(5))


async def test_the_demo_page_commands_nothing(site: Site) -> None:
    """It has the live page's origin, yet what runs on it can neither read what that page reads nor command a job, nor frame the page to do so."""
    await site.page.goto(f"{site.address}/demo")
    await expect(site.page.locator("#state")).to_have_text("analytics.js is loaded.")
    command = """fetch('/live/jobs.json', {method: 'POST', headers: {'content-type': 'application/json'}, body: '{}'})"""
    for attempt in ("fetch('/live/setup.json')", command, "fetch('/site/')"):
        assert "refused" == await site.page.evaluate(f"{attempt}.then(() => 'done', () => 'refused')")
    assert [] == [url for url in site.asked if "/live/" in url]
    assert all("Content Security Policy" in problem for problem in site.problems)
    site.problems.clear()


async def test_a_page_with_an_unknown_key(site: Site) -> None:
    """It loads nothing and sends nothing, least of all elsewhere."""
    host = site.address.removeprefix("http://")
    async with site.page.expect_event("console"), site.page.expect_response("**/analytics.min.js") as answered:
        await site.open(f"<script>{website_snippet('nobody', Address('http', host))}</script>")
    assert 404 == (await answered.value).status
    assert ["Failed to load resource: the server responded with a status of 404 (Not Found)"] == site.problems
    site.problems.clear()
    assert [] == site.producer.events()


def on_device(address: str) -> Workspace:
    """A workspace whose tool is sent to by browsers."""
    settings = {"url": "https://tool.example/hook", "browser_url": f"{address}/tool"}
    return replace(
        WORKSPACE, destinations={"tool": Destination("tool", "webhook", ("web",), mode="device", settings=settings, except_events=("Debug",))}
    )


def sent_by_us(workspace: Workspace, events: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Take stored events through the pipeline; give the names that the tool was sent, and those that were left to the browser."""
    with Driver(resource("topologies") / "default.yaml", workspace) as driver:
        for event in events:
            driver.send(event, source="web")
        driver.run_until_idle()
        rows = [row for entry in driver.ledger() if entry["processor"] == "translate.tool" for row in entry["rows"]]
        sent = [orjson.loads(request.body).get("event", "") for request in driver.http.requests]
        return sent, [event for _, _, event, _, reason, *_, count in rows if reason == "message_sent_client_side" for _ in range(count)]


async def test_device_mode(site: Site) -> None:
    """The page sends each event to the tool itself, and we leave it alone: the tool gets it once. What a server sends, we send."""
    site.declared[0] = workspace = on_device(site.address)
    host = site.address.removeprefix("http://")
    calls = 'analytics.track("Order Completed", {total: 42}); analytics.track("Debug"); analytics.track("Quiet", {}, {integrations: {tool: false}})'
    await site.open(f"<script>{website_snippet('demo', Address('http', host))}{calls}</script>")
    events = await site.stored(4)
    await until(lambda: len(site.told) >= 2)
    assert ["", "Order Completed"] == sorted(event.get("event", "") for event in site.told)
    assert all(event["_metadata"]["bundled"] == ["Segment.io", "tool"] for event in events)
    from_a_server = {"type": "track", "event": "Renewed", "userId": "ada", "messageId": "server-1"}
    sent, left = await asyncio.to_thread(sent_by_us, workspace, [*events, from_a_server])
    assert ["Renewed"] == sent
    assert ["", "Order Completed"] == sorted(left)


async def test_device_mode_with_a_blocked_plugin(site: Site) -> None:
    """Where a page could not load the plugin, the tool is sent the event by us."""
    site.declared[0] = workspace = on_device(site.address)
    host = site.address.removeprefix("http://")
    await site.page.route("**/next-integrations/**", lambda route: route.fulfill(status=200, body="", content_type="text/javascript"))
    await site.open(f"<script>{website_snippet('demo', Address('http', host))}</script>")
    events = await site.stored(1)
    sent, _ = await asyncio.to_thread(sent_by_us, workspace, events)
    assert ([], [""]) == (site.told, sent)
