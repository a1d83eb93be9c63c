"""`headrace offsets show|reset`: where consumer groups stand, and how one reads again."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from pipeline.app.cli.cluster import connect, finish, read_config
from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.options import BootstrapOption, JsonOption, RunTopologyOption, WorkspaceOption, examples
from pipeline.app.cli.output import say, say_json, say_warning, table
from pipeline.app.cli.times import TIME_FORMS
from pipeline.app.declared import find_workspace, read_topology, workspace_name
from pipeline.app.offsets import Group, count_records, plan, read_group, read_groups, set_back
from pipeline.app.processes.run_file import read_run
from pipeline.app.settings import Secrets, Settings, read_settings
from pipeline.declaration import did_you_mean
from pipeline.model.record import TopicPartition
from pipeline.model.topology import Topology
from pipeline.model.workspace import Workspace
from pipeline.ports.broker import Broker
from pipeline.replay.board import job_of
from pipeline.replay.reset import Move, Target, checksum, doubled_stores, parse_target, yields_only_duplicates
from pipeline.runtime.clock import SystemClock

AGAIN_SECONDS: Final = 600.0
"""Longest wait until a store has read again what it was set back over; it goes on without us."""


class Scene(NamedTuple):
    """What the commands of this file need.

    Attributes:
        broker: The cluster.
        prefix: The workspace's name.
        topology: The topology that is run.
        settings: The settings.
    """

    broker: Broker
    prefix: str
    topology: Topology
    settings: Settings


class Planned(NamedTuple):
    """A reset that was not made yet.

    Attributes:
        group: The group as it was read.
        moves: Where each partition is set to.
        counted: Records again, or skipped, by partition.
        contents: Rows and checksum of the store that the group writes, or None where it writes none.
        doubled: Groups of the stores that would get rows twice.
    """

    group: Group
    moves: list[Move]
    counted: dict[TopicPartition, int]
    contents: dict[str, Any] | None
    doubled: list[str]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    group = typer.Typer(no_args_is_help=True, help="Where consumer groups stand, and how one reads again.")
    group.command("show", epilog=examples("headrace offsets show", "headrace offsets show lake.lake --json"))(show)
    group.command(
        "reset",
        epilog=examples(
            "headrace offsets reset translate.crm --to -2h --dry-run",
            "headrace offsets reset translate.crm --to 2026-05-01T12:00:00Z",
            "headrace offsets reset lake.lake --to earliest --yes",
        ),
    )(reset)
    app.add_typer(group, name="offsets")


def scene(workspace: str, bootstrap: str, topology: str) -> Scene:
    """Find cluster, workspace and topology as the options say.

    Args:
        workspace: What `--workspace` says, or empty.
        bootstrap: What `--bootstrap` says, or empty.
        topology: What `--topology` says, or empty for that of the run.

    Returns:
        The scene.
    """
    settings = read_settings()
    run = None if topology else read_run(settings.home)
    graph = read_topology(topology or (run.topology if run else "default"))
    return Scene(connect(bootstrap, settings), workspace_name(find_workspace(workspace, settings)), graph, settings)


def show(
    group: Annotated[str, typer.Argument(metavar="[GROUP]", help="Only this group, with its partitions.", show_default=False)] = "",
    workspace: WorkspaceOption = "",
    bootstrap: BootstrapOption = "",
    topology: RunTopologyOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Say for every consumer group which offsets it has committed, how far it is behind, and who reads for it.

    Offsets count the markers of transactions too. For a store the rows that it holds are added up, with a checksum over them.
    """
    found, contents = finish(_shown(scene(workspace, bootstrap, topology), group))
    if as_json:
        say_json({"groups": [{**group_data(one), **({"store": contents[one.name]} if one.name in contents else {})} for one in found]})
        return
    if group:
        _show_places(found[0], contents.get(found[0].name))
        return
    rows = [
        (one.name, len(one.places), sum(place.committed or 0 for place in one.places), sum(place.end for place in one.places), _lag(one), _who(one))
        for one in found
    ]
    table(("group", "partitions", "committed", "end", "lag", "read by"), rows)


async def _shown(where: Scene, name: str) -> tuple[list[Group], dict[str, dict[str, Any]]]:
    declared = (await read_config(where.broker, where.prefix)).workspace
    found = await read_groups(where.broker, where.prefix, where.topology, declared)
    if name:
        found = [_named(found, name, where.prefix)]
    folders = {one.name: folder for one in found if (folder := _lake(where, declared, one.name)) is not None}
    return found, {group: await asyncio.to_thread(_contents, folder) for group, folder in folders.items()}


def _named(found: Sequence[Group], name: str, prefix: str) -> Group:
    short = name.removeprefix(f"{prefix}.")
    for one in found:
        if one.name == short:
            return one
    names = [one.name for one in found]
    raise CommandError(f"there is no consumer group {name}", did_you_mean(short, names) or f"there are {', '.join(names)}", status=2)


def _lake(where: Scene, declared: Workspace | None, group: str) -> Path | None:
    """Give the folder of the lake that a group writes, where it lies on this machine."""
    kind, _, storage = group.partition(".")
    processor = where.topology.processors.get(kind)
    if processor is None or processor.kind != "lake" or declared is None or storage not in declared.storage:
        return None
    folder = Path(Secrets(where.settings.home).resolve(str(declared.storage[storage].settings["path"])))
    return folder if folder.is_dir() else None


def _contents(folder: Path) -> dict[str, Any]:
    from pipeline.app.query import QueryError, lake_contents  # noqa: PLC0415 (DuckDB is 30 MB that only a store needs)

    try:
        return lake_contents(folder)._asdict()
    except QueryError as error:
        return {"rows": None, "checksum": None, "error": str(error)}


def group_data(group: Group) -> dict[str, Any]:
    """Write a group as plain data.

    Args:
        group: The group.

    Returns:
        What `--json` prints of it.
    """
    return {
        "group": group.name,
        "lag": _lag(group),
        "partitions": [
            {"topic": place.partition.topic, "partition": place.partition.partition, "committed": place.committed, "end": place.end, "lag": place.lag}
            for place in group.places
        ],
        "members": [
            {"client": member.client_id, "host": member.host, "partitions": [f"{one.topic}-{one.partition}" for one in member.partitions]}
            for member in group.members
        ],
    }


def _lag(group: Group) -> int:
    return sum(place.lag for place in group.places)


def _who(group: Group) -> str:
    return ", ".join(f"{member.client_id} at {member.host}" for member in group.members) or "nobody"


def _show_places(group: Group, contents: Mapping[str, Any] | None) -> None:
    say(f"[bold]{group.name}[/], read by {_who(group)}")
    rows = [
        (f"{place.partition.topic}/{place.partition.partition}", "none" if place.committed is None else place.committed, place.end, place.lag)
        for place in group.places
    ]
    table(("partition", "committed", "end", "lag"), rows)
    if contents is not None:
        say(_holds(contents))


def _holds(contents: Mapping[str, Any]) -> str:
    if contents.get("error"):
        return f"the store cannot be read: {contents['error']}"
    return f"the store holds [bold]{contents['rows']}[/] rows, checksum {contents['checksum']}"


def reset(
    group: Annotated[str, typer.Argument(metavar="GROUP", help="A consumer group, as `headrace offsets show` names it.", show_default=False)],
    to: Annotated[
        str, typer.Option("--to", metavar="PLACE", help=f"earliest, latest, +N, -N, an offset, or a time: {TIME_FORMS}.", show_default=False)
    ],
    workspace: WorkspaceOption = "",
    bootstrap: BootstrapOption = "",
    topology: RunTopologyOption = "",
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be read again, and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Have a consumer group read again from another place, or skip to one, also while it runs.

    translate.DESTINATION sends to that tool again, with the same ids and bodies. The group of a lake writes the same rows again, so that they are the
    same. A group before a lake is refused: the lake would get its rows twice. While its offsets are set the group is held back; its processes give it
    up and take it again by themselves.
    """
    where = scene(workspace, bootstrap, topology)
    try:
        target = parse_target(to, SystemClock().now_ms())
    except ValueError:
        raise CommandError(f"--to {to} is no place", "give earliest, latest, +N, -N, an offset, or a time such as -2h", status=2) from None
    planned = finish(_planned(where, group, target))
    before, moves, counted, contents, _ = planned
    if not as_json:
        _show_moves(before, moves, counted, contents)
    _refuse_harm(planned, dry_run=dry_run)
    _refuse_in_vain(where, before, yes=yes, dry_run=dry_run)
    data = _reset_data(before, moves, counted, contents)
    if dry_run:
        say_json({**data, "done": False}) if as_json else say("Nothing was changed: this was a dry run.")
        return
    if not yes and not _agreed():
        raise CommandError("nothing was changed", "say --yes to do it without asking", status=1)
    after, back, contents_after = finish(_reset(where, before, moves, quiet=as_json))
    if as_json:
        say_json({**data, "done": True, "after": checksum(after), "members_back": back, "store_after": contents_after})
        return
    _show_done(before, moves, counted, after, back=back)
    if contents_after is not None:
        say(_holds(contents_after) + (", as before" if contents_after == contents else ""))


def _agreed() -> bool:
    return sys.stdin.isatty() and typer.confirm("Go on?")


def _refuse_harm(planned: Planned, *, dry_run: bool) -> None:
    group, stores = planned.group.name, " and ".join(planned.doubled)
    if job_of(group):
        raise CommandError(f"{group} belongs to a replay job", "cancel it and start another: `headrace replay cancel`", status=2)
    if not stores:
        return
    words = f"rows would be doubled: what {group} reads again it writes again, as new records, and {stores} would store them beside the old ones"
    remedy = (
        f"to send to a tool again, reset translate.DESTINATION; to write the store again, reset {stores}; "
        "to judge events again with today's configuration, use `headrace replay --from TIME --destination ID --storage ID`"
    )
    if dry_run:
        say_warning(f"{words}. It will be refused: {remedy}")
        return
    raise CommandError(words, remedy, status=2)


def _refuse_in_vain(where: Scene, group: Group, *, yes: bool, dry_run: bool) -> None:
    processor = where.topology.processors.get(group.name.partition(".")[0])
    if processor is None or not yields_only_duplicates(processor):
        return
    words = (
        f"nothing will pass: {group.name} has seen these messages, so its dedup drops all of them as duplicates. "
        "To judge raw messages again with today's configuration, use `headrace replay --from TIME --from-raw`"
    )
    if yes or dry_run:
        say_warning(words)
        return
    raise CommandError(words, "say --yes to do it nevertheless")


async def _planned(where: Scene, name: str, target: Target) -> Planned:
    declared = (await read_config(where.broker, where.prefix)).workspace
    group = _named(await read_groups(where.broker, where.prefix, where.topology, declared), name, where.prefix)
    moves = await plan(where.broker, group, target)
    counted = await count_records(where.broker, {move.partition: _between(move) for move in moves})
    folder = _lake(where, declared, group.name)
    contents = await asyncio.to_thread(_contents, folder) if folder is not None else None
    again, processor = any(move.again[1] > move.again[0] for move in moves), group.name.partition(".")[0]
    storages = declared.storage if again and declared is not None and processor in where.topology.processors else ()
    return Planned(group, moves, counted, contents, doubled_stores(where.topology, processor, storages) if storages else [])


def _between(move: Move) -> tuple[int, int]:
    return move.again if move.again[1] > move.again[0] else move.skipped


async def _reset(where: Scene, group: Group, moves: Sequence[Move], *, quiet: bool) -> tuple[dict[TopicPartition, int], bool, dict[str, Any] | None]:
    console = Console(stderr=True, highlight=False, quiet=quiet or not sys.stderr.isatty())
    with console.status("") as status:
        after, back = await set_back(where.broker, where.prefix, group, moves, SystemClock(), status.update)
    declared = (await read_config(where.broker, where.prefix)).workspace
    folder = _lake(where, declared, group.name)
    if folder is None:
        return after, back, None
    if group.members and back:
        await _read_again(where, group, moves, console)
    return after, back, await asyncio.to_thread(_contents, folder)


async def _read_again(where: Scene, group: Group, moves: Sequence[Move], console: Console) -> None:
    """Wait until a store has come to where it was, with progress."""
    goal = {move.partition: move.before or 0 for move in moves}
    total = sum(max(0, offset - move.after) for move, offset in zip(moves, goal.values(), strict=True))
    columns = (TextColumn("reading again"), BarColumn(), MofNCompleteColumn())
    loop = asyncio.get_running_loop()
    end = loop.time() + AGAIN_SECONDS
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=total)
        while loop.time() < end:
            now = await read_group(where.broker, where.prefix, group.name, ())
            left = sum(max(0, goal.get(place.partition, 0) - (place.committed or 0)) for place in now.places)
            progress.update(task, completed=total - left)
            if not left:
                return
            await asyncio.sleep(0.5)


def _reset_data(group: Group, moves: Sequence[Move], counted: Mapping[TopicPartition, int], contents: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "group": group.name,
        "members": len(group.members),
        "before": checksum({move.partition: move.before for move in moves if move.before is not None}),
        "planned": checksum({move.partition: move.after for move in moves}),
        "again": sum(counted[move.partition] for move in moves if move.again[1] > move.again[0]),
        "skipped": sum(counted[move.partition] for move in moves if move.skipped[1] > move.skipped[0]),
        "partitions": [
            {
                "topic": move.partition.topic,
                "partition": move.partition.partition,
                "before": move.before,
                "after": move.after,
                "end": move.end,
                "records": counted[move.partition],
            }
            for move in moves
        ],
        "store": contents,
    }


def _show_moves(group: Group, moves: Sequence[Move], counted: Mapping[TopicPartition, int], contents: Mapping[str, Any] | None) -> None:
    say(f"[bold]{group.name}[/], read by {_who(group)}")
    rows = [
        (
            f"{move.partition.topic}/{move.partition.partition}",
            "none" if move.before is None else move.before,
            move.after,
            move.end,
            f"{counted[move.partition]} {_word(move)}".strip(),
        )
        for move in moves
    ]
    table(("partition", "committed", "set to", "end", "records"), rows)
    before = checksum({move.partition: move.before for move in moves if move.before is not None})
    say(f"positions {before} before, {checksum({move.partition: move.after for move in moves})} after")
    if contents is not None:
        say(_holds(contents))


def _word(move: Move) -> str:
    return "again" if move.again[1] > move.again[0] else "skipped" if move.skipped[1] > move.skipped[0] else ""


def _show_done(
    group: Group, moves: Sequence[Move], counted: Mapping[TopicPartition, int], after: Mapping[TopicPartition, int], *, back: bool
) -> None:
    again = sum(counted[move.partition] for move in moves if move.again[1] > move.again[0])
    skipped = sum(counted[move.partition] for move in moves if move.skipped[1] > move.skipped[0])
    what = f"{again} records are read again" if again or not skipped else f"{skipped} records are skipped"
    say(f"[green]✓[/] {group.name}: {what}, positions {checksum({move.partition: after[move.partition] for move in moves})}")
    if not group.members:
        say("It has no members now: it begins there at its next start.")
    elif not back:
        say_warning(f"{group.name} has no members yet; see `headrace status`")
