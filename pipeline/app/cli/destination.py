"""`headrace destination add`: a tool that events are delivered to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.options import JsonOption, WorkspaceOption, examples
from pipeline.app.cli.output import say, say_json
from pipeline.app.cli.workspace_edit import add_to_workspace, check_id
from pipeline.app.declared import find_workspace, read_workspace
from pipeline.app.settings import read_settings
from pipeline.declaration import did_you_mean
from pipeline.declaration.references import is_reference
from pipeline.destinations.declaration import DestinationType
from pipeline.model.workspace import Workspace
from pipeline.registry import DESTINATION_TYPES


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    group = typer.Typer(no_args_is_help=True, help="The tools that events are delivered to.")
    group.command(
        "add",
        epilog=examples(
            "headrace destination add webhook --set url=https://crm.example.com/hook",
            "headrace destination add webhook --id crm --source web --set url=https://crm.example.com/hook --set 'shared_secret=${env:CRM_SECRET}'",
        ),
    )(add)
    app.add_typer(group, name="destination")


def add(
    type_: Annotated[str, typer.Argument(metavar="TYPE", help=f"Its type: {', '.join(DESTINATION_TYPES)}.", show_default=False)],
    id_: Annotated[str, typer.Option("--id", metavar="ID", help="Its id, kept for ever. Default: the type.", show_default=False)] = "",
    source: Annotated[
        list[str] | None,
        typer.Option("--source", "-s", metavar="NAME", help="A source that it takes events from; all unless given.", show_default=False),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting; a secret as ${env:NAME} or ${file:PATH}.", show_default=False)
    ] = None,
    workspace: WorkspaceOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Add a destination to the workspace.

    A secret is never written into the file: give a reference to it. `headrace apply` puts the destination to work, from now on.
    """
    if type_ not in DESTINATION_TYPES:
        raise CommandError(f"unknown type of destination: {type_}", did_you_mean(type_, DESTINATION_TYPES), status=2)
    known = DESTINATION_TYPES[type_]
    path = find_workspace(workspace, read_settings())
    declared = read_workspace(path)
    name = id_ or type_
    check_id(name, "destination")
    if name in declared.destinations or name in declared.storage:
        raise CommandError(f"the workspace has a destination or storage {name} already", "give another id with --id ID")
    values = _settings(known, settings or [])
    item = {"id": name, "type": type_, "sources": _sources(declared, source or []), "settings": values}
    file = add_to_workspace(path, "destinations", item)
    if as_json:
        say_json({"destination": name, "type": type_, "sources": item["sources"], "file": str(file)})
        return
    say(f"[green]✓[/] destination [bold]{name}[/] is in {file}")
    missing = [one for one in known.settings if one.name not in values]
    for one in missing:
        say(f"  [dim]you may set {one.name}: {one.sentence}[/]")
    say("Put it to work: [bold]headrace apply[/]")


def _sources(declared: Workspace, given: Sequence[str]) -> list[str]:
    if not declared.sources:
        raise CommandError("the workspace has no source that it could take events from", "add one first: headrace source add web")
    for name in given:
        if name not in declared.sources:
            raise CommandError(f"there is no source {name}", did_you_mean(name, declared.sources), status=2)
    return list(given or declared.sources)


def _settings(known: DestinationType, given: Sequence[str]) -> dict[str, Any]:
    fields = {one.name: one for one in known.settings}
    values: dict[str, Any] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        name, _, key = name.partition(".")
        if not equals or name not in fields:
            raise CommandError(f"{name} is no setting of {known.slug}", did_you_mean(name, fields) or "write --set NAME=VALUE", status=2)
        if fields[name].secret and not is_reference(value):
            raise CommandError(f"{name} is a secret", f"give a reference: --set '{name}=${{env:{name.upper()}}}'", status=2)
        if fields[name].kind == "map":
            if not key:
                raise CommandError(f"{name} is a map", f"set its entries: --set {name}.KEY=VALUE", status=2)
            values.setdefault(name, {})[key] = value
        else:
            values[name] = value
    missing = [one for one in known.settings if one.required and one.name not in values]
    if missing:
        raise CommandError(
            f"{known.slug} needs {', '.join(one.name for one in missing)}",
            "; ".join(f"--set {one.name}=…  {one.sentence}" for one in missing),
            status=2,
        )
    return values
