"""`headrace preview`: what would be sent, before it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.markup import escape

from pipeline.app.cli.cluster import connect, finish
from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.explain import change_line
from pipeline.app.cli.options import BootstrapOption, JsonOption, RunTopologyOption, examples
from pipeline.app.cli.output import printable, say, table
from pipeline.app.cli.times import TIME_FORMS, time_ms
from pipeline.app.declared import find_workspace, read_topology, read_workspace, workspace_name
from pipeline.app.explain import read_versions
from pipeline.app.explain.looking import Looking
from pipeline.app.explain.sampling import Sample, Wanted, start_of
from pipeline.app.processes.options import call_schemas
from pipeline.app.processes.run_file import read_run
from pipeline.app.settings import Secrets, Settings, read_settings
from pipeline.assembly import Judges
from pipeline.assembly.recompute import Rerun, Version
from pipeline.declaration import did_you_mean
from pipeline.explain import Preview, preview_as_data
from pipeline.model.json_text import encode
from pipeline.model.workspace import Workspace
from pipeline.runtime.clock import SystemClock


class Previewed(NamedTuple):
    """A preview, with what it was made of.

    Attributes:
        preview: What would happen.
        configuration: What was previewed, for a person.
        range: How many records the range has.
        topic: Where the events lie.
    """

    preview: Preview
    configuration: str
    range: int
    topic: str


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        "preview",
        epilog=examples(
            "headrace preview --from -1h",
            "headrace preview --from -2h --destination crm --workspace edited.yaml",
            "headrace preview --from -1d --json",
        ),
    )(preview)


def preview(  # noqa: PLR0913, PLR0917 (each is an option of the command)
    begin: Annotated[str, typer.Option("--from", metavar="TIME", help=f"Events from then on: {TIME_FORMS}.", show_default=False)],
    until: Annotated[str, typer.Option("--to", metavar="TIME", help="Events before then. Default: now.", show_default=False)] = "",
    source: Annotated[str, typer.Option("--source", metavar="ID", help="Only events of this source.", show_default=False)] = "",
    event: Annotated[str, typer.Option("--event", metavar="NAME", help="Only track events of this name.", show_default=False)] = "",
    destination: Annotated[str, typer.Option("--destination", metavar="ID", help="Only this destination.", show_default=False)] = "",
    sample: Annotated[int, typer.Option("--sample", metavar="N", min=1, max=100_000, help="Most events that are looked at.")] = 1000,
    workspace: Annotated[
        str,
        typer.Option(
            "--workspace",
            "-w",
            metavar="PATH",
            help="A workspace that is not applied yet, to preview it. Default: the configuration that is in force.",
            show_default=False,
        ),
    ] = "",
    topology: RunTopologyOption = "",
    bootstrap: BootstrapOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Say what would be sent for past events, by destination, and what of it would differ from what was sent.

    A sample of the range goes through filter and translate with the configuration in force, or with an edited file before `headrace apply`.
    Nothing is written, nothing is sent.
    """
    settings = read_settings()
    begin_ms, end_ms = time_ms("--from", begin), time_ms("--to", until)
    wanted = Wanted(begin_ms or 0, end_ms if end_ms is not None else SystemClock().now_ms(), sample, source, event)
    if wanted.begin_ms >= wanted.end_ms:
        raise CommandError("--from lies after --to", "give a range of time", status=2)
    edited = read_workspace(find_workspace(workspace, settings)) if workspace else None
    name = edited.name if edited is not None else workspace_name(find_workspace("", settings))
    console = Console(stderr=True)
    with console.status("looking") as status:
        done = finish(_preview(settings, name, edited, wanted, destination, topology, bootstrap, status.update))
    if as_json:
        about = {"configuration": done.configuration, "topic": done.topic, "range": done.range}
        print(encode({**about, **preview_as_data(done.preview)}).decode("utf-8", "replace"))
    else:
        _show(done)


async def _preview(
    settings: Settings,
    name: str,
    edited: Workspace | None,
    wanted: Wanted,
    destination: str,
    topology: str,
    bootstrap: str,
    show: Any,  # noqa: ANN401 (a status line)
) -> Previewed:
    run = read_run(settings.home)
    graph = read_topology(topology or (run.topology if run else "default"))
    broker = connect(bootstrap, settings)
    versions = await read_versions(broker, name)
    if not versions:
        raise CommandError(f"the workspace {name} has no configuration on this cluster", "put it to work with `headrace apply`")
    version = max(versions)
    said = f"version {version}, in force"
    if edited is not None:
        version += 1
        versions[version] = Version(replace(edited, version=version), SystemClock().now_ms())
        said = "the edited workspace, not applied"
    known = {one for each in versions.values() for one in each.workspace.destinations}
    if destination and destination not in known:
        raise CommandError(f"there is no destination {destination}", did_you_mean(destination, sorted(known)), status=2)
    start = start_of(graph)
    chosen = [destination] if destination else sorted(known)
    again = Rerun(Judges(graph, call_schemas(), Secrets(settings.home).resolve), versions)
    result = Preview(again, version, before=start.before, destinations=[destination] if destination else [])
    looking = Looking(broker.lookup(), name, lambda _text: None)
    try:
        await looking.start([start.topic, *(f"requests.{one}" for one in chosen)])
        pass_ = Sample(looking, start.topic, chosen, wanted)
        async for record, stored in pass_.events(lambda count: show(f"{count} of {wanted.sample} events")):
            result.add(record, stored)
    finally:
        await looking.stop()
    return Previewed(result, said, pass_.records, start.topic)


def _show(done: Previewed) -> None:
    preview = done.preview
    sampled = "1[/] event" if preview.sampled == 1 else f"{preview.sampled}[/] events"
    records = "1 record" if done.range == 1 else f"{done.range} records"
    say(f"[bold]{sampled}, a sample of {records} in {done.topic}, with {done.configuration}\n")
    if not preview.sampled:
        return
    table(
        ("destination", "events", "requests", "equal", "changed", "new", "gone", "nothing sent"),
        [
            (
                name,
                one.events,
                one.requests,
                one.equal,
                one.changed,
                one.new,
                one.gone,
                ", ".join(f"{count} {why}" for why, count in one.reasons.most_common()),
            )
            for name, one in preview.by_destination.items()
        ],
    )
    for name, one in preview.by_destination.items():
        for example in one.examples:
            say(f"\n[bold]{_text(name)}[/]/{_text(example.mapping)} of {_text(example.message_id)}: {_KINDS[example.kind]}")
            for change in example.differences[:20]:
                say(f"  {_text(change_line(change))}")
            if not example.differences and isinstance(example.request, dict):
                say(f"  {_text(_short(example.request))}")
    stored = sum(one.stored for one in preview.by_destination.values())
    computed = sum(one.computed for one in preview.by_destination.values())
    say(f"\ncompared with {stored} requests as they were stored{f', and {computed} computed with the version of their time' if computed else ''}")


_KINDS = {"changed": "would be sent otherwise", "new": "was not sent, would be", "gone": "was sent, would not be"}


def _short(value: Any, characters: int = 300) -> str:  # noqa: ANN401 (any JSON value)
    text = encode(value).decode("utf-8", "replace")
    return text if len(text) <= characters else f"{text[:characters]}…"


def _text(text: str) -> str:
    return escape(printable(text))
