"""`headrace source add`: a source, its write key or secret, and what to paste."""

from __future__ import annotations

import secrets
from typing import Annotated

import typer

from pipeline.app.cli import source_keys, source_webhook
from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.options import JsonOption, WorkspaceOption, examples
from pipeline.app.cli.output import say, say_json, say_plain
from pipeline.app.cli.workspace_edit import add_to_workspace, check_id
from pipeline.app.declared import find_workspace, read_workspace
from pipeline.app.settings import Secrets, SettingError, Settings, add_secret, read_settings
from pipeline.declaration import did_you_mean
from pipeline.registry import SOURCE_PRESETS
from pipeline.sdk import Address, Place, snippets

_SHOWN = frozenset(("curl", "python", "node", "browser"))
"""The snippets for a first try; the live page has all."""


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    group = typer.Typer(no_args_is_help=True, help="Where events come from.")
    group.command("add", epilog=examples("headrace source add web", "headrace source add billing --type webhook --preset stripe"))(add)
    source_keys.register(group)
    app.add_typer(group, name="source")


def add(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Id of the source, kept for ever: lower-case letters, digits and hyphens.", show_default=False)
    ],
    workspace: WorkspaceOption = "",
    *,
    kind: Annotated[
        str, typer.Option("--type", metavar="TYPE", help="tracking: SDKs send to it. webhook: another product does.", show_default=True)
    ] = "tracking",
    preset: Annotated[
        str,
        typer.Option("--preset", metavar="NAME", help=f"Whose webhooks it takes: {', '.join(SOURCE_PRESETS)}. Default: generic.", show_default=False),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Add a source to the workspace: make its write key and show how to send to it.

    The file gets a reference to the key, as ${env:NAME}; the key itself goes into secrets.env in HEADRACE_HOME, which only you may read,
    and is shown here once. For a webhook it is the secret that signs, and the address to paste is shown. `headrace apply` puts the source to work.
    """
    if kind not in ("tracking", "webhook"):
        raise CommandError(f"there is no type {kind} of source", did_you_mean(kind, ("tracking", "webhook")), status=2)
    if preset and kind != "webhook":
        raise CommandError("--preset is for webhooks", "add --type webhook", status=2)
    settings = read_settings()
    path = find_workspace(workspace, settings)
    check_id(name, "source")
    if name in read_workspace(path).sources:
        raise CommandError(
            f"the workspace has a source {name} already", "choose another name; its write key is in secrets.env or in your environment"
        )
    if kind == "webhook":
        source_webhook.add_webhook(path, name, preset, settings, as_json=as_json)
        return
    variable = f"{name.upper().replace('-', '_')}_WRITE_KEY"
    key, kept = _write_key(settings, variable)
    file = add_to_workspace(path, "sources", {"id": name, "write_keys": [f"${{env:{variable}}}"]})
    if as_json:
        say_json({"source": name, "write_key": key, "variable": variable, "secrets": kept, "file": str(file)})
        return
    say(f"[green]✓[/] source [bold]{name}[/] is in {file}")
    say(f"[green]✓[/] its write key is {variable} in {kept}:  [bold]{key}[/]")
    scheme, _, host = settings.collector.partition("://")
    for snippet in snippets(Place(key, name, Address(scheme, host))):
        if snippet.id in _SHOWN:
            say(f"\n[bold]{snippet.title}[/]")
            say_plain("\n".join(f"  {line}".rstrip() for line in snippet.text.splitlines()))
    say(f"\nWebsites, apps and every other SDK: {settings.collector}/ under Connect an app")
    say(f"Name [bold]{name}[/] in sources of what shall get its events, and put it to work: [bold]headrace apply[/]")


def _write_key(settings: Settings, variable: str) -> tuple[str, str]:
    """Take the key that is there under this name, or make one; a name has one key wherever it is looked up."""
    try:
        return Secrets(settings.home).resolve(f"${{env:{variable}}}"), "your environment or secrets.env, where it was already"
    except SettingError:
        key = secrets.token_hex(source_keys.KEY_BYTES)  # no sign in it that a shell or an option could take for something else
        return key, str(add_secret(settings.home, variable, key))
