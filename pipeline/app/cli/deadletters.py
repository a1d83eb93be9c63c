"""`headrace dead list|show|redrive|discard`: what no retry could help, why, and what becomes of it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Final, NamedTuple

import typer
from rich.markup import escape

from pipeline.app.cli import deadletters_handling
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
from pipeline.app.cli.deadletters_text import difference, pretty
from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.options import BootstrapOption, JsonOption, RunTopologyOption, WorkspaceOption, examples
from pipeline.app.cli.output import printable, say, say_json, say_plain, table
from pipeline.app.cli.tail import as_data
from pipeline.app.declared import find_workspace, workspace_name
from pipeline.app.settings import read_settings
from pipeline.dead_letters import Choice, Handled, HandledLetters, Letter, parse_place
from pipeline.model.json_text import encode
from pipeline.model.reasons import REASONS
from pipeline.model.topology import Topology
from pipeline.ports.broker import Broker
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.redrive import Change, Line, Redriver, read_handled, read_letters

DETAIL_CHARACTERS: Final = 100


class Group(NamedTuple):
    """Dead letters of one stage, reason and destination.

    Attributes:
        processor: The stage that gave them up.
        reason: Name of the reason.
        destination: Id of the destination or storage that goes without them, or empty.
        open: How many wait for someone.
        redriven: How many were redriven.
        discarded: How many were discarded.
        first_at: Broker time of the oldest, milliseconds since the epoch.
        last_at: That of the newest.
        newest: Where the newest lies.
        detail: What was wrong with the newest.
    """

    processor: str
    reason: str
    destination: str
    open: int
    redriven: int
    discarded: int
    first_at: int
    last_at: int
    newest: str
    detail: str


class Shown(NamedTuple):
    """One letter, what was done with it, and what redriving it would do."""

    letter: Letter
    handled: Handled | None
    line: Line | None
    change: Change | None


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    group = typer.Typer(no_args_is_help=True, help="Messages that no retry could help, kept whole with their reasons.")
    group.command(
        "list",
        epilog=examples(
            "headrace dead list", "headrace dead list --processor deliver --destination crm --from -2h", "headrace dead list --all --json | jq .dead"
        ),
    )(list_)
    group.command(
        "show",
        epilog=examples(
            "headrace dead show dead.validate/0/12", "headrace dead show dead.deliver/0/3 --json | jq .redrive", "headrace dead show PLACE --bytes"
        ),
    )(show)
    deadletters_handling.register(group)
    app.add_typer(group, name="dead")


def list_(  # noqa: PLR0913, PLR0917 (one for each option)
    processor: ProcessorOption = "",
    reason: ReasonOption = "",
    destination: DestinationOption = "",
    source: SourceOption = "",
    begin: FromOption = "",
    end: ToOption = "",
    all_: Annotated[bool, typer.Option("--all", help="Count those that were redriven or discarded too.")] = False,  # noqa: FBT002 (a switch)
    workspace: WorkspaceOption = "",
    bootstrap: BootstrapOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Count the dead letters that wait for someone, by processor, reason and destination, with the place of the newest of each."""
    choice = choice_of(processor, reason, destination, source, begin, end)
    settings = read_settings()
    prefix = workspace_name(find_workspace(workspace, settings))
    groups = [group for group in finish(_groups(connect(bootstrap, settings), prefix, choice)) if all_ or group.open]
    if as_json:
        say_json({"dead": [group._asdict() for group in groups]})
        return
    if not groups:
        say("[green]✓[/] no dead letters")
        return
    counts = ("open", "redriven", "discarded") if all_ else ("open",)
    table(
        ("processor", "reason", "destination", *counts, "first at", "last at", "newest", "what happened"),
        [
            (
                one.processor,
                one.reason,
                one.destination or "-",
                *([one.open, one.redriven, one.discarded] if all_ else [one.open]),
                _time(one.first_at),
                _time(one.last_at),
                one.newest,
                _happened(one.reason, one.detail),
            )
            for one in groups
        ],
    )
    say(f"\nSee one whole, and what redriving it would do: [bold]headrace dead show {groups[0].newest}[/]")


def show(
    place: Annotated[
        str, typer.Argument(metavar="PLACE", help="Where it lies, as `dead list` says: dead.STAGE/PARTITION/OFFSET.", show_default=False)
    ],
    as_bytes: Annotated[bool, typer.Option("--bytes", help="Write only the message, byte for byte as it came.")] = False,  # noqa: FBT002 (a switch)
    topology: RunTopologyOption = "",
    workspace: WorkspaceOption = "",
    bootstrap: BootstrapOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Show one dead letter whole: its headers, the message as it came, and what redriving it would do."""
    settings = read_settings()
    prefix = workspace_name(find_workspace(workspace, settings))
    choice = choice_of(places=[place])
    shown = finish(_shown(connect(bootstrap, settings), prefix, choice, deadletters_handling.run_topology(topology, settings)))
    value = shown.letter.record.value or b""
    if as_bytes:
        sys.stdout.buffer.write(value)
        sys.stdout.buffer.flush()
    elif as_json:
        print(encode(_as_json(shown)).decode("utf-8", "replace"))
    else:
        _print(shown)


def _print(shown: Shown) -> None:
    letter, record = shown.letter, shown.letter.record
    data = as_data(record)
    say(f"[bold]{escape(printable(letter.reason))}[/]: {_sentence(letter.reason)}")
    table((), [("place", letter.place), ("key", data["key"]), ("at", _time(record.timestamp)), *data["headers"].items()])
    say(f"\n[dim]{len(record.value or b'')} bytes[/]")
    say_plain(pretty(record.value or b""))
    say()
    if shown.handled is not None:
        because = f": {escape(printable(shown.handled.because))}" if shown.handled.because else ""
        say(f"It was {shown.handled.how} at {_time(shown.handled.at_ms)}{because}.")
    elif shown.line is None:
        say("No configuration is in force yet, so nothing can be said of redriving it.")
    elif shown.line.why:
        say(f"Redriving leaves it here: {escape(printable(shown.line.why))}.")
    else:
        say(f"[bold]headrace dead redrive {letter.place}[/] sends it to {shown.line.topic}, {shown.line.how}.")
        if shown.change is not None:
            say_plain("\n".join(difference(shown.change)))


def _as_json(shown: Shown) -> dict[str, Any]:
    line, change, handled = shown.line, shown.change, shown.handled
    redrive = None if line is None else {"topic": line.topic, "how": line.how, "stays": line.why}
    if redrive is not None and change is not None:
        redrive["diff"] = "\n".join(difference(change))
    return {
        **as_data(shown.letter.record),
        "place": shown.letter.place,
        "reason": shown.letter.reason,
        "handled": None if handled is None else handled._asdict(),
        "redrive": redrive,
    }


def grouped(letters: Iterable[Letter], handled: HandledLetters, groups: dict[tuple[str, str, str], Group]) -> None:
    """Add dead letters to their groups.

    Args:
        letters: Dead letters, in the order of their partition.
        handled: Which of them were handled.
        groups: Groups by stage, reason and destination; changed.
    """
    for letter in letters:
        record = letter.record
        done = handled.get(letter.stage, record.partition, record.offset)
        key = letter.stage, letter.reason, letter.destination
        group = groups.get(key) or Group(*key, 0, 0, 0, record.timestamp, record.timestamp, letter.place, letter.detail)
        count = "open" if done is None else done.how
        group = group._replace(**{count: getattr(group, count) + 1}, first_at=min(group.first_at, record.timestamp))
        if record.timestamp >= group.last_at:
            group = group._replace(last_at=record.timestamp, newest=letter.place, detail=letter.detail)
        groups[key] = group


async def _groups(broker: Broker, prefix: str, choice: Choice) -> list[Group]:
    handled = await read_handled(broker, prefix)
    groups: dict[tuple[str, str, str], Group] = {}
    async for letters in read_letters(broker, prefix, choice):
        grouped(filter(choice.holds, letters), handled, groups)
    return sorted(groups.values(), key=lambda group: -group.open)


async def _shown(broker: Broker, prefix: str, choice: Choice, topology: Topology) -> Shown:
    letter = await _letter(broker, prefix, choice)
    record = letter.record
    handled = (await read_handled(broker, prefix)).get(letter.stage, record.partition, record.offset)
    in_force = await read_in_force(broker, prefix, topology)
    if in_force is None:
        return Shown(letter, handled, None, None)
    return Shown(letter, handled, *await Redriver(broker, in_force, SystemClock()).explain(letter))


async def _letter(broker: Broker, prefix: str, choice: Choice) -> Letter:
    (place,) = choice.places
    found = parse_place(place)
    async for letters in read_letters(broker, prefix, choice):
        for letter in letters:
            if letter.place == place:
                return letter
        if found is not None and letters[-1].record.partition == found[1]:
            break  # a lower offset is gone or was never a message
    raise CommandError(f"there is no message at {place}", "it may be older than the topic keeps; see `headrace dead list`")


def _happened(reason: str, detail: str) -> str:
    sentence = _sentence(reason)
    return f"{sentence} {detail[:DETAIL_CHARACTERS]}".strip() if detail != sentence else sentence


def _sentence(reason: str) -> str:
    known = REASONS.get(reason)
    return known.sentence if known else ""


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
