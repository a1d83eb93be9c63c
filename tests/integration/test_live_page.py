"""The live page in Chromium, on a collector and a cluster in memory: what a person sees and does, and what a stranger's event cannot do."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from pipeline.app.collector import serve_collector
from pipeline.app.live import LiveFeed, Setup, Standing, live_routes, standing
from pipeline.ingest import WriteKeys
from pipeline.model import headers as names
from pipeline.model.ledger import Row, Tally, ledger_key, ledger_value
from pipeline.model.record import Output, Record
from pipeline.model.topics import topic_name
from pipeline.model.topology import Processor, Topology
from pipeline.model.workspace import Destination, Source, Storage, Workspace
from pipeline.runtime.brokers.memory import MemoryBroker
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.metrics.memory import MemoryMetrics

pytestmark = [pytest.mark.integration, pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

CHROMIUM = next((path for path in map(Path, ("/usr/bin/chromium", "/usr/bin/chromium-browser")) if path.exists()), None)
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
WORKSPACE = Workspace(
    "shop",
    1,
    sources={"web": Source("web", ("demo",)), "server": Source("server", ("server-key",))},
    destinations={"crm": Destination("crm", "webhook", ("web", "server")), "analytics": Destination("analytics", "webhook", ("web",))},
    storage={"lake": Storage("lake", "parquet", ("web", "server"))},
)
TOPOLOGY = Topology(
    "default",
    {
        one.name: one
        for one in (
            Processor("validate", "raw", steps=("validate", "dedup"), lanes={"main": "validated", "dead": "dead.{stage}"}),
            Processor("enrich", "validated", steps=("enrich",), lanes={"main": "enriched", "dead": "dead.{stage}"}),
            Processor("filter", "enriched", steps=("filter",), lanes={"main": "routed", "dead": "dead.{stage}"}),
            Processor("translate", "routed", steps=("translate",), lanes={"requests": "requests.{destination}"}, for_each="destination"),
            Processor("deliver", "requests.{destination}", "deliver", lanes={"deliveries": "deliveries"}, for_each="destination"),
            Processor("retry", "retry.{delay}", "retry", lanes={"due": "requests.{destination}.retry"}),
            Processor("lake", "routed", "lake", for_each="storage"),
        )
    },
)


class Pipeline:
    """Stands for the processors: writes, for each record of `raw`, what they would write."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._clock = SystemClock()
        self._ids: set[str] = set()

    async def run(self) -> None:
        """Follow `raw` until cancelled."""
        async for records in self._broker.reader().read("shop.raw", follow=True):
            for record in records:
                self.process(record)

    def process(self, record: Record) -> None:
        """Take one event through all stages."""
        body = orjson.loads(record.value or b"{}")
        headers = dict(record.headers)
        source = headers.get(names.SOURCE, b"").decode()
        row = Row(source, body.get("type", ""), body.get("event", "") if body.get("type") == "track" else "", "passed")
        if body.get("type") == "track" and not body.get("event"):
            place = (
                (names.DEAD_STAGE, b"validate"),
                (names.DEAD_REASON, b"event_not_defined"),
                (names.DEAD_DETAIL, b"event is missing"),
                (names.DEAD_TOPIC, b"shop.raw"),
                (names.DEAD_PARTITION, b"%d" % record.partition),
                (names.DEAD_OFFSET, b"%d" % record.offset),
            )
            self._write("dead.validate", record.key, record.value, (*record.headers, *place))
            self._ledger("validate", record, row._replace(verdict="dead", reason="event_not_defined"))
            return
        if body["messageId"] in self._ids:
            self._ledger("validate", record, row._replace(verdict="dropped", reason="duplicate"))
            return
        self._ids.add(body["messageId"])
        for stage, topic in (("validate", "validated"), ("enrich", "enriched")):
            self._ledger(stage, record, row)
            record = self._write(topic, record.key, record.value, record.headers)
        takers = {one.id: one.sources for one in WORKSPACE.destinations.values()} | {one.id: one.sources for one in WORKSPACE.storage.values()}
        routes = [target for target, sources in takers.items() if source in sources]
        withheld = [
            row._replace(verdict="withheld", reason="filtered_by_rules", destination=one) for one in WORKSPACE.destinations if one not in routes
        ]
        self._ledger("filter", record, row, *withheld)
        record = self._write("routed", record.key, record.value, (*record.headers, (names.ROUTES, ",".join(sorted(routes)).encode())))
        self._ledger("lake.lake", record, row._replace(destination="lake"))
        for destination in routes:
            if destination in WORKSPACE.destinations:
                self._deliver(destination, record, body, source, row)

    def _deliver(self, destination: str, record: Record, body: Any, source: str, row: Row) -> None:  # noqa: ANN401 (JSON)
        headers = {
            names.DESTINATION: destination,
            names.MESSAGE_ID: body["messageId"],
            names.MAPPING: "all",
            names.SOURCE: source,
            names.EVENT_ORIGIN: f"{record.topic}/{record.partition}/{record.offset}",
        }
        request = orjson.dumps({"id": "1", "method": "POST", "url": "http://127.0.0.1:1/hook", "headers": {}, "body": body})
        self._ledger(f"translate.{destination}", record, row._replace(destination=destination))
        written = self._write(f"requests.{destination}", record.key, request, tuple((name, value.encode()) for name, value in headers.items()))
        status = 429 if destination == "analytics" and len(self._ids) % 3 == 0 else 200
        attempt = {
            "message_id": body["messageId"],
            "destination": destination,
            "mapping": "all",
            "source": source,
            "event": body.get("event"),
            "type": body.get("type"),
            "attempt": 1,
            "status": status,
            "error": "",
            "outcome": "delivered" if status == 200 else "retried",
            "reason": "",
            "latency_ms": 12.5,
            "at": self._clock.now_ms(),
            "answer": '{"ok":true}' if status == 200 else "slow down",
            "event_origin": headers[names.EVENT_ORIGIN],
        }
        self._write("deliveries", body["messageId"].encode(), orjson.dumps(attempt), ())
        self._ledger(f"deliver.{destination}", written, row._replace(destination=destination), status=status)

    def _write(self, topic: str, key: bytes | None, value: bytes | None, headers: tuple[tuple[str, bytes], ...]) -> Record:
        ends = self._broker.append([Output(topic_name("shop", topic), key, value, headers)])
        [(place, end)] = ends.items()
        return self._broker.log(place.topic)[place.partition][end - 1]

    def _ledger(self, processor: str, record: Record, *rows: Row, status: int = 0) -> None:
        tally = Tally()
        for row in rows:
            tally.rows[row] += 1
        if status:
            tally.attempt(status, 12.5)
        topic = record.topic.removeprefix("shop.")
        value = ledger_value(
            tally,
            processor=processor,
            topic=topic,
            partition=record.partition,
            start=record.offset,
            end=record.offset + 1,
            at_ms=self._clock.now_ms(),
        )
        self._write("ledger", ledger_key(processor, topic, record.partition), value, ())


async def one_volume(minutes: int) -> list[dict[str, Any]]:
    """Answer as the monitor does."""
    return [{"source": "web", "event": "Order Completed", "verdict": "dropped", "reason": "duplicate", "counts": [1] * minutes}]


STATES: dict[str, str] = {}


async def command_job(job: str, command: str) -> str:
    """Obey as the topic of jobs does."""
    STATES[job] = {"pause": "paused", "resume": "running", "cancel": "cancelled"}[command]
    return STATES[job]


async def one_job() -> list[dict[str, Any]]:
    """Answer as the process does that runs replay jobs."""
    state = STATES.get("3f2a91c0", "running")
    times = {"from": "2026-05-01T12:00:00Z", "to": "2026-05-01T13:00:00Z"}
    return [{"id": "3f2a91c0", "state": state, "input": "enriched", **times, "targets": ["crm"], "rate": 500, "offsets": 200, "left": 50}]


async def halted() -> Standing:
    """Answer as the processes do when a person has parked `crm` and the breaker has stopped enrich."""
    filter_of = {"group": "filter", "lag": 0, "stopped": False, "trouble": ""}
    enrich = {"group": "enrich", "lag": 7, "stopped": True, "trouble": "processor enrich crashed on 100 records <b>at steps.py:1</b>"}
    crm = {"destination": "crm", "state": "parked", "reason": "parked_by_command", "held": 0}
    return standing([{"groups": [filter_of, enrich]}, {"groups": [], "destinations": [crm, {**crm, "destination": "analytics", "state": "open"}]}])


async def explained(wanted: str, source: str) -> dict[str, Any]:
    """Explain every event but `nobody` alike, with text that would be markup if it could."""
    hostile = "<img src=x onerror=alert(1)>"
    if wanted == "nobody":
        return {"message_id": wanted, "found": False, "searched": ["dedup state of 1 running processes"]}
    stage = {"stage": "filter", "step": "filter", "verdict": "routed", "reason": "", "sentence": "", "detail": hostile, "rule": "", "at": 1}
    stage |= {"config": 3, "place": "routed/0/1", "compared": "same", "changes": [], "differences": []}
    withheld = {"id": "quiet", "kind": "destination", "state": "withheld", "reason": "filtered_by_rules", "sentence": "A rule.", "stages": []}
    withheld |= {"rule": f"destinations.quiet.filters[0]: {hostile}", "mappings": [], "attempts": []}
    about = {"message_id": wanted, "found": True, "sentence": "quiet withheld", "source": source or "web", "type": "track", "event": hostile}
    return {**about, "same": True, "stages": [stage], "targets": [withheld], "copies": ["raw/0/1"], "searched": []}


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[str]:
    """Serve collector and live page on a free port.

    Yields:
        The page's address.
    """
    clock = SystemClock()
    broker = MemoryBroker(clock)
    for topic in ("raw", "validated", "enriched", "routed", "requests.crm", "requests.analytics", "deliveries"):
        broker.create(topic_name("shop", topic), 4)
    for topic in ("ledger", "blocked", "dead.ingest", "dead.validate", "dead.deliver"):
        broker.create(topic_name("shop", topic), 1)
    feed = LiveFeed(broker, "shop", TOPOLOGY, workspace=lambda: WORKSPACE, clock=clock, processes=halted)
    address = ""

    def setup() -> Setup:
        sources = {"web": "demo", "server": "server-key"}
        return Setup("demo", "web", address, "127.0.0.1:9092", "shop.raw", {"A tool's receiver": "http://127.0.0.1:7072/"}, sources, ("billing",))

    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    serving = asyncio.create_task(
        serve_collector(
            host="127.0.0.1",
            port=0,
            producer=broker.producer(),
            workspace=lambda: WORKSPACE,
            keys=lambda: WriteKeys({"demo": "web", "server-key": "server"}),
            metrics=MemoryMetrics(),
            clock=clock,
            routes=live_routes(feed, setup, one_volume, explained, one_job, command_job),
            stop=stop,
            listening=port.set_result,
        )
    )
    tasks = [asyncio.create_task(feed.run()), asyncio.create_task(Pipeline(broker).run())]
    try:
        await asyncio.wait((serving, port), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        address = f"http://127.0.0.1:{port.result()}"
        yield address
    finally:
        stop.set()
        await serving
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Open(NamedTuple):
    """An open page, the address that it came from, and the addresses that it asked for."""

    page: Page
    address: str
    asked: list[str]

    async def post(self, path: str, body: dict[str, Any], key: str = "demo") -> None:
        """Send an event as an app would, beside the page."""
        answer = await self.page.request.post(f"{self.address}{path}", data={**body, "writeKey": key})
        assert answer.ok, await answer.text()

    def row(self, message_id: str) -> Any:  # noqa: ANN401 (a locator)
        """Find an event's row."""
        return self.page.locator(f'tr[data-id="{message_id}"]')


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """One Chromium for all tests here."""
    if CHROMIUM is None:
        pytest.fail("Chromium is missing: install Debian's package chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def live(chromium: Browser) -> AsyncIterator[Open]:
    """The page of a pipeline of its own; any error in its console, or a request to another host, fails the test."""
    async with served() as address:
        page = await chromium.new_page(viewport={"width": 1280, "height": 900})
        asked: list[str] = []
        problems: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type in {"error", "warning"} else None)
        await page.goto(f"{address}/")
        await expect(page.locator("#connection")).to_have_text("Live")
        yield Open(page, address, asked)
        await page.close()
        assert [] == problems
        assert [] == [url for url in asked if not url.startswith(f"{address}/")]


async def test_an_event_is_seen_within_two_seconds(live: Open) -> None:
    """From its 200 to its row; and the row says where it got to."""
    await live.post("/v1/track", {"event": "Signed Up", "userId": "u-1", "messageId": "m-1"})
    await expect(live.row("m-1")).to_be_visible(timeout=2000)
    await expect(live.row("m-1")).to_contain_text("Signed Up")
    await expect(live.row("m-1").locator(".chip")).to_have_text(["crm200", "analytics200", "lake✓"])


async def test_a_snippet_for_each_source_and_language(live: Open) -> None:
    """It has the source's own key; the language stays when the source changes, and the button copies it."""
    await live.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    panel = live.page.locator("#panel-setup")
    await panel.get_by_label("Language").select_option("go")
    await panel.get_by_label("Source to connect").select_option("server")
    snippet = panel.locator(".snippet")
    await expect(snippet).to_contain_text(f'NewWithConfig("server-key", analytics.Config{{Endpoint: "{live.address}"}})')
    await snippet.get_by_role("button").click()
    await expect(snippet.get_by_role("button")).to_have_text("Copied")
    assert "server-key" in await live.page.evaluate("navigator.clipboard.readText()")


async def test_a_webhook_source_shows_what_to_paste(live: Open) -> None:
    """It has an address in place of a write key, and going back to another source brings the key back."""
    panel = live.page.locator("#panel-setup")
    await panel.get_by_label("Source to connect").select_option("billing")
    await expect(panel.locator(".addresses")).to_contain_text(f"{live.address}/v1/webhook/billing")
    await expect(panel.locator(".addresses")).not_to_contain_text("Write key")
    await expect(panel.locator(".snippet")).to_contain_text(f"{live.address}/v1/webhook/billing")
    await panel.get_by_label("Source to connect").select_option("web")
    await expect(panel.locator(".addresses")).to_contain_text("demo")


async def test_filters(live: Open) -> None:
    """By source, event, user, and problems."""
    await live.post("/v1/track", {"event": "Signed Up", "userId": "ada", "messageId": "m-1"})
    await live.post("/v1/page", {"name": "Pricing", "anonymousId": "anonymous", "messageId": "m-2"}, key="server-key")
    await live.post("/v1/batch", {"batch": [{"type": "track", "userId": "bob", "messageId": "m-3", "event": ""}]})
    rows = live.page.locator("tbody tr")
    await expect(rows).to_have_count(3)
    await live.page.get_by_label("Source", exact=True).select_option("server")
    await expect(rows).to_have_count(1)
    await expect(live.row("m-2")).to_be_visible()
    await live.page.get_by_label("Source", exact=True).select_option("")
    await live.page.get_by_label("Filter by event").fill("signed")
    await expect(rows).to_have_count(1)
    await expect(live.row("m-1")).to_be_visible()
    await live.page.get_by_label("Filter by event").fill("")
    await live.page.get_by_label("Filter by user").fill("ANON")
    await expect(rows).to_have_count(1)
    await expect(live.row("m-2")).to_be_visible()
    await live.page.get_by_label("Filter by user").fill("")
    await live.page.get_by_label("Only problems").check()
    await expect(rows).to_have_count(1)
    await expect(live.row("m-3")).to_contain_text("event_not_defined")


async def test_pause_and_resume(live: Open) -> None:
    """Paused, the rows stand still and what is new is counted; resumed, it is there."""
    await live.post("/v1/track", {"event": "First", "userId": "u", "messageId": "m-1"})
    await expect(live.row("m-1")).to_be_visible()
    await live.page.get_by_role("button", name="Pause", exact=True).click()
    await live.post("/v1/track", {"event": "Second", "userId": "u", "messageId": "m-2"})
    await expect(live.page.locator("#panel-events [role=status]")).to_have_text("Paused · 1 new")
    await expect(live.row("m-2")).to_have_count(0)
    await live.page.get_by_role("button", name="Resume", exact=True).click()
    await expect(live.row("m-2")).to_be_visible()


async def test_a_click_shows_where_it_got_to(live: Open) -> None:
    """The drawer shows the way with its records, the tries, and the event, pretty and raw, to the last digit; Escape closes it."""
    text = '{"type":"track","event":"Paid","userId":"u","messageId":"m-1","properties":{"id":9007199254740993,"note":"a\\u0000b"}}'
    answer = await live.page.request.post(f"{live.address}/v1/track?writeKey=demo", data=text, headers={"content-type": "text/plain"})
    assert answer.ok, await answer.text()
    await live.row("m-1").click()
    drawer = live.page.get_by_role("dialog")
    await expect(drawer.get_by_role("heading", name="Paid")).to_be_visible()
    await expect(drawer.locator(".stop").filter(has_text="validate").first).to_contain_text("passed")
    await expect(drawer.locator(".target").filter(has_text="crm").first).to_contain_text("delivered")
    await expect(drawer.locator(".json .number")).to_have_text(["9007199254740993"])
    await drawer.get_by_role("tab", name="Raw").click()
    await expect(drawer.locator(".json.raw")).to_contain_text('"id":9007199254740993')
    await drawer.locator("summary", has_text="requests.crm/").click()
    await expect(drawer.locator("details[open]")).to_contain_text("event_origin")
    await live.page.keyboard.press("Escape")
    await expect(drawer).to_be_hidden()


async def test_what_moves_on_does_not_take_the_focus_away(live: Open) -> None:
    """A drawer that is drawn anew keeps the focus on the record that is read; and Escape closes it though the focus is nowhere."""
    await live.post("/v1/track", {"event": "Paid", "userId": "u", "messageId": "m-1"})
    await live.row("m-1").click()
    drawer = live.page.get_by_role("dialog")
    summary = drawer.locator("summary", has_text="requests.crm/")
    await summary.click()
    await live.post("/v1/track", {"event": "Paid", "userId": "u", "messageId": "m-1"})
    await expect(drawer).to_contain_text("Sent 2 times")
    await expect(summary).to_be_focused()
    await summary.blur()
    await live.page.keyboard.press("Escape")
    await expect(drawer).to_be_hidden()


async def test_keyboard_alone_is_enough(live: Open) -> None:
    """From the skip link to an event, along the rows, and into the drawer and back."""
    for number in (1, 2):
        await live.post("/v1/track", {"event": f"E{number}", "userId": "u", "messageId": f"m-{number}"})
    await expect(live.row("m-2")).to_be_visible()
    await live.row("m-2").locator(".open").focus()
    await live.page.keyboard.press("ArrowDown")
    await expect(live.row("m-1").locator(".open")).to_be_focused()
    await live.page.keyboard.press("Enter")
    await expect(live.page.get_by_role("dialog")).to_be_focused()
    await live.page.keyboard.press("Escape")
    await expect(live.row("m-1").locator(".open")).to_be_focused()


async def test_send_a_test_event(live: Open) -> None:
    """The button sends, shows the answer, and leads to where the event got to."""
    await live.page.get_by_role("button", name="Send", exact=True).click()
    panel = live.page.locator("#panel-send")
    await expect(panel.locator(".answer")).to_contain_text("200")
    await expect(panel.locator(".answer")).to_contain_text("Seen here", timeout=2000)
    await panel.get_by_role("button", name="Show where it got to").click()
    await expect(live.page.get_by_role("dialog").get_by_role("heading", name="Order Completed")).to_be_visible()


async def test_a_refused_test_event_shows_its_answer(live: Open) -> None:
    """What is not JSON never leaves the page; what the collector refuses shows its words."""
    text = live.page.get_by_label("Event as JSON")
    await text.fill("{")
    await live.page.get_by_role("button", name="Send", exact=True).click()
    await expect(live.page.locator("#panel-send .answer")).to_contain_text("Not JSON")


async def test_graph_counts(live: Open) -> None:
    """Every stage has a node; reasons show on focus, statuses at the destination."""
    await live.post("/v1/track", {"event": "E", "userId": "u", "messageId": "m-1"})
    await live.post("/v1/track", {"event": "E", "userId": "u", "messageId": "m-1"})
    nodes = live.page.locator(".node")
    await expect(nodes).to_have_count(15)
    await expect(live.page.locator('[data-node="target/crm"]')).to_contain_text("200 × 1")  # noqa: RUF001 (as the page writes it)
    await live.page.locator('[data-node="validate"]').focus()
    tip = live.page.get_by_role("tooltip")
    await expect(tip).to_contain_text("1 duplicate")
    await expect(tip).to_contain_text("was seen from this source")


async def test_what_does_not_flow_says_why_and_what_helps(live: Open) -> None:
    """A parked destination and a processor that the breaker stopped are marked on their nodes; the others are not."""
    tip = live.page.get_by_role("tooltip")
    crm, enrich = live.page.locator('[data-node="target/crm"]'), live.page.locator('[data-node="enrich"]')
    await expect(crm).to_contain_text("parked")
    await crm.focus()
    await expect(tip).to_contain_text("parked_by_command A person parked the destination")
    await expect(tip.locator("code")).to_have_text("headrace destination resume crm")
    await expect(enrich).to_contain_text("stopped")
    await enrich.focus()
    await expect(tip).to_contain_text("crashed on 100 records <b>at steps.py:1</b>")
    await expect(tip.locator("code")).to_have_text("headrace apply")
    await expect(live.page.locator('.node:not([data-halt=""])')).to_have_count(2)


async def test_replay_jobs(live: Open) -> None:
    """A job shows its target, its state, and how far it has come."""
    job = live.page.locator('[data-job="3f2a91c0"]')
    await expect(job).to_contain_text("crm")
    await expect(job).to_contain_text("running")
    await expect(job).to_contain_text("50 left")
    await expect(job).to_contain_text("75 %")


async def test_a_replay_job_is_paused_resumed_and_cancelled(live: Open) -> None:
    """Each button says what it does, and leads to the next state; to cancel is asked for twice; another site's page can do none of it."""
    STATES.clear()
    job = live.page.locator('[data-job="3f2a91c0"]')
    await job.get_by_role("button", name="Pause job 3f2a91c0").click()
    await expect(job.locator(".badge")).to_have_text("paused")
    await job.get_by_role("button", name="Resume job 3f2a91c0").click()
    await expect(job.locator(".badge")).to_have_text("running")
    live.page.once("dialog", lambda dialog: dialog.dismiss())
    await job.get_by_role("button", name="Cancel job 3f2a91c0").click()
    await expect(job.locator(".badge")).to_have_text("running")
    live.page.once("dialog", lambda dialog: dialog.accept())
    await job.get_by_role("button", name="Cancel job 3f2a91c0").click()
    await expect(job.locator(".badge")).to_have_text("cancelled")
    await expect(job.get_by_role("button")).to_have_count(0)
    STATES.clear()


async def test_volumes_by_minute(live: Open) -> None:
    """The page shows what the monitor counted, with the reason of what did not pass."""
    line = live.page.locator(".volumes li").first
    await expect(line).to_contain_text("Order Completed")
    await expect(line).to_contain_text("duplicate")
    await expect(line.locator("b")).to_have_text("15")


async def test_hostile_events_stay_text(live: Open) -> None:
    """Markup in any field is shown as it was written, and does nothing."""
    body = {"event": HOSTILE, "userId": HOSTILE, "messageId": "m-1", "properties": {HOSTILE: HOSTILE}, "context": {"__proto__": {"x": HOSTILE}}}
    await live.post("/v1/track", body)
    await live.row("m-1").click()
    drawer = live.page.get_by_role("dialog")
    await expect(drawer.get_by_role("heading", name=HOSTILE)).to_be_visible()
    await expect(drawer.locator(".json")).to_contain_text("<script>document.title=2</script>")
    await live.page.get_by_label("Filter by user").fill("<img")
    await expect(live.row("m-1")).to_be_visible()
    assert "Headrace · live" == await live.page.title()
    assert 0 == await live.page.locator("img:not([src^='/live/'])").count()
    assert 0 == await live.page.locator("body script").count()


async def test_narrow_screens(live: Open) -> None:
    """At 390 pixels nothing makes the page wider than the screen."""
    await live.page.set_viewport_size({"width": 390, "height": 844})
    await live.post("/v1/track", {"event": "E" * 150, "userId": "u" * 150, "messageId": "m-1"})
    await expect(live.row("m-1")).to_be_visible()
    assert await live.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    await live.row("m-1").click()
    await expect(live.page.get_by_role("dialog")).to_be_visible()
    assert await live.page.evaluate("document.getElementById('drawer').scrollWidth <= window.innerWidth")


async def test_an_event_is_explained_by_its_id(live: Open) -> None:
    """The search box gives the explanation; what strangers wrote stays text; an unknown id says what was looked through."""
    panel = live.page.locator("#panel-explain")
    await panel.get_by_label("Message id").fill("m-1")
    await panel.get_by_role("button", name="Explain").click()
    await expect(panel.locator(".chip").first).to_have_text("same when run again")
    await expect(panel.locator(".target")).to_contain_text("destinations.quiet.filters[0]: <img src=x onerror=alert(1)>")
    await expect(panel.locator("img")).to_have_count(0)
    await panel.get_by_label("Message id").fill("nobody")
    await live.page.keyboard.press("Enter")
    await expect(panel).to_contain_text("dedup state of 1 running processes")


async def test_the_drawer_leads_to_the_explanation(live: Open) -> None:
    """From an event's drawer, with its id and source."""
    await live.post("/v1/track", {"event": "Paid", "userId": "u", "messageId": "m-1"})
    await live.row("m-1").click()
    await live.page.get_by_role("dialog").get_by_role("button", name="Explain why").click()
    await expect(live.page.get_by_role("dialog")).to_be_hidden()
    await expect(live.page.get_by_label("Message id")).to_have_value("m-1")
    await expect(live.page.locator("#panel-explain .target")).to_contain_text("filtered_by_rules")
