"""`headrace destination`: adds, parks and resumes a tool that events are delivered to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from pipeline.app.cli.cluster import connect, finish, read_config_history
from pipeline.app.cli.deadletters_handling import run_topology
from pipeline.app.cli.destination_waiting import Waiting, as_data, look_at_waiting, say_waiting
from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.options import BootstrapOption, JsonOption, RunTopologyOption, WorkspaceOption, examples
from pipeline.app.cli.output import say, say_json
from pipeline.app.cli.workspace_edit import add_to_workspace, check_id
from pipeline.app.declared import find_workspace, read_workspace, workspace_name
from pipeline.app.settings import read_settings
from pipeline.assembly import translate_anew
from pipeline.declaration import ConfigFold, DestinationHistory, did_you_mean, parking_record
from pipeline.declaration.references import is_reference
from pipeline.destinations.declaration import DestinationType
from pipeline.model.record import Output
from pipeline.model.topics import topic_name
from pipeline.model.topology import Topology
from pipeline.model.workspace import Workspace
from pipeline.ports.broker import Broker
from pipeline.registry import DESTINATION_TYPES
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.processors import group_name
from pipeline.runtime.translated_anew import Renewal


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
    group.command("park", epilog=examples("headrace destination park crm"))(park)
    group.command(
        "resume",
        epilog=examples("headrace destination resume crm --dry-run", "headrace destination resume crm", "headrace destination resume crm --as-sent"),
    )(resume)
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


IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the destination.", show_default=False)]


def park(id_: IdArgument, workspace: WorkspaceOption = "", bootstrap: BootstrapOption = "", *, as_json: JsonOption = False) -> None:
    """Stop sending to a destination; its backlog is kept until it is resumed.

    Every process obeys within a second, those that start later too. Events go on to be translated, and wait.
    """
    settings = read_settings()
    finish(publish(connect(bootstrap, settings), workspace_name(find_workspace(workspace, settings)), id_, parked=True))
    if as_json:
        say_json({"destination": id_, "parked": True})
    else:
        say(f"[green]✓[/] {id_} is parked: nothing is sent, its backlog is kept. Resume it: [bold]headrace destination resume {id_}[/]")


def resume(
    id_: IdArgument,
    as_sent: Annotated[  # noqa: FBT002 (a switch)
        bool, typer.Option("--as-sent", help="Send what waits as it was rendered, also where the destination has changed since.")
    ] = False,
    dry_run: Annotated[  # noqa: FBT002 (a switch)
        bool, typer.Option("--dry-run", help="Say what waits and how it would go, and do nothing.")
    ] = False,
    topology: RunTopologyOption = "",
    workspace: WorkspaceOption = "",
    bootstrap: BootstrapOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Send to a destination again, whether a person parked it, or it refused our credentials, failed again and again, or said that it is gone.

    What waits and was rendered before the destination changed is translated anew by today's mapping and settings, under the same idempotency id.
    """
    settings = read_settings()
    name = workspace_name(find_workspace(workspace, settings))
    broker = connect(bootstrap, settings)
    if dry_run:
        waiting = finish(_look(broker, name, id_, run_topology(topology, settings), as_sent=as_sent))
        if as_json:
            say_json({"destination": id_, **as_data(waiting)})
        else:
            say_waiting(id_, waiting)
        return
    below = finish(publish(broker, name, id_, parked=False, as_sent=as_sent))
    if as_json:
        say_json({"destination": id_, "parked": False, "anew_below": below})
        return
    say(f"[green]✓[/] {id_} takes requests again, the oldest first")
    if below > 1:
        say(f"What was rendered before version {below}, which changed it, is translated anew")


async def publish(broker: Broker, workspace: str, destination: str, *, parked: bool, as_sent: bool = False) -> int:
    """Write to `config` that a destination is parked or resumed.

    Args:
        broker: The cluster.
        workspace: Name of the workspace.
        destination: Destination id.
        parked: Whether it is parked from now on.
        as_sent: Whether what waits goes as it was rendered, also where the destination has changed since.

    Returns:
        The version below which requests are translated anew; 0 for none.

    Raises:
        CommandError: No such destination is in force.
        BrokerError: The command may not be stored.
    """
    fold, history = await _in_force(broker, workspace, destination)
    before = fold.parkings.get(destination)
    # A command must count as newer than the last one, also where this machine's clock lags behind that of the last.
    at_ms = max(SystemClock().now_ms(), before.at_ms + 1 if before is not None else 0)
    below = 0 if parked or as_sent else history.since.get(destination, 0)
    key, value = parking_record(destination, parked=parked, at_ms=at_ms, anew_below=below)
    producer = broker.producer()
    await producer.start()
    try:
        await producer.send([Output(topic_name(workspace, "config"), key, value, partition=0)])
    finally:
        await producer.stop()
    return below


async def _look(broker: Broker, name: str, destination: str, topology: Topology, *, as_sent: bool) -> Waiting:
    fold, history = await _in_force(broker, name, destination)
    deliver = next((one for one in topology.processors.values() if one.kind == "deliver"), None)
    if deliver is None or fold.workspace is None:
        raise CommandError(f"the topology {topology.name} delivers nothing", "say which one is run with --topology", status=2)
    below = history.since.get(destination, 0)
    renewal = None if as_sent else Renewal(broker, translate_anew(fold.workspace), destination, below)
    return await look_at_waiting(broker, name, destination, group_name(deliver, destination), renewal)


async def _in_force(broker: Broker, workspace: str, destination: str) -> tuple[ConfigFold, DestinationHistory]:
    """Read what is in force, and refuse a destination that is not."""
    fold, history = await read_config_history(broker, workspace)
    known = fold.workspace.destinations if fold.workspace is not None else {}
    if destination not in known:
        hint = did_you_mean(destination, known) or "`headrace apply` puts a destination to work"
        raise CommandError(f"there is no destination {destination} in force in {workspace}", hint, status=2)
    return fold, history


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
