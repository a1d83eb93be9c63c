"""`headrace send`: one event to the collector, as an SDK would."""

from __future__ import annotations

import secrets
import uuid
from base64 import b64encode
from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener  # noqa: TID251 (one request of a command line needs no client of the runtime)

import orjson
import typer

from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.options import JsonOption, WorkspaceOption, examples
from pipeline.app.cli.output import printable, say, say_json
from pipeline.app.declared import find_workspace, read_workspace
from pipeline.app.settings import Secrets, SettingError, Settings, read_settings
from pipeline.declaration import did_you_mean
from pipeline.model.workspace import DEMO_WRITE_KEY, Workspace

_TIMEOUT_SECONDS: Final = 15.0


class Call(StrEnum):
    """The spec's calls."""

    TRACK = "track"
    IDENTIFY = "identify"
    PAGE = "page"
    SCREEN = "screen"
    GROUP = "group"
    ALIAS = "alias"


class Answer(NamedTuple):
    """What the collector said: HTTP status and body as JSON, or as text where it is none."""

    status: int
    body: Any


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        "send",
        epilog=examples(
            "headrace send track --user u1 --event 'Order Completed' --properties '{\"total\": 42}'",
            'headrace send identify --user u1 --traits \'{"email": "ada@example.com"}\'',
            "headrace send page --anonymous a1 --name Home --source web --json",
        ),
    )(send)


def send(  # noqa: PLR0913, PLR0917 (typer makes an option of each argument)
    call: Annotated[Call, typer.Argument(metavar="CALL", help="track, identify, page, screen, group or alias.", show_default=False)],
    user: Annotated[str, typer.Option("--user", "-u", metavar="ID", help="userId.", show_default=False)] = "",
    anonymous: Annotated[str, typer.Option("--anonymous", "-a", metavar="ID", help="anonymousId.", show_default=False)] = "",
    event: Annotated[str, typer.Option("--event", "-e", metavar="NAME", help="Name of the event (track).", show_default=False)] = "",
    name: Annotated[str, typer.Option("--name", "-n", metavar="NAME", help="Name of the page or screen.", show_default=False)] = "",
    group: Annotated[str, typer.Option("--group", metavar="ID", help="groupId (group).", show_default=False)] = "",
    previous: Annotated[str, typer.Option("--previous", metavar="ID", help="previousId (alias).", show_default=False)] = "",
    properties: Annotated[str, typer.Option("--properties", "-p", metavar="JSON", help="An object (track, page, screen).", show_default=False)] = "",
    traits: Annotated[str, typer.Option("--traits", "-t", metavar="JSON", help="An object (identify, group).", show_default=False)] = "",
    context: Annotated[str, typer.Option("--context", metavar="JSON", help="An object.", show_default=False)] = "",
    source: Annotated[str, typer.Option("--source", "-s", metavar="NAME", help="Source to send as. Default: the first.", show_default=False)] = "",
    write_key: Annotated[
        str, typer.Option("--write-key", metavar="KEY", help="Write key, instead of a source of the workspace.", show_default=False)
    ] = "",
    url: Annotated[
        str, typer.Option("--url", metavar="URL", help="The collector. Default: http://127.0.0.1:HEADRACE_PORT.", show_default=False)
    ] = "",
    workspace: WorkspaceOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Send one event to the collector. Exits with 0 once it is stored."""
    settings = read_settings()
    texts = {"userId": user, "anonymousId": anonymous, "event": event, "name": name, "groupId": group, "previousId": previous}
    objects = {"properties": properties, "traits": traits, "context": context}
    body: dict[str, Any] = {key: text for key, text in texts.items() if text}
    body |= {key: _object(f"--{key}", text) for key, text in objects.items() if text}
    # An id of its own, as an SDK gives it: with it the event can be found again in every topic.
    body["messageId"] = str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))
    key = write_key or _write_key(workspace, source, settings)
    answer = post((url or settings.collector).rstrip("/") + f"/v1/{call.value}", key, body)
    stored = 200 <= answer.status < 300
    if as_json:
        say_json({"stored": stored, "status": answer.status, "message_id": body["messageId"], "answer": answer.body})
    elif stored:
        say(f"[green]✓[/] stored: {call.value} with message id {body['messageId']}")
    if not stored:
        if not as_json:
            raise CommandError(f"the collector answered {answer.status}: {printable(_said(answer.body))}", _REMEDY.get(answer.status, ""))
        raise typer.Exit(1)


_REMEDY: Final = {
    400: "the event lacks something or is too large: see the answer",
    401: "the write key is not known: `headrace apply` makes a new source's key known",
    429: "the collector has reached its limit: try again later",
    503: "the collector cannot store events now: look at `headrace status`",
}


def post(url: str, write_key: str, body: dict[str, Any]) -> Answer:
    """Send one request to the collector.

    Args:
        url: Where to.
        write_key: The source's write key.
        body: The event.

    Returns:
        The answer, whatever its status.

    Raises:
        CommandError: Nobody answers there, or it is no HTTP address.
    """
    if not url.startswith(("http://", "https://")):
        raise CommandError(f"{url} is no HTTP address", "write --url http://HOST:PORT", status=2)
    headers = {"Content-Type": "application/json", "Authorization": "Basic " + b64encode(f"{write_key}:".encode()).decode()}
    request = Request(url, orjson.dumps(body), headers, method="POST")  # noqa: S310 (the scheme is checked above)
    try:
        with _OPENER.open(request, timeout=_TIMEOUT_SECONDS) as response:
            return Answer(response.status, _parsed(response.read()))
    except HTTPError as error:
        with error:
            return Answer(error.code, _parsed(error.read()))
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise CommandError(f"the collector at {url} does not answer: {reason}", "start it with `headrace up`, or give --url") from None


# The collector of a local run is never behind the proxy that the environment may name.
_OPENER: Final = build_opener(ProxyHandler({}))


def _parsed(text: bytes) -> Any:  # noqa: ANN401 (any JSON value)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text.decode("utf-8", "replace")


def _said(body: Any) -> str:  # noqa: ANN401 (any JSON value)
    """Give what an answer says to a person: its message and code where it has both."""
    if isinstance(body, dict) and body.get("message") and body.get("code"):
        return f"{body['message']} ({body['code']})"
    return _text(body)


def _text(body: Any) -> str:  # noqa: ANN401 (any JSON value)
    return body if isinstance(body, str) else orjson.dumps(body).decode()


def _object(option: str, text: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise CommandError(f"{option} is not JSON: {error}", f"quote it for the shell: {option} '{{\"total\": 42}}'", status=2) from None
    if not isinstance(value, dict):
        raise CommandError(f"{option} is not an object", f"write {option} '{{\"total\": 42}}'", status=2)
    return value


def _write_key(workspace: str, source: str, settings: Settings) -> str:
    """Take the write key of a source of the workspace; without a workspace, the one of the demo."""
    try:
        path = find_workspace(workspace, settings)
    except SettingError:
        if workspace or source:
            raise
        return DEMO_WRITE_KEY
    declared = read_workspace(path)
    return Secrets(settings.home).resolve(_declared_key(declared, source))


def _declared_key(declared: Workspace, source: str) -> str:
    if source and source not in declared.sources:
        raise CommandError(f"there is no source {source}", did_you_mean(source, declared.sources), status=2)
    wanted = [declared.sources[source]] if source else list(declared.sources.values())
    key = next((key for one in wanted for key in one.write_keys if key not in one.disabled_keys), "")
    if not key:
        raise CommandError("no source has a write key", "add one with `headrace source add web`, or give --write-key KEY")
    return key
