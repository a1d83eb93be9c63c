"""HTTP of the live page: static files, one stream, and JSON. For this machine only.

Events are hostile input and the page has no login. So: mounted on loopback listeners only; the Host header must name this machine, which keeps
pages of other sites out that resolve their own name to it (DNS rebinding); no CORS header, so that no other page can read an answer; what a browser
says another site's page asks for is refused (fetch metadata), and streams are few, so that none can slow the collector; what changes something is a
POST of JSON whose Origin, where a browser names one, is this very page's; a content security policy without inline script, and trusted types, so that
nothing in an event can become markup.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

import orjson

from pipeline.app.collector.routes import Handler, Reply, RouteRequest, Routes, Stream
from pipeline.app.live.facts import Place
from pipeline.app.live.feed import LiveFeed
from pipeline.app.live.setup import Setup, setup_json
from pipeline.app.live.sse import frame
from pipeline.model.json_text import encode
from pipeline.ports.broker import BrokerError

STATIC: Final = Path(__file__).parent / "static"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_GUARDS: Final = (
    (
        "content-security-policy",
        (
            "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'none'; frame-ancestors 'none'; "
            "require-trusted-types-for 'script'; trusted-types 'none'"
        ),
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cache-control", "no-store"),
)


MINUTES_MOST: Final = 60
STREAMS_MOST: Final = 16
"""Most pages that are followed at once. Each makes its own rows four times a second, on the event loop that takes events in."""

Volumes = Callable[[int], Awaitable[list[dict[str, Any]] | None]]
"""Gives the lines of the monitor for the last minutes (source, event, verdict, reason, counts by minute), or None where it does not run."""

Explain = Callable[[str, str], Awaitable[dict[str, Any] | None]]
"""Explains the event of a message id (or place) and a source (empty for any), as `headrace explain --json` does; None where that takes too long."""
ASKED_CHARACTERS: Final = 400
"""Longest message id or place that is looked for."""


JobLines = Callable[[], Awaitable[list[dict[str, Any]] | None]]
"""Gives the newest replay jobs, or None where nothing runs any."""

CommandJob = Callable[[str, str], Awaitable[str]]
"""Asks a job (by id) to `pause`, `resume` or `cancel`; gives its state then. Raises LookupError where there is none, ValueError where it cannot."""
JOB_COMMANDS: Final = ("pause", "resume", "cancel")


def live_routes(feed: LiveFeed, setup: Callable[[], Setup], volumes: Volumes, explain: Explain, jobs: JobLines, command_job: CommandJob) -> Routes:
    """Give the routes of the live page, for a listener on loopback.

    Args:
        feed: What the page shows; its `run` is the caller's to start.
        setup: Gives addresses and write key as they are now.
        volumes: Gives what the monitor counted.
        jobs: Gives the replay jobs.
        explain: Explains one event.
        command_job: Pauses, resumes or cancels a replay job.

    Returns:
        Handlers by method and path.
    """
    files = {path.relative_to(STATIC).as_posix(): (path.read_bytes(), _TYPES[path.suffix]) for path in STATIC.rglob("*") if path.suffix in _TYPES}

    streams: set[object] = set()

    async def page(_request: RouteRequest) -> Reply:
        return _file(files, "index.html")

    async def static(request: RouteRequest) -> Reply:
        return _file(files, request.path.removeprefix("/live/static/"))

    async def events(_request: RouteRequest) -> Reply | Stream:
        return Stream(_stream(feed, streams), headers=_GUARDS) if len(streams) < STREAMS_MOST else _TOO_MANY

    async def topology(_request: RouteRequest) -> Reply:
        return _json(feed.graph())

    async def event(request: RouteRequest) -> Reply:
        found = feed.detail(_query(request, "message_id"))
        return _json(found) if found is not None else _NOT_FOUND

    async def record(request: RouteRequest) -> Reply:
        place = _place(request)
        try:
            found = await feed.record(place) if place is not None else None
        except BrokerError:
            found = None
        return _json(found) if found is not None else _NOT_FOUND

    async def shown_setup(request: RouteRequest) -> Reply:
        return _json(setup_json(setup(), _query(request, "source")))

    async def shown_volumes(request: RouteRequest) -> Reply:
        return _volume_lines(await volumes(_minutes(request)))

    return {
        ("GET", "/"): for_this_machine(page),
        ("GET", "/live/static/"): for_this_machine(static),
        ("GET", "/live/events"): for_this_machine(events),
        ("GET", "/live/topology.json"): for_this_machine(topology),
        ("GET", "/live/trail"): for_this_machine(event),
        ("GET", "/live/record"): for_this_machine(record),
        ("GET", "/live/explain"): for_this_machine(_explained(explain)),
        ("GET", "/live/volumes.json"): for_this_machine(shown_volumes),
        ("GET", "/live/jobs.json"): for_this_machine(_shown_jobs(jobs)),
        ("POST", "/live/jobs.json"): for_this_machine(_by_its_own_page(_commanded_job(command_job))),
        ("GET", "/live/setup.json"): for_this_machine(shown_setup),
    }


def _explained(explain: Explain) -> Handler:
    explaining = asyncio.Lock()

    async def explained(request: RouteRequest) -> Reply:
        wanted, source = _query(request, "message_id"), _query(request, "source")
        if not wanted or max(len(wanted), len(source)) > ASKED_CHARACTERS:
            return _NOT_FOUND
        if explaining.locked():  # one at a time: each reads a dozen topics
            return _BUSY
        async with explaining:
            try:
                found = await explain(wanted, source)
            except BrokerError:
                found = None
        return Reply(200, encode(found), headers=_GUARDS) if found is not None else _BUSY

    return explained


def _shown_jobs(jobs: JobLines) -> Handler:
    async def shown_jobs(_request: RouteRequest) -> Reply:
        lines = await jobs()
        return _json({"jobs": lines}) if lines is not None else _NOT_FOUND

    return shown_jobs


def _commanded_job(command_job: CommandJob) -> Handler:
    async def commanded(request: RouteRequest) -> Reply:
        try:
            body = orjson.loads(request.body)
            job, command = str(body["job"]), str(body["command"])
        except (ValueError, KeyError, TypeError):
            return _error(400, "send a job and a command")
        if command not in JOB_COMMANDS:
            return _error(400, f"the commands are {', '.join(JOB_COMMANDS)}")
        try:
            return _json({"job": job, "state": await command_job(job, command)})
        except LookupError:
            return _NOT_FOUND
        except ValueError as error:
            return _error(409, str(error))
        except BrokerError:
            return _BUSY

    return commanded


def _by_its_own_page(handler: Handler) -> Handler:
    """Let nobody else's page change anything: a form cannot send JSON, and a browser says from where a script does."""

    async def guarded(request: RouteRequest) -> Reply | Stream:
        host, origin = request.headers.get("host"), request.headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            return _error(403, "the live page answers to its own pages only")
        if (request.headers.get("content-type") or "").partition(";")[0].strip().lower() != "application/json":
            return _error(415, "send JSON, as application/json")
        return await handler(request)

    return guarded


def names_this_machine(host: str | None) -> bool:
    """Say whether a Host header names this machine: `localhost` or a loopback address, with any port.

    Args:
        host: The header's value, or None.

    Returns:
        Whether it does.
    """
    if not host:
        return False
    name = host[1:].partition("]")[0] if host.startswith("[") else host.rpartition(":")[0] or host
    if name.lower() == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(name).is_loopback
    return False


def for_this_machine(handler: Handler) -> Handler:
    """Let only pages of this machine ask a handler.

    Args:
        handler: A handler of a page on loopback.

    Returns:
        The same, which refuses a Host header of another name and what another site's page asks for; a person may come from anywhere.
    """

    async def guarded(request: RouteRequest) -> Reply | Stream:
        if not names_this_machine(request.headers.get("host")):
            return Reply(403, b"The live page answers to localhost only.\n", "text/plain; charset=utf-8", _GUARDS)
        if request.headers.get("sec-fetch-site") in ("cross-site", "same-site") and request.headers.get("sec-fetch-mode") != "navigate":
            return Reply(403, b"The live page answers to its own pages only.\n", "text/plain; charset=utf-8", _GUARDS)
        return await handler(request)

    return guarded


_BUSY: Final = Reply(503, b'{"error":"busy"}', headers=_GUARDS)
_TOO_MANY: Final = Reply(503, b'{"error":"too many pages are open"}', headers=_GUARDS)
_NOT_FOUND: Final = Reply(404, b'{"error":"not found"}', headers=_GUARDS)


def _error(status: int, text: str) -> Reply:
    return Reply(status, orjson.dumps({"error": text}), headers=_GUARDS)


def _file(files: dict[str, tuple[bytes, str]], name: str) -> Reply:
    found = files.get(name)
    return Reply(200, found[0], found[1], _GUARDS) if found is not None else _NOT_FOUND


def _json(body: Any) -> Reply:  # noqa: ANN401 (JSON)
    return Reply(200, orjson.dumps(body), headers=_GUARDS)


def _volume_lines(lines: list[dict[str, Any]] | None) -> Reply:
    return _json({"lines": lines}) if lines is not None else _NOT_FOUND


def _place(request: RouteRequest) -> Place | None:
    partition, offset = _query(request, "partition"), _query(request, "offset")
    if not (partition.isdecimal() and offset.isdecimal() and len(partition) < 6 and len(offset) < 19):
        return None
    return Place(_query(request, "topic"), int(partition), int(offset))


def _minutes(request: RouteRequest) -> int:
    text = _query(request, "minutes")
    return min(max(int(text), 1), MINUTES_MOST) if text.isdecimal() and len(text) < 5 else MINUTES_MOST


def _query(request: RouteRequest, name: str) -> str:
    return parse_qs(request.query, errors="replace").get(name, [""])[0]


async def _stream(feed: LiveFeed, streams: set[object]) -> AsyncIterator[bytes]:
    if len(streams) >= STREAMS_MOST:
        return  # many came at once, before the first of them was counted
    this = object()
    streams.add(this)
    try:
        async with contextlib.aclosing(feed.updates()) as updates:
            async for name, data in updates:
                yield frame(name, data)
    finally:
        streams.discard(this)
