"""`headrace dead redrive` and `headrace dead discard`: dead letters that need nothing more afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from pipeline.app.cli.cluster import connect, finish
from pipeline.app.cli.deadletters_choice import (
    DestinationOption,
    FromOption,
    ProcessorOption,
    ReasonOption,
    SourceOption,
    ToOption,
    choice_of,
    read_in_force,
)
from pipeline.app.cli.deadletters_text import difference
from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.options import BootstrapOption, JsonOption, RunTopologyOption, WorkspaceOption, examples
from pipeline.app.cli.output import say, say_json, say_plain, table
from pipeline.app.declared import find_workspace, read_topology, workspace_name
from pipeline.app.processes.run_file import read_run
from pipeline.app.settings import Settings, read_settings
from pipeline.dead_letters import Choice
from pipeline.model.topics import topic_name
from pipeline.model.topology import Topology
from pipeline.ports.broker import Broker, Fenced
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.redrive import Redriver, Summary

PlacesArgument = Annotated[list[str] | None, typer.Argument(metavar="[PLACE]...", help="Only these, as `dead list` says.", show_default=False)]
AllOption = Annotated[bool, typer.Option("--all", help="Every letter, where nothing else says which are meant.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
RateOption = Annotated[float | None, typer.Option("--rate", metavar="N", min=0.1, help="Most letters a second.", show_default=False)]

Act = Callable[[Redriver, Callable[[int], None]], Awaitable[Summary]]


def register(group: typer.Typer) -> None:
    """Add the commands of this file to those of `dead`."""
    group.command(
        "redrive",
        epilog=examples(
            "headrace dead redrive --reason mapping_failed --destination crm --dry-run",
            "headrace dead redrive --processor deliver.crm --from -2h --rate 50",
            "headrace dead redrive dead.validate/0/12",
        ),
    )(redrive)
    group.command(
        "discard", epilog=examples('headrace dead discard --source test --because "test traffic"', "headrace dead discard dead.ingest/0/4")
    )(discard)


def redrive(  # noqa: PLR0913, PLR0917 (one for each option)
    places: PlacesArgument = None,
    processor: ProcessorOption = "",
    reason: ReasonOption = "",
    destination: DestinationOption = "",
    source: SourceOption = "",
    begin: FromOption = "",
    end: ToOption = "",
    all_: AllOption = False,  # noqa: FBT002 (a switch)
    dry_run: DryRunOption = False,  # noqa: FBT002 (a switch)
    rate: RateOption = None,
    as_sent: Annotated[  # noqa: FBT002 (a switch)
        bool, typer.Option("--as-sent", help="Send requests as they were, also where the destination has changed since.")
    ] = False,
    topology: RunTopologyOption = "",
    workspace: WorkspaceOption = "",
    bootstrap: BootstrapOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Send dead letters back to where they can be judged anew: each once, however often this is called.

    What died on its way through the steps goes to the topic that it was read from; what one destination's mapping failed on, to that destination
    alone; what a tool refused, to its requests, translated anew by today's mapping and settings.
    """
    choice = _meant(choice_of(processor, reason, destination, source, begin, end, places=places or ()), all_=all_)
    settings = read_settings()
    summary = finish(
        _handle(
            connect(bootstrap, settings),
            workspace_name(find_workspace(workspace, settings)),
            run_topology(topology, settings),
            choice,
            lambda redriver, told: redriver.redrive(choice, dry_run=dry_run, told=told),
            as_sent=as_sent,
            rate=rate,
        )
    )
    _say(summary, "redriven", dry_run=dry_run, as_json=as_json)


def discard(  # noqa: PLR0913, PLR0917 (one for each option)
    places: PlacesArgument = None,
    processor: ProcessorOption = "",
    reason: ReasonOption = "",
    destination: DestinationOption = "",
    source: SourceOption = "",
    begin: FromOption = "",
    end: ToOption = "",
    all_: AllOption = False,  # noqa: FBT002 (a switch)
    because: Annotated[str, typer.Option("--because", metavar="TEXT", help="Why, for who asks later.")] = "",
    dry_run: DryRunOption = False,  # noqa: FBT002 (a switch)
    workspace: WorkspaceOption = "",
    bootstrap: BootstrapOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Note that dead letters need nothing more. They stay until their time is over, but `dead list` counts them only with --all."""
    choice = _meant(choice_of(processor, reason, destination, source, begin, end, places=places or ()), all_=all_)
    settings = read_settings()
    summary = finish(
        _handle(
            connect(bootstrap, settings),
            workspace_name(find_workspace(workspace, settings)),
            run_topology("", settings),
            choice,
            lambda redriver, told: redriver.discard(choice, because, dry_run=dry_run, told=told),
        )
    )
    _say(summary, "discarded", dry_run=dry_run, as_json=as_json)


def run_topology(name: str, settings: Settings) -> Topology:
    """Read the topology that is run.

    Args:
        name: What `--topology` says, or empty for that of the local run.
        settings: The settings.

    Returns:
        The topology; the default one where nothing runs here.
    """
    run = None if name else read_run(settings.home)
    return read_topology(name or (run.topology if run else "default"))


def _meant(choice: Choice, *, all_: bool) -> Choice:
    if choice == Choice() and not all_:
        raise CommandError(
            "which dead letters?", "name their places, or say --processor, --reason, --destination, --source, --from, --to or --all", status=2
        )
    return choice


async def _handle(
    broker: Broker, prefix: str, topology: Topology, choice: Choice, act: Act, *, as_sent: bool = False, rate: float | None = None
) -> Summary:
    in_force = await read_in_force(broker, prefix, topology)
    if in_force is None:
        raise CommandError(f"no configuration of {prefix} is in force", "put one in force with `headrace apply`")
    if topic_name(prefix, "handled") not in await broker.admin().topics():
        raise CommandError(f"there is no topic {prefix}.handled", "make it with `headrace topics apply`")
    with _progress(await _letters(broker, prefix, choice)) as told:
        try:
            return await act(Redriver(broker, in_force, SystemClock(), as_sent=as_sent, rate=rate), told)
        except Fenced:
            raise CommandError(
                "another run began to handle dead letters, and this one ended", "what it had done stays done; begin again after the other"
            ) from None


async def _letters(broker: Broker, prefix: str, choice: Choice) -> int:
    """Count the offsets that will be looked at."""
    lookup = broker.lookup()
    topics = {topic_name(prefix, f"dead.{stage}"): choice.start(stage) for stage in choice.stages()}
    try:
        bounds = await lookup.start(topics)
    finally:
        await lookup.stop()
    return sum(end - max(first, topics[topic].get(partition, 0)) for (topic, partition), (first, end) in bounds.items())


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how many letters have been looked at."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _count: None
        return
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("dead letters", total=total)
        yield lambda count: progress.advance(task, count)


def _say(summary: Summary, did: str, *, dry_run: bool, as_json: bool) -> None:
    lines = summary.lines.most_common()
    if as_json:
        changes = {line: "\n".join(difference(change)) for line, change in summary.changes.items()}
        letters = [{**line._asdict(), "letters": count, **({"diff": changes[line]} if line in changes else {})} for line, count in lines]
        say_json({"dry_run": dry_run, did: summary.done, "stay": summary.stayed, "handled_before": summary.earlier, "letters": letters})
        return
    if lines:
        table(
            ("letters", "processor", "reason", "destination", "go to", "how"),
            [(count, line.stage, line.reason, line.destination or "-", line.topic or "-", line.why or line.how) for line, count in lines],
        )
        say()
    if dry_run:
        for change in summary.changes.values():
            say(f"[bold]{change.place}[/], for one:")
            say_plain("\n".join(difference(change)))
            say()
    say(closing_line(summary, did, dry_run=dry_run))


def closing_line(summary: Summary, did: str, *, dry_run: bool) -> str:
    """Say in one line what was done.

    Args:
        summary: What was done.
        did: `redriven` or `discarded`.
        dry_run: Whether it only would be.

    Returns:
        The line.
    """
    earlier = f", {summary.earlier} were handled before" if summary.earlier else ""
    if not summary.lines:
        return f"[green]✓[/] nothing to do: no such dead letter is open{earlier}"
    to: Counter[str] = Counter()
    for line, count in summary.lines.items():
        if line.topic:
            to[line.topic] += count
    where = f" ({', '.join(f'{count} to {topic}' for topic, count in to.most_common())})" if to else ""
    stayed = f", {summary.stayed} stay" if summary.stayed else ""
    would = "would be " if dry_run else ""
    return f"{'[yellow]dry run[/]:' if dry_run else '[green]✓[/]'} {summary.done} {would}{did}{where}{stayed}{earlier}"
