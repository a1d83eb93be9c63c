"""`headrace source add`: a source, its write key, and code to paste."""

from __future__ import annotations

import secrets
from typing import Annotated

import typer

from pipeline.app.cli import source_keys
from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.options import JsonOption, WorkspaceOption, examples
from pipeline.app.cli.output import say, say_json, say_plain
from pipeline.app.cli.workspace_edit import add_to_workspace, check_id
from pipeline.app.declared import find_workspace, read_workspace
from pipeline.app.settings import Secrets, SettingError, Settings, add_secret, read_settings
from pipeline.sdk import Address, Place, snippets

_SHOWN = frozenset(("curl", "python", "node", "browser"))
"""The snippets for a first try; the live page has all."""


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    group = typer.Typer(no_args_is_help=True, help="Where events come from.")
    group.command("add", epilog=examples("headrace source add web", "headrace source add ios --json"))(add)
    source_keys.register(group)
    app.add_typer(group, name="source")


def add(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Id of the source, kept for ever: lower-case letters, digits and hyphens.", show_default=False)
    ],
    workspace: WorkspaceOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Add a source to the workspace: make its write key and show how to send to it.

    The file gets a reference to the key, as ${env:NAME}; the key itself goes into secrets.env in HEADRACE_HOME, which only you may read,
    and is shown here once. `headrace apply` puts the source to work.
    """
    settings = read_settings()
    path = find_workspace(workspace, settings)
    check_id(name, "source")
    if name in read_workspace(path).sources:
        raise CommandError(
            f"the workspace has a source {name} already", "choose another name; its write key is in secrets.env or in your environment"
        )
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
    say("Put it to work: [bold]headrace apply[/]")


def _write_key(settings: Settings, variable: str) -> tuple[str, str]:
    """Take the key that is there under this name, or make one; a name has one key wherever it is looked up."""
    try:
        return Secrets(settings.home).resolve(f"${{env:{variable}}}"), "your environment or secrets.env, where it was already"
    except SettingError:
        key = secrets.token_hex(source_keys.KEY_BYTES)  # no sign in it that a shell or an option could take for something else
        return key, str(add_secret(settings.home, variable, key))
