"""The settings of Segment's libraries: analytics.js, @segment/analytics-next and the mobile ones ask for the same document.

Source: the libraries themselves (@segment/analytics-next 1.84.3, `browser/settings.ts`; reference: tracking-api §6). Three things in it keep events
at home: an entry `Segment.io` (without one they go to api.segment.io), its `apiKey` (without one they carry no key), and a sample rate of 0 (without
one the library reports on itself to Segment). Every member is an object: Kotlin reads them typed and takes no null.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.sdk.address import Address
from pipeline.sdk.device import DevicePlugin, device_settings


def segment_settings(write_key: str, address: Address, plugins: Sequence[DevicePlugin] = ()) -> dict[str, Any]:
    """Make the settings document of a write key.

    Args:
        write_key: The write key that was asked for; events will carry it.
        address: Where events shall be sent.
        plugins: Destinations that browsers send to themselves.

    Returns:
        JSON.
    """
    own = {
        "apiKey": write_key,
        "apiHost": f"{address.host}/v1",
        "protocol": address.scheme,
        "addBundledMetadata": True,
        "unbundledIntegrations": [],
        "maybeBundledConfigIds": {one.destination: [one.destination] for one in plugins},
        "versionSettings": {"version": "4.4.7", "componentTypes": ["browser"]},
        "httpConfig": {},
    }
    integrations, remote_plugins = device_settings(plugins, str(address))
    return {
        "integrations": {"Segment.io": own, **integrations},
        "plan": {call: {"__default": {"enabled": True, "integrations": {}}} for call in ("track", "identify", "group")},
        "edgeFunction": {},
        "analyticsNextEnabled": True,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0},
        "legacyVideoPluginsEnabled": False,
        "remotePlugins": remote_plugins,
        "consentSettings": {},
        "autoInstrumentationSettings": {},
    }
