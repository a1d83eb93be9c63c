"""`headrace apply`: what the workspace declares becomes the next version of the configuration."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import typer

from pipeline.app.cli.cluster import connect, finish, read_config
from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.options import BootstrapOption, JsonOption, WorkspaceOption, examples
from pipeline.app.cli.output import say, say_json, say_warning
from pipeline.app.cli.topics import TopologyOption, create_missing, refuse_other_partitions
from pipeline.app.cli.workspace_warnings import workspace_warnings
from pipeline.app.declared import find_workspace, read_topology, read_workspace
from pipeline.app.settings import read_settings
from pipeline.declaration import config_records
from pipeline.model.limits import CONFIG_BYTES
from pipeline.model.record import Output
from pipeline.model.topics import topic_name
from pipeline.model.topology import Topology
from pipeline.model.workspace import Workspace
from pipeline.ports.broker import Broker
from pipeline.ports.clock import Clock
from pipeline.runtime.clock import SystemClock


class Applied(NamedTuple):
    """What `apply` did.

    Attributes:
        version: Version that is in force now.
        changed: Whether it is a new one.
        created: Topics that were created for it.
    """

    version: int
    changed: bool
    created: tuple[str, ...]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("apply", epilog=examples("headrace apply", "headrace apply --workspace shop/ --bootstrap kafka:9092 --json"))(apply)


def apply(
    workspace: WorkspaceOption = "", topology: TopologyOption = "default", bootstrap: BootstrapOption = "", *, as_json: JsonOption = False
) -> None:
    """Check the workspace, create its topics, and put it to work as the next version of the configuration.

    Running processors take it over within seconds, between two batches, without a restart. Applying what is in force already changes nothing.
    Warnings are those of `headrace check`.
    """
    settings = read_settings()
    place = find_workspace(workspace, settings)
    declared = read_workspace(place)
    graph = read_topology(topology)
    done = finish(publish(connect(bootstrap, settings), declared, graph, SystemClock()))
    warnings = workspace_warnings(place, declared, settings)
    if as_json:
        say_json({"workspace": declared.name, **done._asdict(), "warnings": warnings})
        return
    if done.changed:
        topics = f", {len(done.created)} topics created" if done.created else ""
        say(f"[green]✓[/] {declared.name}: version [bold]{done.version}[/] is in force{topics}")
    else:
        say(f"[green]✓[/] {declared.name}: nothing changed, version [bold]{done.version}[/] stays in force")
    for sentence in warnings:
        say_warning(sentence)


async def publish(broker: Broker, declared: Workspace, topology: Topology, clock: Clock) -> Applied:
    """Create the topics of a workspace and write it to `config`, in one transaction, unless it is in force already.

    Args:
        broker: The cluster.
        declared: The workspace; its version does not matter.
        topology: The topology that is run.
        clock: Says when.

    Returns:
        The version in force and what was done for it.

    Raises:
        BrokerError: The cluster did not do it; nothing is in force that was not before, unless the error is `Uncertain`.
        CommandError: A topic has another number of partitions, or the workspace is too large.
    """
    size = sum(len(key) + len(value) for key, value in config_records(declared, 0, at_ms=0))
    if size > CONFIG_BYTES:
        raise CommandError(f"the workspace has {size} bytes, and {CONFIG_BYTES} are the most: every process keeps all of it; nothing was applied")
    # Topics exist before a route names them.
    lines = await create_missing(broker.admin(), declared, topology)
    refuse_other_partitions(lines)
    created = tuple(line.topic for line in lines if line.state == "create")
    name = f"{declared.name}-config"
    transactions = broker.transactions(name)
    try:
        # First fence whoever applies at the same time, then read: so two never write the same version.
        await transactions.start()
        fold = await read_config(broker, declared.name)
        if (
            fold.workspace is not None
            and fold.newest == fold.workspace.version
            and replace(fold.workspace, version=0) == replace(declared, version=0)
        ):
            return Applied(fold.workspace.version, changed=False, created=created)
        version = fold.newest + 1
        topic = topic_name(declared.name, "config")
        outputs = [Output(topic, key, value, partition=0) for key, value in config_records(declared, version, at_ms=clock.now_ms())]
        await transactions.commit(outputs, {}, name)
        return Applied(version, changed=True, created=created)
    finally:
        await transactions.stop()
