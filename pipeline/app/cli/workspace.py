"""`headrace init` and `headrace check`: the workspace's file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.options import JsonOption, WorkspaceOption, examples
from pipeline.app.cli.output import say, say_json, say_problems, say_warning
from pipeline.app.cli.workspace_edit import check_id, write_file
from pipeline.app.cli.workspace_warnings import workspace_warnings
from pipeline.app.declared import WORKSPACE_FILE, find_workspace, read_workspace
from pipeline.app.settings import make_home, read_settings
from pipeline.declaration import DeclarationError

_TEMPLATE: Final = """\
# What this workspace declares: where events come from, where they go, and where they are stored.
# Keep it in git. `headrace check` says what is wrong with it; `headrace apply` puts it to work, without a restart.

# Its name stands before every topic and consumer group, so that several workspaces can share a cluster.
workspace: {name}

# Where events come from. `headrace source add web` adds one and makes its write key.
sources: []

# The tools that events are delivered to. `headrace destination add webhook --set url=https://…` adds one.
# Secrets are references, ${{env:NAME}} or ${{file:PATH}}, and never stand here in clear.
destinations: []

# Where all events are kept for queries: name your sources, as in
#   - {{id: lake, type: parquet, sources: [web], settings: {{path: ./data/lake}}}}
storage: []
"""


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("init", epilog=examples("headrace init", "headrace init shop/workspace.yaml --name shop"))(init)
    app.command("check", epilog=examples("headrace check", "headrace check shop/", "headrace check --json | jq .problems"))(check)


def init(
    path: Annotated[str, typer.Argument(metavar="[PATH]", help="File to write, or the folder for it.", show_default=True)] = WORKSPACE_FILE,
    name: Annotated[
        str, typer.Option("--name", "-n", metavar="NAME", help="Name of the workspace, kept for ever. Default: the folder's.", show_default=False)
    ] = "",
) -> None:
    """Write a first workspace file, with comments that say what goes where."""
    file = Path(path)
    if file.is_dir() or file.suffix not in (".yaml", ".yml"):
        file /= WORKSPACE_FILE
    if file.exists():
        raise CommandError(f"{file} is there already", "edit it, or add to it with `headrace source add` and `headrace destination add`")
    chosen = name or _name_of(file.resolve().parent.name)
    check_id(chosen, "workspace")
    if file.parent == read_settings().home:
        make_home(file.parent)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_file(file, _TEMPLATE.format(name=chosen))
    say(f"[green]✓[/] wrote {file} for the workspace [bold]{chosen}[/]")
    say("Add a source: [bold]headrace source add web[/]")


def check(
    path: Annotated[str, typer.Argument(metavar="[PATH]", help="File or folder of the workspace.", show_default=False)] = "",
    workspace: WorkspaceOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Say everything that is wrong with the workspace, with file, line and a hint.

    Nothing is sent anywhere. Exits with 0 when all is well, else with 1. Warnings are a source whose events go nowhere, a secret that is not set on
    this machine or is not the key that it should be, and a URL that leads into your own network, unless the workspace is that of the local run.
    """
    settings = read_settings()
    place = find_workspace(path or workspace, settings)
    try:
        declared = read_workspace(place)
    except DeclarationError as error:
        if as_json:
            say_json({"ok": False, "problems": [problem.as_json() for problem in error.problems]})
        else:
            say_problems(error.problems)
            count = len(error.problems)
            say(f"[red]✗[/] {place}: {count} problem{'s' if count > 1 else ''}")
        raise typer.Exit(1) from None
    warnings = workspace_warnings(place, declared, settings)
    counts = {"sources": len(declared.sources), "destinations": len(declared.destinations), "storage": len(declared.storage)}
    if as_json:
        say_json({"ok": True, "problems": [], "warnings": warnings, "workspace": declared.name, **counts})
        return
    say(f"[green]✓[/] {place}: workspace [bold]{declared.name}[/], " + ", ".join(f"{kind} {count}" for kind, count in counts.items()))
    for sentence in warnings:
        say_warning(sentence)


def _name_of(folder: str) -> str:
    name = "".join(character if character.isascii() and character.isalnum() else "-" for character in folder.lower()).strip("-")
    return name[:63] or "workspace"
