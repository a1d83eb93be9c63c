"""`headrace explain`: what happened to one event, and why."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape

from pipeline.app.cli.cluster import connect, finish, read_config
from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.options import BootstrapOption, JsonOption, RunTopologyOption, WorkspaceOption, examples
from pipeline.app.cli.output import printable, say
from pipeline.app.declared import find_workspace, read_topology, workspace_name
from pipeline.app.explain import Explainer
from pipeline.app.explain.asking import Address, addresses_of, ask_dedup
from pipeline.app.explain.places import rule_places
from pipeline.app.processes.options import call_schemas
from pipeline.app.processes.run_file import read_run
from pipeline.app.settings import Secrets, Settings, read_settings
from pipeline.assembly import Judges
from pipeline.explain import Change, Explanation, Finding, Target, as_data
from pipeline.explain.findings import Attempt, Mapped
from pipeline.model.json_text import encode
from pipeline.runtime.clock import SystemClock

_MARKS: Final = {
    "passed": "[green]✓[/]",
    "routed": "[green]✓[/]",
    "delivered": "[green]✓[/]",
    "stored": "[green]✓[/]",
    "waiting": "[yellow]…[/]",
    "retrying": "[yellow]…[/]",
    "parked": "[yellow]‖[/]",
    "dead": "[red]✗[/]",
    "missing": "[red]✗[/]",
    "unknown": "[yellow]?[/]",
}
_CHANGES_SHOWN: Final = 12
_LATEST_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999: anyone may write a header with a later one."""


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        "explain",
        epilog=examples("headrace explain 022bb90c-bbac-11e4-8dfc-aa07a5b093db", "headrace explain dead.validate/0/12 --json | jq .stages"),
    )(explain)


def explain(
    message_id: Annotated[
        str,
        typer.Argument(metavar="MESSAGE_ID", help="The event's message id, or the place of a record: TOPIC/PARTITION/OFFSET.", show_default=False),
    ],
    source: Annotated[str, typer.Option("--source", metavar="ID", help="Its source. Default: all are asked for.", show_default=False)] = "",
    process: Annotated[
        list[str] | None,
        typer.Option(
            "--process",
            metavar="HOST:PORT",
            help="Where a process that keeps dedup state answers; repeat it. Default: those of `headrace up`.",
            show_default=False,
        ),
    ] = None,
    topology: RunTopologyOption = "",
    workspace: WorkspaceOption = "",
    bootstrap: BootstrapOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Say what happened to one event, stage by stage, and why; and whether the same steps give the same again.

    Each step is run again with the version of the configuration that judged the event, and held against what is stored. Nothing is written.
    Ends with 1 when the event is not found, or when something differs.
    """
    settings = read_settings()
    path = find_workspace(workspace, settings)
    console = Console(stderr=True)
    with console.status("looking") as status:
        found = finish(_explain(settings, path, message_id, source, process or [], topology, bootstrap, lambda text: status.update(escape(text))))
    if as_json:
        print(encode(as_data(found)).decode("utf-8", "replace"))
    else:
        show(found)
    if not found.found or not found.same:
        raise typer.Exit(1)


async def _explain(
    settings: Settings,
    path: Path,
    message_id: str,
    source: str,
    process: list[str],
    topology: str,
    bootstrap: str,
    progress: Any,  # noqa: ANN401 (a function of a text)
) -> Explanation:
    run = read_run(settings.home)
    graph = read_topology(topology or (run.topology if run else "default"))
    prefix = workspace_name(path)
    broker = connect(bootstrap, settings)
    secrets = Secrets(settings.home)
    explainer = Explainer(
        broker,
        prefix,
        Judges(graph, call_schemas(), secrets.resolve),
        clock=SystemClock(),
        ask_dedup=ask_dedup([_address(one) for one in process] or addresses_of(run, graph)),
        lake_root=lambda text: Path(secrets.resolve(text)),
        progress=progress,
    )
    explainer.located_by(rule_places(path, (await read_config(broker, prefix)).workspace))
    return await explainer.explain(message_id, source)


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise CommandError(f"--process {text} is no address", "give HOST:PORT, as `headrace status` shows the ports", status=2)
    return Address(host.strip("[]"), int(port))


def show(found: Explanation) -> None:
    """Print an explanation for a person.

    Args:
        found: The explanation.
    """
    if not found.found:
        say(f"[yellow]?[/] nothing is known of [bold]{_text(found.message_id)}[/]. Looked through:")
        for line in (*found.searched, *found.given_up):
            say(f"  {_text(line)}")
        say("An event that the collector refused with 4xx, or that is older than its topics keep, leaves no trace here.")
        return
    title = " ".join(_text(part) for part in (found.type, found.event) if part)
    say(f"[bold]{_text(found.message_id)}[/] · {title or 'unreadable'} · source {_text(found.source or 'unknown')}")
    say(f"{_text(found.sentence)}\n")
    for finding in found.stages:
        _show_finding(finding, "")
    for target in found.targets:
        _show_target(target)
    for line in found.given_up:
        say(f"[yellow]?[/] {_text(line)}")
    say(f"\n[dim]lies in[/] {_text(', '.join(str(place) for place in found.copies))}")
    if found.same:
        say("[green]same[/]: what was run again gives what is stored")
    else:
        say("[red]differs[/]: what was run again is not what is stored")


def _show_finding(finding: Finding, indent: str) -> None:
    mark = _MARKS.get(finding.verdict, "[dim]-[/]")
    name = finding.step or finding.stage
    head = f"{indent}{mark} [bold]{_text(name):<10}[/] {finding.verdict}"
    if finding.reason:
        head += f": [bold]{_text(finding.reason)}[/]"
    tail = [
        f"{_time(finding.at)}" if finding.at else "",
        f"version {finding.config}" if finding.config else "",
        str(finding.place or ""),
        finding.compared,
    ]
    say(f"{head}  [dim]{_text(' · '.join(part for part in tail if part))}[/]")
    for line in (finding.detail, finding.rule and f"rule: {finding.rule}"):
        if line:
            say(f"{indent}    {_text(line)}")
    _show_changes(finding.changes, indent)
    if finding.differences:
        say(f"{indent}    [red]stored and computed again differ:[/]")
        _show_changes(finding.differences, indent)


def _show_changes(changes: tuple[Change, ...], indent: str) -> None:
    for one in changes[:_CHANGES_SHOWN]:
        say(f"{indent}    [dim]{_text(change_line(one))}[/]")
    if len(changes) > _CHANGES_SHOWN:
        say(f"{indent}    [dim]and {len(changes) - _CHANGES_SHOWN} more with --json[/]")


def change_line(one: Change) -> str:
    """Write a change in one line: `+ /path value`, `- /path value`, `~ /path before → after`."""
    path = one.path or "/"
    if one.kind == "added":
        return f"+ {path} {_short(one.after)}"
    if one.kind == "removed":
        return f"- {path} {_short(one.before)}"
    return f"~ {path} {_short(one.before)} → {_short(one.after)}"


def _show_target(target: Target) -> None:
    mark = _MARKS.get(target.state, "[dim]-[/]")
    reason = f": {_text(target.reason)}" if target.reason else ""
    say(f"{mark} [bold]{_text(target.id)}[/] {target.state}{reason}")
    if target.rule:
        say(f"    rule: {_text(target.rule)}")
    for finding in target.findings:
        _show_finding(finding, "    ")
        if finding.step == "translate":
            for mapped in target.mappings:
                _show_mapped(mapped)
    for attempt in target.attempts:
        _show_attempt(attempt)


def _show_mapped(one: Mapped) -> None:
    said = " · ".join(part for part in (str(one.place or ""), one.compared) if part)
    say(f"        mapping [bold]{_text(one.name)}[/] {'matched' if one.matched else 'not matched'}: {_text(one.trigger)}  [dim]{_text(said)}[/]")
    if isinstance(one.request, dict):
        line = f"{one.request.get('method')} {one.request.get('url')} {_short(one.request.get('body'), 300)}"
        say(f"        [dim]{_text(line)}[/]")
    _show_changes(one.differences, "    ")


def _show_attempt(one: Attempt) -> None:
    answer = str(one.status) if one.status else one.error or "no answer"
    line = (
        f"        try {one.attempt} at {_time(one.at)}: {answer} in {one.latency_ms:g} ms → {one.outcome}{f' ({one.reason})' if one.reason else ''}"
    )
    say(_text(line))
    if one.answer and not 200 <= one.status < 300:
        say(f"          [dim]{_text(_short(one.answer, 200))}[/]")
    if one.until:
        say(f"          [dim]next try not before {_time(one.until)}, waits in {_text(str(one.waits_in or ''))}[/]")


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(min(milliseconds, _LATEST_MS) / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _short(value: Any, characters: int = 100) -> str:  # noqa: ANN401 (any JSON value)
    text = encode(value).decode("utf-8", "replace")
    return text if len(text) <= characters else f"{text[:characters]}…"


def _text(text: str) -> str:
    return escape(printable(text))
