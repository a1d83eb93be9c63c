"""Which destinations a browser is told of, and that it is told nothing that is not public."""

import orjson
import pytest

from pipeline.model.workspace import Destination, Source, Workspace
from pipeline.registry import DESTINATION_TYPES
from pipeline.sdk import Address, device_plugins, segment_settings

PUBLIC = {"url": "https://tool.example/hook", "shared_secret": "${env:SECRET}", "browser_url": "https://tool.example/browser"}
TOOL = Destination("tool", "webhook", ("web",), settings=PUBLIC, events=("Order Completed",), mode="device")


def plugins_of(*destinations: Destination) -> list[str]:
    """List the plugins of the source web."""
    workspace = Workspace("shop", 1, sources={"web": Source("web")}, destinations={one.id: one for one in destinations})
    return [one.destination for one in device_plugins(workspace, "web", DESTINATION_TYPES, {"webhook": "webhook.1.js"}, resolve)]


def resolve(text: str) -> str:
    """Know no secret."""
    if "${" in text:
        raise ValueError(text)
    return text


def test_what_a_browser_gets() -> None:
    """Its public settings and its event lists, in the form that the library reads."""
    workspace = Workspace("shop", 1, sources={"web": Source("web")}, destinations={"tool": TOOL})
    plugins = device_plugins(workspace, "web", DESTINATION_TYPES, {"webhook": "webhook.1.js"}, resolve)
    settings = segment_settings("key-1", Address("https", "cdp.example.com"), plugins)
    assert {"bundlingStatus": "unbundled", "versionSettings": {"componentTypes": []}} == settings["integrations"]["tool"]
    own = {"browser_url": "https://tool.example/browser", "id": "tool", "events": ["Order Completed"], "exceptEvents": []}
    url = "https://cdp.example.com/next-integrations/actions/webhook.1.js"
    assert [{"name": "tool", "creationName": "tool", "url": url, "libraryName": "headrace_webhook", "settings": own}] == settings["remotePlugins"]
    assert {"tool": ["tool"]} == settings["integrations"]["Segment.io"]["maybeBundledConfigIds"]
    text = orjson.dumps(settings)
    assert b"shared_secret" not in text
    assert b"/hook" not in text


@pytest.mark.parametrize(
    "destination",
    [
        Destination("tool", "webhook", ("web",), settings=PUBLIC),
        Destination("tool", "webhook", ("web",), settings=PUBLIC, mode="device", enabled=False),
        Destination("tool", "webhook", ("server",), settings=PUBLIC, mode="device"),
        Destination("tool", "webhook", ("web",), settings={**PUBLIC, "browser_url": "${env:MISSING}"}, mode="device"),
    ],
    ids=["cloud mode", "disabled", "of another source", "a setting that leads nowhere"],
)
def test_what_a_browser_is_not_told_of(destination: Destination) -> None:
    """We send these."""
    assert [] == plugins_of(destination)
    assert ["tool"] == plugins_of(TOOL)
