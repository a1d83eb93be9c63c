"""`headrace tail`: what lies in a topic, and what comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

import typer
from rich.markup import escape

from pipeline.app.cli.cluster import connect, finish
from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.options import BootstrapOption, JsonOption, WorkspaceOption, examples
from pipeline.app.cli.output import printable, say
from pipeline.app.cli.times import TIME_FORMS
from pipeline.app.declared import find_workspace, workspace_name
from pipeline.app.settings import SettingError, Settings, read_settings
from pipeline.declaration import did_you_mean
from pipeline.model.json_text import decode, encode
from pipeline.model.record import Record
from pipeline.model.times import parse_time
from pipeline.ports.broker import Broker
from pipeline.runtime.clock import SystemClock


class Until(StrEnum):
    """Where reading ends."""

    NOW = "now"


class Start(NamedTuple):
    """Where reading begins: an offset in every partition (-1 for the end), and a broker time in milliseconds before which records are left out."""

    offset: int
    not_before_ms: int = 0


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        "tail",
        epilog=examples(
            "headrace tail raw",
            "headrace tail enriched --from beginning --until now --json | jq .value.event",
            "headrace tail dead.validate --from 2026-05-01T12:00:00Z",
        ),
    )(tail)


def tail(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="Topic, with or without the workspace's name before it.", show_default=False)],
    begin: Annotated[str, typer.Option("--from", metavar="WHERE", help=f"beginning, end, an offset, or a time: {TIME_FORMS}.")] = "end",
    until: Annotated[Until | None, typer.Option("--until", help="End at what is there now, instead of waiting for more.", show_default=False)] = None,
    workspace: WorkspaceOption = "",
    bootstrap: BootstrapOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Print the messages of a topic as they come, until Ctrl-C.

    With --json each is one line: topic, partition, offset, timestamp (broker time in milliseconds), key, headers, value.
    """
    start = parse_start(begin)
    settings = read_settings()
    broker = connect(bootstrap, settings)
    try:
        finish(_print(broker, topic, _prefix(workspace, settings), start, follow=until is None, as_json=as_json))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def parse_start(text: str) -> Start:
    """Read what `--from` says.

    Args:
        text: beginning, end, an offset, or a time.

    Returns:
        The start.

    Raises:
        CommandError: It is none of these.
    """
    if text in ("beginning", "end"):
        return Start(0 if text == "beginning" else -1)
    if text.isascii() and text.isdecimal():
        return Start(int(text))
    try:
        return Start(0, parse_time(text, SystemClock().now_ms()))
    except ValueError:
        raise CommandError(
            f"--from {text} is no place to begin", "give beginning, end, an offset, or a time such as 2026-05-01T12:00:00Z or -2h", status=2
        ) from None


def as_data(record: Record) -> dict[str, Any]:
    """Write a record as plain data.

    Args:
        record: The record.

    Returns:
        Its fields by name; key and headers as text, the value as JSON where it is that, else as text.
    """
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": None if record.key is None else record.key.decode("utf-8", "replace"),
        "headers": {name: value.decode("utf-8", "replace") for name, value in record.headers},
        "value": value_of(record.value),
    }


def value_of(value: bytes | None) -> Any:  # noqa: ANN401 (any JSON value)
    """Read a record's value for showing it.

    Args:
        value: Its bytes.

    Returns:
        JSON where it is that, else text; None for a tombstone.
    """
    if value is None:
        return None
    try:
        return decode(value)[0]
    except ValueError:
        return value.decode("utf-8", "replace")


async def find_topic(broker: Broker, topic: str, prefix: str) -> tuple[str, int]:
    """Find a topic on the cluster.

    Args:
        broker: The cluster.
        topic: Name with or without prefix.
        prefix: The workspace's name, or empty.

    Returns:
        Its name on the cluster and how many partitions it has.

    Raises:
        CommandError: It is not there; says what may have been meant.
    """
    found = await broker.admin().topics()
    for name in (f"{prefix}.{topic}", topic):
        if name in found:
            return name, found[name]
    short = [name.removeprefix(f"{prefix}.") for name in found if not name.startswith("__")]
    raise CommandError(f"there is no topic {topic}", did_you_mean(topic, short) or "make the topics with `headrace topics apply`")


async def records_of(broker: Broker, topic: str, partitions: int, start: Start, *, follow: bool) -> AsyncIterator[Sequence[Record]]:
    """Read a topic from a start.

    Args:
        broker: The cluster.
        topic: Name on the cluster.
        partitions: How many partitions it has.
        start: Where to begin.
        follow: Whether to go on at its end.

    Yields:
        Records as they come.
    """
    offsets: Mapping[int, int] = dict.fromkeys(range(partitions), start.offset)
    async for records in broker.reader().read(topic, start=offsets, follow=follow):
        yield [record for record in records if record.timestamp >= start.not_before_ms] if start.not_before_ms else records


def _prefix(workspace: str, settings: Settings) -> str:
    try:
        return workspace_name(find_workspace(workspace, settings))
    except SettingError:
        if workspace:
            raise
        return ""  # full topic names work without a workspace


async def _print(broker: Broker, topic: str, prefix: str, start: Start, *, follow: bool, as_json: bool) -> None:
    name, partitions = await find_topic(broker, topic, prefix)
    async for records in records_of(broker, name, partitions, start, follow=follow):
        for record in records:
            if as_json:
                print(encode(as_data(record)).decode("utf-8", "replace"), flush=follow)
            else:
                say(_line(record))


def _line(record: Record) -> str:
    time = datetime.fromtimestamp(record.timestamp / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    data = as_data(record)
    headers = " ".join(f"{name}={value}" for name, value in data["headers"].items())
    value = data["value"] if isinstance(data["value"], str) else encode(data["value"]).decode("utf-8", "replace")
    place = f"{record.topic}/{record.partition}/{record.offset}"
    key, headers, value = (escape(printable(text)) for text in (str(data["key"]), headers, value))
    return f"[dim]{time}[/] [cyan]{escape(place)}[/] [bold]{key}[/] [dim]{headers}[/]\n  {value}"
