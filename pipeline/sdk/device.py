"""Device mode: destinations that the visitor's browser sends to itself, as far as the settings document speaks of them.

The library marks each event with what it has sent on the device (`_metadata.bundled`), as the settings say of each integration. They say `unbundled`
here, and the plugin says `bundled` once it runs: an event of a page whose plugin was blocked, or is not there yet, is sent by us.
Source: @segment/analytics-next 1.84.3, `plugins/segmentio/normalize.ts` and `plugins/remote-loader`; reference: connections §1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.destinations.declaration import DestinationType
from pipeline.model.workspace import Workspace

PLUGINS = "/next-integrations/actions/"
"""Where plugins are served, under the collector's address."""


class DevicePlugin(NamedTuple):
    """A destination in a browser.

    Attributes:
        destination: Id of the destination; events are marked with it, and switch it off by it.
        script: Name of its type's script as it is served.
        library: Name under which the script puts its plugin into the page.
        settings: What the plugin gets; every visitor can read it.
    """

    destination: str
    script: str
    library: str
    settings: dict[str, Any]


def device_plugins(
    workspace: Workspace,
    source: str,
    types: Mapping[str, DestinationType],
    scripts: Mapping[str, str],
    resolve: Callable[[str], str],
) -> tuple[DevicePlugin, ...]:
    """List the destinations that browsers of a source send to.

    Args:
        workspace: What is declared.
        source: Id of the source.
        types: Destination types by slug.
        scripts: Names of the plugins' scripts as they are served, by slug.
        resolve: Fills in references; raises ValueError for one that is not there.

    Returns:
        Plugins in the order of their ids, with public settings alone. One whose settings lead nowhere is left out: then we send its events.
    """
    plugins = []
    for destination in sorted(workspace.destinations.values(), key=lambda one: one.id):
        if destination.mode != "device" or not destination.enabled or source not in destination.sources or destination.type not in scripts:
            continue
        public = [field.name for field in types[destination.type].settings if field.public and field.name in destination.settings]
        try:
            settings: dict[str, Any] = {name: resolve(destination.settings[name]) for name in public}
        except ValueError:
            continue
        settings |= {"id": destination.id, "events": [*destination.events], "exceptEvents": [*destination.except_events]}
        library = f"headrace_{destination.type.replace('-', '_')}"
        plugins.append(DevicePlugin(destination.id, scripts[destination.type], library, settings))
    return tuple(plugins)


def device_settings(plugins: Sequence[DevicePlugin], address: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Write plugins as the settings document has them.

    Args:
        plugins: The plugins.
        address: Address of the collector.

    Returns:
        Members of `integrations`, and the list `remotePlugins`.
    """
    integrations = {one.destination: {"bundlingStatus": "unbundled", "versionSettings": {"componentTypes": []}} for one in plugins}
    remote = [
        {
            "name": one.destination,
            "creationName": one.destination,
            "url": f"{address}{PLUGINS}{one.script}",
            "libraryName": one.library,
            "settings": one.settings,
        }
        for one in plugins
    ]
    return integrations, remote
