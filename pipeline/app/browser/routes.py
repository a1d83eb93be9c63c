"""Routes of what SDKs load before they send: settings, source configuration, analytics.js and its chunks.

Everything here is public and depends on the write key and the address of the request alone. An unknown write key, and one whose source is disabled,
are answered as the originals do: 404 for Segment's library, which then sends nothing; RudderStack's is told that the source is off.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote

import orjson

from pipeline.app.browser.library import STANDALONE, AnalyticsLibrary, LibraryError, at_home
from pipeline.app.browser.plugins import Plugins
from pipeline.app.browser.replies import JSON, SCRIPT, preflight, public, refused, refused_script
from pipeline.app.collector.routes import Handler, Reply, RouteRequest, Routes
from pipeline.ingest.credentials import basic_key, query_field
from pipeline.model.workspace import Source, Workspace
from pipeline.registry import DESTINATION_TYPES
from pipeline.sdk import Address, DevicePlugin, address_of, device_plugins, rudder_source_config, segment_settings, website_snippet
from pipeline.sdk.device import PLUGINS

_log = logging.getLogger(__name__)

_SETTINGS: Final = re.compile(r"/v1/projects/(.{1,400}?)/settings/?")
_SCRIPT: Final = re.compile(r"/analytics\.js/v1/(.{1,400}?)/((?:platform/)?analytics(?:\.min)?\.js|snippet\.js)")
_MINUTES: Final = "public, max-age=60"
_PRIVATE: Final = "private, max-age=60"
_SCRIPT_MINUTES: Final = "public, max-age=300"
_FOR_EVER: Final = "public, max-age=31536000, immutable"
"""A chunk has a hash of itself in its name."""
_TYPES: Final = {".js": SCRIPT, ".map": JSON}
_ADDRESSED: Final = "Origin, X-Forwarded-Proto, Accept-Encoding"

_NO_KEY: Final = refused(404, "not_found", "There is no source with this write key.")
_DISABLED: Final = refused(404, "source_disabled", "The source of this write key is disabled.")
_NOT_FOUND: Final = refused(404, "not_found", "There is nothing under this path.")
_NO_HOST: Final = refused(400, "bad_request", "The Host header names no host: events could not be sent back to it.")
_NO_SCRIPT: Final = refused_script(404, "not_found", "There is nothing under this path.")
_NO_SCRIPT_KEY: Final = refused_script(404, "not_found", "There is no source with this write key.")
_SCRIPT_DISABLED: Final = refused_script(404, "source_disabled", "The source of this write key is disabled.")
_SCRIPT_NO_HOST: Final = refused_script(400, "bad_request", "The Host header names no host: events could not be sent back to it.")
# RudderStack's libraries look for these words.
_RUDDER_NO_KEY: Final = refused(400, "invalid_write_key", "Invalid write key")


class Loaded(NamedTuple):
    """Something that SDKs load.

    Attributes:
        path: Path, as the reference shows it.
        prefix: The routes' prefix for it.
        gives: What it answers with.
        clients: Who asks for it.
    """

    path: str
    prefix: str
    gives: str
    clients: str


LOADED: Final = (
    Loaded("/v1/projects/KEY/settings", "/v1/projects/", "the settings of a source", "Segment in the browser and in apps"),
    Loaded("/sourceConfig", "/sourceConfig", "the configuration of a source; the key as Basic user", "RudderStack in the browser and in apps"),
    Loaded("/sourceConfig/", "/sourceConfig/", "the same", "RudderStack in the browser"),
    Loaded("/analytics.js/v1/KEY/analytics.min.js", "/analytics.js/v1/", "analytics.js", "the snippet"),
    Loaded("/analytics.js/v1/KEY/snippet.js", "/analytics.js/v1/", "the snippet", "websites"),
    Loaded("/analytics-next/bundles/FILE", "/analytics-next/bundles/", "parts of analytics.js", "analytics.js"),
    Loaded(f"{PLUGINS}FILE", PLUGINS, "the plugin of a destination in device mode", "analytics.js"),
)
"""All that is served here."""


class Served(NamedTuple):
    """What the routes work on.

    Attributes:
        workspace: Gives the workspace as it is now.
        keys: Gives the source ids by write key as they are now, without those that this listener must not know.
        library: The library.
        plugins: Scripts of device mode.
        resolve: Fills in references; raises ValueError for one that is not there.
    """

    workspace: Callable[[], Workspace]
    keys: Callable[[], Mapping[str, str]]
    library: AnalyticsLibrary
    plugins: Plugins
    resolve: Callable[[str], str]

    def source_of(self, write_key: str) -> Source | None:
        """Find the source of a write key."""
        return self.workspace().sources.get(self.keys().get(write_key, ""))

    def device_plugins(self, source: str) -> tuple[DevicePlugin, ...]:
        """List the destinations that browsers of a source send to themselves."""
        return device_plugins(self.workspace(), source, DESTINATION_TYPES, self.plugins.names, self.resolve)


def browser_routes(served: Served) -> Routes:
    """Give the routes.

    Args:
        served: What they work on.

    Returns:
        Handlers by method and path.
    """
    handlers: dict[str, Handler] = {
        "/v1/projects/": _settings(served),
        "/sourceConfig": _source_config(served),
        "/sourceConfig/": _source_config(served),
        "/analytics.js/v1/": _script(served),
        "/analytics-next/bundles/": _chunks(served.library),
        PLUGINS: _plugin_scripts(served.plugins),
    }

    async def asked_first(request: RouteRequest) -> Reply:
        return preflight(request)

    prefixes = {one.prefix for one in LOADED}
    return {("GET", prefix): handlers[prefix] for prefix in prefixes} | {("OPTIONS", prefix): asked_first for prefix in prefixes}


def _address(request: RouteRequest) -> Address | None:
    headers = request.headers
    return address_of(headers.get("host"), headers.get("x-forwarded-proto"), headers.get("origin"))


def _settings(served: Served) -> Handler:
    async def settings(request: RouteRequest) -> Reply:
        found = _SETTINGS.fullmatch(request.path)
        if found is None:
            return _NOT_FOUND
        write_key = unquote(found[1])
        source, address = served.source_of(write_key), _address(request)
        if source is None:
            return _NO_KEY
        if not source.enabled:
            return _DISABLED
        if address is None:
            return _NO_HOST
        return public(request, orjson.dumps(segment_settings(write_key, address, served.device_plugins(source.id))), JSON, _MINUTES, _ADDRESSED)

    return settings


def _source_config(served: Served) -> Handler:
    async def source_config(request: RouteRequest) -> Reply:
        write_key = basic_key(request.headers.get("authorization") or "") or query_field(request.query, "writeKey")
        source = served.source_of(write_key)
        if source is None:
            return _RUDDER_NO_KEY
        body = orjson.dumps(rudder_source_config(source, write_key, served.workspace().name))
        return public(request, body, JSON, _PRIVATE, "Authorization, Accept-Encoding")

    return source_config


def _script(served: Served) -> Handler:
    @lru_cache(maxsize=64)
    def made(script: bytes, write_key: str, address: Address) -> bytes:
        return at_home(script, write_key, address.scheme, address.host)

    async def script(request: RouteRequest) -> Reply:  # noqa: PLR0911 (each refusal has its own words)
        found = _SCRIPT.fullmatch(request.path)
        if found is None:
            return _NO_SCRIPT
        write_key = unquote(found[1])
        source, address = served.source_of(write_key), _address(request)
        if source is None:
            return _NO_SCRIPT_KEY
        if not source.enabled:
            return _SCRIPT_DISABLED
        if address is None:
            return _SCRIPT_NO_HOST
        if found[2] == "snippet.js":
            return public(request, website_snippet(write_key, address).encode(), SCRIPT, _SCRIPT_MINUTES, _ADDRESSED)
        try:
            files = await served.library.files()
        except LibraryError as error:
            return _unavailable(error)
        return public(request, made(files[STANDALONE], write_key, address), SCRIPT, _SCRIPT_MINUTES, _ADDRESSED)

    return script


def _chunks(library: AnalyticsLibrary) -> Handler:
    async def chunk(request: RouteRequest) -> Reply:
        name = request.path.removeprefix("/analytics-next/bundles/")
        content_type = _TYPES.get(name[name.rfind(".") :])
        try:
            files = await library.files()
        except LibraryError as error:
            return _unavailable(error)
        if content_type is None or name not in files:
            return _NO_SCRIPT
        return public(request, files[name], content_type, _FOR_EVER, "Accept-Encoding")

    return chunk


def _plugin_scripts(plugins: Plugins) -> Handler:
    async def plugin_script(request: RouteRequest) -> Reply:
        script = plugins.scripts.get(request.path.removeprefix(PLUGINS))
        return public(request, script, SCRIPT, _FOR_EVER, "Accept-Encoding") if script is not None else _NO_SCRIPT

    return plugin_script


def _unavailable(error: LibraryError) -> Reply:
    _log.warning("%s", error)
    return refused_script(503, "library_missing", str(error))
