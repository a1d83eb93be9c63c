"""`headrace replay`: jobs that send past events again, or for the first time, beside live traffic."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from pipeline.app.cli.cluster import finish, read_config
from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.offsets import Scene, scene
from pipeline.app.cli.options import BootstrapOption, JsonOption, RunTopologyOption, WorkspaceOption, examples
from pipeline.app.cli.output import say, say_json, table
from pipeline.app.cli.times import TIME_FORMS, time_ms
from pipeline.app.jobs import Counts, Progressed, Wish, ask, count_job, make_job, progress_of, rehearse
from pipeline.app.processes.options import call_schemas
from pipeline.app.settings import Secrets
from pipeline.assembly import Judges
from pipeline.declaration import did_you_mean
from pipeline.model.times import time_text
from pipeline.model.workspace import Workspace
from pipeline.replay.board import job_record
from pipeline.replay.jobs import RATE, Command, CommandRefused, Job
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.replay.jobs import Jobs

LOOK_SECONDS: Final = 1.0
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Id of a job, or the beginning of it.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    group = typer.Typer(
        invoke_without_command=True,
        help="Send past events again, or to a new destination, beside live traffic.",
        epilog=examples(
            "headrace replay --from -7d --destination crm --dry-run",
            'headrace replay --from 2026-05-01T12:00:00Z --to 2026-05-01T14:00:00Z --destination crm --event "Order Completed"',
            "headrace replay --from -2d --storage lake --from-raw --rate 2000",
        ),
    )
    group.callback()(replay)
    group.command("list", epilog=examples("headrace replay list", "headrace replay list --json"))(list_)
    group.command("show", epilog=examples("headrace replay show 3f2a91c0"))(show)
    for command, sentence in _COMMANDS.items():
        group.command(command, help=sentence, epilog=examples(f"headrace replay {command} 3f2a91c0"))(_command(command))
    app.add_typer(group, name="replay")


_COMMANDS: Final[Mapping[Command, str]] = {
    "pause": "Have a job wait where it is. What it has written is still delivered.",
    "resume": "Have a paused job go on where it was.",
    "cancel": "End a job for ever. What it has written stays, and is still delivered.",
}


def replay(  # noqa: PLR0913, PLR0917 (typer makes an option of each argument)
    context: typer.Context,
    begin: Annotated[str, typer.Option("--from", metavar="TIME", help=f"Events stored then or later: {TIME_FORMS}.", show_default=False)] = "",
    until: Annotated[str, typer.Option("--to", metavar="TIME", help="Events that were stored before then. Default: now.", show_default=False)] = "",
    source: Annotated[list[str] | None, typer.Option("--source", metavar="ID", help="Only events of this source; may be repeated.")] = None,
    event: Annotated[list[str] | None, typer.Option("--event", metavar="NAME", help="Only this track event; may be repeated.")] = None,
    destination: Annotated[list[str] | None, typer.Option("--destination", metavar="ID", help="Send to it; may be repeated.")] = None,
    storage: Annotated[list[str] | None, typer.Option("--storage", metavar="ID", help="Add what it lacks; may be repeated.")] = None,
    rate: Annotated[float, typer.Option("--rate", metavar="N", min=0.1, help="Most events a second that it passes on.")] = RATE,
    workspace: WorkspaceOption = "",
    bootstrap: BootstrapOption = "",
    topology: RunTopologyOption = "",
    *,
    from_raw: Annotated[bool, typer.Option("--from-raw", help="Begin at raw: validate and enrich again, with today's configuration.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would go where, and write nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Start a job that reads past events at a limited rate, and sends them to the targets that it names and no others.

    Events keep their ids, so a tool that has seen one sees nothing new, and a store adds only the rows that it lacks. The same range and targets
    asked for twice are one job: the second time adds nothing.
    """
    if context.invoked_subcommand is not None:
        return
    if not begin:
        raise CommandError("--from is missing", "say from when on, such as --from -2h; `headrace replay --help` shows more", status=2)
    wish = Wish(
        time_ms("--from", begin) or 0,
        time_ms("--to", until),
        tuple(source or ()),
        tuple(event or ()),
        tuple(destination or ()),
        tuple(storage or ()),
        rate,
        from_raw,
    )
    where = scene(workspace, bootstrap, topology)
    if dry_run:
        job, counts = finish(_rehearsed(where, wish, quiet=as_json))
        say_json({"job": job_data(job), "dry_run": True, **counts_data(counts)}) if as_json else _show_rehearsal(job, counts)
        return
    job, new = finish(_started(where, wish))
    if as_json:
        say_json({"job": job_data(job), "new": new})
        return
    state = "started" if new else "exists already: a second run of the same job adds nothing"
    say(f"[green]✓[/] job [bold]{job.id}[/] {state}; it reads {job.offsets} offsets of {job.input}, {_span(job)}")
    if sys.stdout.isatty():
        finish(_follow(where, job))
    else:
        say(f"See how far it is: headrace replay show {job.id}")


async def _wished(where: Scene, wish: Wish) -> tuple[Workspace, Job]:
    declared = (await read_config(where.broker, where.prefix)).workspace
    if declared is None:
        raise CommandError(f"nothing is declared for {where.prefix}", "apply a workspace with `headrace apply`")
    _refuse_unknown(declared, wish)
    return declared, await make_job(where.broker, where.prefix, where.topology, wish, SystemClock())


def _refuse_unknown(declared: Workspace, wish: Wish) -> None:
    if not wish.destinations and not wish.storages:
        targets = ", ".join([*(f"--destination {one}" for one in declared.destinations), *(f"--storage {one}" for one in declared.storage)])
        raise CommandError("for whom? a job goes to the targets that it names, and no others", f"say one or more of {targets}", status=2)
    for option, given, known in (
        ("--source", wish.sources, declared.sources),
        ("--destination", wish.destinations, declared.destinations),
        ("--storage", wish.storages, declared.storage),
    ):
        for name in given:
            if name not in known:
                raise CommandError(f"{option} {name} is not declared", did_you_mean(name, known) or f"there are {', '.join(known)}", status=2)


async def _started(where: Scene, wish: Wish) -> tuple[Job, bool]:
    _, job = await _wished(where, wish)
    jobs = Jobs(where.broker, where.prefix, SystemClock())
    board = await jobs.read()
    if job.id in board.jobs:
        return board.jobs[job.id], False
    await jobs.write(*job_record(job))
    return job, True


async def _rehearsed(where: Scene, wish: Wish, *, quiet: bool) -> tuple[Job, Counts]:
    declared, job = await _wished(where, wish)
    judges = Judges(where.topology, call_schemas(), Secrets(where.settings.home).resolve)
    console = Console(stderr=True, quiet=quiet or not sys.stderr.isatty())
    with Progress(TextColumn("reading"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task("", total=job.offsets or 1)
        return job, await rehearse(where.broker, job, declared, judges, lambda offsets: progress.update(task, completed=offsets))


def _show_rehearsal(job: Job, counts: Counts) -> None:
    say(f"[bold]{counts.events}[/] events of {job.input}, {_span(job)}")
    rows = [(name, "requests", count) for name, count in counts.requests.items()] + [
        (name, "rows at most", count) for name, count in counts.rows.items()
    ]
    table(("target", "what", "count"), rows)
    for words, found in (("first", counts.first), ("last", counts.last)):
        if found is not None:
            say(f"{words}: {found['event'] or found['type']} {found['message_id']}, stored {time_text(found['at'])}")
    if counts.ended:
        say("not sent: " + ", ".join(f"{count} {reason}" for reason, count in counts.ended.most_common()))
    say("Nothing was written: this was a dry run.")


def counts_data(counts: Counts) -> dict[str, Any]:
    """Write counts as plain data."""
    return {
        "events": counts.events,
        "destinations": counts.requests,
        "storages": counts.rows,
        "ended": counts.ended,
        "first": counts.first,
        "last": counts.last,
    }


def _span(job: Job) -> str:
    return f"{time_text(job.start_ms)} to {time_text(job.end_ms)}"


def job_data(job: Job) -> dict[str, Any]:
    """Write a job as plain data.

    Args:
        job: The job.

    Returns:
        What `--json` prints of it.
    """
    return {
        "id": job.id,
        "input": job.input,
        "from": time_text(job.start_ms),
        "to": time_text(job.end_ms),
        "sources": job.sources,
        "events": job.events,
        "destinations": job.destinations,
        "storages": job.storages,
        "rate": job.rate,
        "offsets": job.offsets,
        "created": time_text(job.created_ms),
    }


def list_(workspace: WorkspaceOption = "", bootstrap: BootstrapOption = "", *, as_json: JsonOption = False) -> None:
    """List the jobs, with state and progress."""
    found = finish(_all(scene(workspace, bootstrap, "")))
    if as_json:
        say_json([{**job_data(one.job), "state": one.state, "left": one.left} for one in found])
        return
    if not found:
        say("no jobs: start one with `headrace replay --from TIME --destination ID`")
        return
    rows = [(one.job.id, one.state, _share(one), one.left, _targets(one.job), _span(one.job)) for one in found]
    table(("job", "state", "done", "left", "for", "range"), rows)


async def _all(where: Scene) -> list[Progressed]:
    board = await Jobs(where.broker, where.prefix, SystemClock()).read()
    return [await progress_of(where.broker, where.prefix, board, job) for job in board.jobs.values()]


def _share(one: Progressed) -> str:
    return f"{100 * (1 - one.left / one.job.offsets):.0f} %" if one.job.offsets else "100 %"


def _targets(job: Job) -> str:
    return ", ".join((*job.destinations, *job.storages))


def show(
    job: JobArgument,
    workspace: WorkspaceOption = "",
    bootstrap: BootstrapOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Show a job: what it was asked for, how far it is, and what became of the events that it read."""
    where = scene(workspace, bootstrap, "")
    one, counts = finish(_one(where, job))
    if as_json:
        say_json({**job_data(one.job), "state": one.state, "left": one.left, "counts": counts_data(counts)})
        return
    say(f"job [bold]{one.job.id}[/] is [bold]{one.state}[/]: {_share(one)} of {one.job.offsets} offsets of {one.job.input}, {_span(one.job)}")
    only = ", ".join((*one.job.sources, *one.job.events)) or "everything"
    say(f"for {_targets(one.job)}; reads {only}; at most {one.job.rate:g} events a second")
    if one.state == "running" and one.left:
        say(f"about {one.left / one.job.rate / 60:.0f} minutes left")
    rows = [(name, "requests", count) for name, count in counts.requests.items()] + [
        (name, "rows offered", count) for name, count in counts.rows.items()
    ]
    table(("target", "what", "count"), rows)
    if counts.ended:
        say("not sent: " + ", ".join(f"{count} {reason}" for reason, count in counts.ended.most_common()))


async def _one(where: Scene, name: str) -> tuple[Progressed, Counts]:
    board = await Jobs(where.broker, where.prefix, SystemClock()).read()
    job = _named(board.jobs, name)
    return await progress_of(where.broker, where.prefix, board, job), await count_job(where.broker, where.prefix, job)


def _named(jobs: Mapping[str, Job], name: str) -> Job:
    found = [job for ident, job in jobs.items() if ident.startswith(name)]
    if len(found) != 1:
        problem = f"there is no job {name}" if not found else f"{name} is the beginning of {len(found)} jobs"
        raise CommandError(problem, "see them with `headrace replay list`", status=2)
    return found[0]


def _command(command: Command) -> Callable[..., None]:
    def run(job: JobArgument, workspace: WorkspaceOption = "", bootstrap: BootstrapOption = "", *, as_json: JsonOption = False) -> None:
        where = scene(workspace, bootstrap, "")
        found, state = finish(_commanded(where, job, command))
        if as_json:
            say_json({**job_data(found), "state": state})
            return
        say(f"[green]✓[/] job [bold]{found.id}[/] is {state}")

    return run


async def _commanded(where: Scene, name: str, command: Command) -> tuple[Job, str]:
    jobs = Jobs(where.broker, where.prefix, SystemClock())
    board = await jobs.read()
    job = _named(board.jobs, name)
    try:
        return job, await ask(jobs, board, job, command, SystemClock())
    except CommandRefused as error:
        raise CommandError(f"job {job.id}: {error}", "see the jobs with `headrace replay list`") from error


async def _follow(where: Scene, job: Job) -> None:
    """Show progress until the job has ended, or is paused; Ctrl-C leaves it at work."""
    jobs = Jobs(where.broker, where.prefix, SystemClock())
    with Progress(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()) as progress:
        task = progress.add_task("replay", total=job.offsets or 1)
        try:
            while True:
                one = await progress_of(where.broker, where.prefix, await jobs.read(), job)
                progress.update(task, completed=job.offsets - one.left, description=one.state)
                if one.state != "running":
                    return
                await asyncio.sleep(LOOK_SECONDS)
        except asyncio.CancelledError:
            progress.console.print(f"It goes on by itself: headrace replay show {job.id}")
            raise
