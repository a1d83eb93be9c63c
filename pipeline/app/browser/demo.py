"""A page that loads the library as a website does, for a first try: on loopback only, like the live page.

It has the live page's origin and runs a library that is not ours. So its policy lets it ask for nothing but the tracking API: neither what the live
page shows nor what it commands. The live page itself can be neither framed nor held by the page that opened it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from pipeline.app.browser.routes import Served
from pipeline.app.collector.routes import Handler, Reply, RouteRequest, Routes
from pipeline.app.live.routes import for_this_machine

_STATIC: Final = Path(__file__).parent / "static"
_TRACKING: Final = "/v1/"
_TYPES: Final = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
_GUARDS: Final = (("x-content-type-options", "nosniff"), ("referrer-policy", "same-origin"), ("cache-control", "no-store"))


_SOURCE: Final = re.compile(r"[A-Za-z0-9.-]+(:\d+)?")
"""A host as a policy can name it (Content Security Policy Level 3, host-source): an IPv6 address is none."""


def _policy(host: str, tools: Iterable[str]) -> str:
    """Write the page's Content-Security-Policy: scripts of this collector alone, nothing inline; requests to its tracking API and to tools."""
    asked = " ".join([f"{host}{_TRACKING}", *sorted({f"{parts.scheme}://{parts.netloc}" for parts in map(urlsplit, tools)})])
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src {asked}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def demo_routes(write_key: Callable[[], str], served: Served) -> Routes:
    """Give the routes of the page, for a listener on loopback.

    Args:
        write_key: Gives the write key that the page sends with.
        served: What the page loads; it says which tools the page sends to itself.

    Returns:
        Handlers by method and path.
    """
    page = (_STATIC / "demo.html").read_text(encoding="utf-8")

    async def demo(request: RouteRequest) -> Reply:
        host = request.headers.get("host") or ""
        if not _SOURCE.fullmatch(host):
            return Reply(307, b"", "text/plain", (*_GUARDS, ("location", f"http://localhost{host[host.find(']') + 1 :]}/demo")))
        key = write_key()
        source = served.source_of(key)
        plugins = served.device_plugins(source.id) if source is not None else ()
        policy = _policy(host, (value for plugin in plugins for value in plugin.settings.values() if isinstance(value, str) and "://" in value))
        html = page.replace("/WRITE_KEY/", f"/{quote(key, safe='')}/").replace("WRITE_KEY", escape(key))
        return Reply(200, html.encode(), "text/html; charset=utf-8", (*_GUARDS, ("content-security-policy", policy)))

    files = {("GET", f"/demo/{path.name}"): for_this_machine(_file(path)) for path in _STATIC.iterdir() if path.suffix in _TYPES}
    return {("GET", "/demo"): for_this_machine(demo), **files}


def _file(path: Path) -> Handler:
    reply = Reply(200, path.read_bytes(), _TYPES[path.suffix], _GUARDS)

    async def file(_request: RouteRequest) -> Reply:
        return reply

    return file
