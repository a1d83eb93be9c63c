"""The page to try the library on: for this machine, with nothing inline, and allowed to ask no more than it needs."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.app.browser import Served, demo_routes, read_plugins
from pipeline.app.collector.routes import Reply, RouteRequest, find
from pipeline.model.workspace import Destination, Workspace
from tests.unit.app.browser.asked import WORKSPACE, library, resolve

TOOL = Destination("tool", "webhook", ("web",), settings={"url": "https://tool.example/x", "browser_url": "${env:TOOL}/browser"}, mode="device")


async def ask(path: str, home: Path, host: str = "localhost:7070", workspace: Workspace = WORKSPACE, key: str = "key-1") -> Reply:
    """Ask for a part of the page."""
    served = Served(lambda: workspace, lambda: {key: "web"}, library(home), read_plugins(), resolve)
    handler = find(demo_routes(lambda: key, served), "GET", path)
    assert handler is not None
    headers = {"host": host}
    reply = await handler(RouteRequest("GET", path, "", headers, b""))
    assert isinstance(reply, Reply)
    return reply


@pytest.mark.parametrize("path", ["/demo", "/demo/demo.js", "/demo/demo.css"])
async def test_for_this_machine(path: str, tmp_path: Path) -> None:
    """Another name, which a site may have pointed here, is refused."""
    assert [200, 403] == [(await ask(path, tmp_path, host)).status for host in ("127.0.0.1:7070", "rebound.example.com")]


async def test_nothing_is_inline(tmp_path: Path) -> None:
    """The policy allows scripts of ours alone, so none stands in the page, and none of its attributes runs one."""
    reply = await ask("/demo", tmp_path)
    assert not re.search(rb"<script(?! src=)|\son\w+=|style=", reply.body)
    assert "script-src 'self';" in dict(reply.headers)["content-security-policy"]


async def test_what_it_may_ask(tmp_path: Path) -> None:
    """The tracking API, no other path of the live page's origin, and the tools that it sends to itself."""
    policies = [
        dict((await ask("/demo", tmp_path, workspace=workspace)).headers)["content-security-policy"]
        for workspace in (WORKSPACE, replace(WORKSPACE, destinations={"tool": TOOL}))
    ]
    wanted = ["connect-src localhost:7070/v1/", "connect-src localhost:7070/v1/ https://tool.example"]
    assert wanted == [policy.split("; ")[4] for policy in policies]


async def test_an_address_that_no_policy_can_name(tmp_path: Path) -> None:
    """By an IPv6 address the page could ask for nothing, so it opens by its name."""
    reply = await ask("/demo", tmp_path, "[::1]:7070")
    assert (307, "http://localhost:7070/demo") == (reply.status, dict(reply.headers)["location"])


async def test_a_key_cannot_become_markup(tmp_path: Path) -> None:
    """It is escaped where it is shown, and quoted where it is part of an address."""
    body = (await ask("/demo", tmp_path, key='"><script>alert(1)</script>')).body
    assert b"<script>" not in body
    assert b"/analytics.js/v1/%22%3E%3Cscript%3Ealert%281%29%3C%2Fscript%3E/snippet.js" in body
