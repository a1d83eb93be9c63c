"""`headrace topics plan|apply`: the table of topics compared with a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal, NamedTuple

import typer

from pipeline.app.cli.cluster import connect, finish
from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.options import BootstrapOption, JsonOption, WorkspaceOption, examples
from pipeline.app.cli.output import say, say_json, table
from pipeline.app.declared import find_workspace, read_topology, read_workspace
from pipeline.app.settings import read_settings
from pipeline.model.topics import Declared, declared_topics
from pipeline.model.topology import Topology
from pipeline.model.workspace import Workspace
from pipeline.ports.broker import Admin

TopologyOption = Annotated[str, typer.Option("--topology", "-t", metavar="FILE", help="The topology that is run: default, fused, or a file.")]
State = Literal["create", "there", "partitions differ", "not declared"]


class Line(NamedTuple):
    """One topic of a plan.

    Attributes:
        topic: Its name on the cluster.
        state: What is to be done, or why nothing is.
        declared: Partitions that it should have; 0 where it is not declared.
        found: Partitions that it has; 0 where it is not there.
    """

    topic: str
    state: State
    declared: int
    found: int


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    group = typer.Typer(no_args_is_help=True, help="The topics that the workspace needs, compared with the cluster.")
    group.command("plan", epilog=examples("headrace topics plan", "headrace topics plan --topology fused --bootstrap kafka:9092 --json"))(plan)
    group.command("apply", epilog=examples("headrace topics apply", "headrace topics apply --bootstrap kafka:9092"))(apply)
    app.add_typer(group, name="topics")


def plan(
    workspace: WorkspaceOption = "", topology: TopologyOption = "default", bootstrap: BootstrapOption = "", *, as_json: JsonOption = False
) -> None:
    """Say which topics `topics apply` would create. Changes nothing."""
    lines = finish(_compared(workspace, topology, bootstrap, create=False))
    _show(lines, as_json=as_json)


def apply(
    workspace: WorkspaceOption = "", topology: TopologyOption = "default", bootstrap: BootstrapOption = "", *, as_json: JsonOption = False
) -> None:
    """Create the topics that are missing.

    A topic that is there is left as it is: growing partitions moves keys, so it is a procedure of its own, and nothing is ever deleted.
    """
    lines = finish(_compared(workspace, topology, bootstrap, create=True))
    _show(lines, as_json=as_json, done=True)
    refuse_other_partitions(lines)


def planned(declared: Iterable[Declared], found: Mapping[str, int], prefix: str) -> list[Line]:
    """Compare what is declared with what is there.

    Args:
        declared: The topics that are needed.
        found: Partitions by topic on the cluster.
        prefix: The workspace's name; topics of others are left out.

    Returns:
        A line for each topic, in the order of the table, then those that nobody declared.
    """
    lines = []
    for topic in declared:
        there = found.get(topic.name, 0)
        state: State = "create" if not there else "there" if there == topic.partitions else "partitions differ"
        lines.append(Line(topic.name, state, topic.partitions, there))
    names = {line.topic for line in lines}
    lines += [Line(name, "not declared", 0, found[name]) for name in sorted(found) if name.startswith(f"{prefix}.") and name not in names]
    return lines


def topics_of(workspace: Workspace, topology: Topology) -> list[Declared]:
    """List the topics that a workspace needs under a topology.

    Args:
        workspace: The workspace.
        topology: The topology.

    Returns:
        The topics, with the workspace's prefix.
    """
    dedup = topology.dedup_windows
    ordered = [one.id for one in workspace.destinations.values() if one.order == "user"]
    return list(
        declared_topics(
            workspace.name,
            destinations=workspace.destinations,
            storages=workspace.storage,
            dedup_processors=dedup,
            dedup_windows=dedup,
            ordered=ordered,
            partitions=topology.partitions,
        )
    )


async def create_missing(admin: Admin, workspace: Workspace, topology: Topology) -> list[Line]:
    """Create the topics that a workspace needs and that are not there.

    Args:
        admin: The cluster.
        workspace: The workspace.
        topology: The topology.

    Returns:
        What was found before.
    """
    declared = topics_of(workspace, topology)
    lines = planned(declared, await admin.topics(), workspace.name)
    missing = {line.topic for line in lines if line.state == "create"}
    await admin.create(topic for topic in declared if topic.name in missing)
    return lines


def refuse_other_partitions(lines: Iterable[Line]) -> None:
    """End the command when a topic has another number of partitions than it should.

    Raises:
        CommandError: Names the topics.
    """
    wrong = [f"{line.topic} has {line.found} and should have {line.declared}" for line in lines if line.state == "partitions differ"]
    if wrong:
        raise CommandError(f"partitions differ: {'; '.join(wrong)}", "set `partitions:` in the topology to what the cluster has")


async def _compared(workspace: str, topology: str, bootstrap: str, *, create: bool) -> list[Line]:
    settings = read_settings()
    declared = read_workspace(find_workspace(workspace, settings))
    graph = read_topology(topology)
    admin = connect(bootstrap, settings).admin()
    if create:
        return await create_missing(admin, declared, graph)
    return planned(topics_of(declared, graph), await admin.topics(), declared.name)


_WORDS: Final[Mapping[State, str]] = {
    "create": "to create",
    "there": "there",
    "partitions differ": "partitions differ",
    "not declared": "not declared, kept",
}


def _show(lines: list[Line], *, as_json: bool, done: bool = False) -> None:
    if as_json:
        say_json({"topics": [{**line._asdict(), "state": "created" if done and line.state == "create" else line.state} for line in lines]})
        return
    words = {**_WORDS, "create": "created"} if done else _WORDS
    table(("topic", "partitions", "state"), [(line.topic, line.declared or line.found, words[line.state]) for line in lines])
    count = sum(line.state == "create" for line in lines)
    say(f"{count} of {len(lines)} topics {'created' if done else 'to create'}" + ("" if done or not count else ": run `headrace topics apply`"))
