"""What SDKs load before they send: settings documents, made of what is declared.

In: a source of the workspace, its write key, and the address under which its client reached the collector. Out: plain data, one document for
Segment's libraries (`segment_settings`) and one for RudderStack's (`rudder_source_config`), with nothing in it that is not public. Nothing here
awaits, reads a clock or the environment. `snippets` is the one table of code to paste, for every SDK.
"""

from __future__ import annotations

from pipeline.sdk.address import Address, address_of
from pipeline.sdk.device import DevicePlugin, device_plugins
from pipeline.sdk.rudder import rudder_source_config
from pipeline.sdk.segment import segment_settings
from pipeline.sdk.snippets import Place, Snippet, snippets
from pipeline.sdk.website import website_snippet

__all__ = [
    "Address",
    "DevicePlugin",
    "Place",
    "Snippet",
    "address_of",
    "device_plugins",
    "rudder_source_config",
    "segment_settings",
    "snippets",
    "website_snippet",
]
