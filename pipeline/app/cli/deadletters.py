"""`headrace dead list|show`: the messages that no retry can help, with their reasons."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, NamedTuple

import typer
from rich.markup import escape

from pipeline.app.cli.cluster import connect, finish
from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.options import BootstrapOption, JsonOption, WorkspaceOption, examples
from pipeline.app.cli.output import printable, say, say_json, say_plain, table
from pipeline.app.cli.tail import as_data, find_topic
from pipeline.app.declared import find_workspace, workspace_name
from pipeline.app.settings import read_settings
from pipeline.declaration import did_you_mean
from pipeline.model import headers
from pipeline.model.json_text import encode
from pipeline.model.reasons import REASONS
from pipeline.model.record import Record
from pipeline.model.topics import DEAD_STAGES, topic_name
from pipeline.ports.broker import Broker

_PLACE: Final = re.compile(r"(.+)/(\d+)/(\d+)")


class Group(NamedTuple):
    """Dead letters of one stage and reason.

    Attributes:
        stage: The stage that gave them up.
        reason: Name of the reason.
        total: How many there are.
        newest_at: Broker time of the newest, milliseconds since the epoch.
        newest: Where it lies: topic without prefix, partition and offset.
        detail: What was wrong with it.
    """

    stage: str
    reason: str
    total: int
    newest_at: int
    newest: str
    detail: str


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    group = typer.Typer(no_args_is_help=True, help="Messages that no retry can help, kept whole with their reasons.")
    group.command("list", epilog=examples("headrace dead list", "headrace dead list --stage validate --json"))(list_)
    group.command("show", epilog=examples("headrace dead show dead.validate/0/12", "headrace dead show dead.deliver/0/3 --json | jq .value"))(show)
    app.add_typer(group, name="dead")


def list_(
    stage: Annotated[str, typer.Option("--stage", metavar="STAGE", help=f"Only this stage: {', '.join(DEAD_STAGES)}.", show_default=False)] = "",
    workspace: WorkspaceOption = "",
    bootstrap: BootstrapOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Count the dead letters by stage and reason, with the place of the newest of each."""
    if stage and stage not in DEAD_STAGES:
        raise CommandError(f"there is no stage {stage}", did_you_mean(stage, DEAD_STAGES), status=2)
    settings = read_settings()
    prefix = workspace_name(find_workspace(workspace, settings))
    groups = finish(_groups(connect(bootstrap, settings), prefix, [stage] if stage else DEAD_STAGES))
    if as_json:
        say_json({"dead": [group._asdict() for group in groups]})
        return
    if not groups:
        say("[green]✓[/] no dead letters")
        return
    table(
        ("stage", "reason", "total", "newest at", "newest", "what happened"),
        [(one.stage, one.reason, one.total, _time(one.newest_at), one.newest, _sentence(one.reason)) for one in groups],
    )
    say(f"\nSee one whole: [bold]headrace dead show {groups[0].newest}[/]")


def show(
    place: Annotated[
        str, typer.Argument(metavar="PLACE", help="Where it lies, as `dead list` says: dead.STAGE/PARTITION/OFFSET.", show_default=False)
    ],
    workspace: WorkspaceOption = "",
    bootstrap: BootstrapOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Show one dead letter whole: its headers, and the message as it came."""
    match = _PLACE.fullmatch(place)
    if not match:
        raise CommandError(f"{place} is no place of a dead letter", "write it as `headrace dead list` shows it: dead.validate/0/12", status=2)
    settings = read_settings()
    prefix = workspace_name(find_workspace(workspace, settings))
    record = finish(_record(connect(bootstrap, settings), prefix, match[1], int(match[2]), int(match[3])))
    data = as_data(record)
    if as_json:
        print(encode(data).decode("utf-8", "replace"))
        return
    reason = str(data["headers"].get(headers.DEAD_REASON, ""))
    say(f"[bold]{escape(printable(reason))}[/]: {_sentence(reason)}")
    table((), [(name, value) for name, value in [("key", data["key"]), ("at", _time(record.timestamp)), *data["headers"].items()]])
    say()
    say_plain(_shown(data["value"]))


def grouped(stage: str, records: Sequence[Record], groups: dict[str, Group]) -> None:
    """Add dead letters of one stage to their groups.

    Args:
        stage: The stage.
        records: Dead letters.
        groups: Groups of the stage by reason; changed.
    """
    for record in records:
        own = dict(record.headers)
        reason = own.get(headers.DEAD_REASON, b"unknown").decode("utf-8", "replace")
        before = groups.get(reason)
        total = before.total + 1 if before else 1
        if before and before.newest_at > record.timestamp:
            groups[reason] = before._replace(total=total)
            continue
        newest = f"dead.{stage}/{record.partition}/{record.offset}"
        detail = own.get(headers.DEAD_DETAIL, b"").decode("utf-8", "replace")
        groups[reason] = Group(stage, reason, total, record.timestamp, newest, detail)


async def _groups(broker: Broker, prefix: str, stages: Sequence[str]) -> list[Group]:
    found = await broker.admin().topics()
    result: list[Group] = []
    for stage in stages:
        topic = topic_name(prefix, f"dead.{stage}")
        groups: dict[str, Group] = {}
        if topic in found:
            async for records in broker.reader().read(topic):
                grouped(stage, records, groups)
        result += sorted(groups.values(), key=lambda group: -group.total)
    return result


async def _record(broker: Broker, prefix: str, topic: str, partition: int, offset: int) -> Record:
    name, partitions = await find_topic(broker, topic, prefix)
    if partition < partitions:
        async for records in broker.reader().read(name, start={partition: offset}, partitions=[partition]):
            if records:
                # The first that is there: a lower offset is gone or was never a message.
                if records[0].offset == offset:
                    return records[0]
                break
    raise CommandError(f"there is no message at {topic}/{partition}/{offset}", "it may be older than the topic keeps; see `headrace dead list`")


def _sentence(reason: str) -> str:
    known = REASONS.get(reason)
    return known.sentence if known else ""


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _shown(value: Any) -> str:  # noqa: ANN401 (any JSON value)
    return value if isinstance(value, str) else encode(value).decode("utf-8", "replace")
