"""Asks the routes of the browser's things, without a server."""

from pathlib import Path

from pipeline.app.browser import AnalyticsLibrary, Served, browser_routes, read_plugins
from pipeline.app.collector.routes import Reply, RouteRequest, find
from pipeline.model.workspace import Source, Workspace
from pipeline.runtime.clock import SystemClock

WORKSPACE = Workspace("shop", 3, sources={"web": Source("web", ("key-1",)), "old": Source("old", ("key-2",), enabled=False)})
KEYS = {"key-1": "web", "key-2": "old", "a/b": "web"}
STANDALONE = b'"https://cdn.segment.com" "api.segment.io/v1" __WRITE_KEY__ ' + b" " * 2000


def resolve(text: str) -> str:
    """Know one secret."""
    if "${env:MISSING}" in text:
        raise ValueError(text)
    return text.replace("${env:TOOL}", "https://tool.example")


def library(home: Path, npm: str = "no-such-npm") -> AnalyticsLibrary:
    """Give a library in a home, which is made by nothing."""
    return AnalyticsLibrary(home, SystemClock(), npm)


def put_library(home: Path) -> AnalyticsLibrary:
    """Put made-up files where the library's would be."""
    made = library(home)
    made.folder.mkdir(parents=True)
    (made.folder / "standalone.js").write_bytes(STANDALONE)
    (made.folder / "queryString.bundle.1.js").write_bytes(b"chunk")
    return made


async def get(path: str, of: AnalyticsLibrary, *, method: str = "GET", query: str = "", **headers: str) -> Reply:
    """Ask; header names with underscores."""
    handler = find(browser_routes(Served(lambda: WORKSPACE, lambda: KEYS, of, read_plugins(), resolve)), method, path)
    assert handler is not None
    given = {"host": "cdp.example.com"} | {name.replace("_", "-"): value for name, value in headers.items()}
    reply = await handler(RouteRequest(method, path, query, given, b""))
    assert isinstance(reply, Reply)
    return reply
