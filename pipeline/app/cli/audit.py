"""`headrace audit`: whether every event is accounted for, as sums that anyone can check."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, NamedTuple

import typer

from pipeline.app.cli.cluster import connect, finish, read_config
from pipeline.app.cli.options import BootstrapOption, JsonOption, RunTopologyOption, WorkspaceOption, examples
from pipeline.app.cli.output import say, say_json, table
from pipeline.app.cli.tail import find_topic
from pipeline.app.cli.times import TIME_FORMS, time_ms
from pipeline.app.declared import find_workspace, read_topology, workspace_name
from pipeline.app.live.graph import groups
from pipeline.app.processes.run_file import read_run
from pipeline.app.settings import read_settings
from pipeline.audit import ENDS, FAULTS, Accounts, Balance, Finding, Place, Readers, Report, Span, questions, read_transaction, report
from pipeline.model.topics import topic_name
from pipeline.model.topology import Topology
from pipeline.ports.broker import Broker
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.replay.jobs import Jobs


class Range(NamedTuple):
    """A range of broker time in milliseconds since the epoch; None for no bound."""

    begin: int | None
    end: int | None


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        "audit",
        epilog=examples(
            "headrace audit", "headrace audit --from 2026-05-01T12:00:00Z --until 2026-05-01T13:00:00Z", "headrace audit --json | jq .residue"
        ),
    )(audit)


def audit(
    begin: Annotated[
        str,
        typer.Option("--from", metavar="TIME", help=f"Only what was done from then on: {TIME_FORMS}.", show_default=False),
    ] = "",
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="Only what was done before then.", show_default=False)] = "",
    topology: RunTopologyOption = "",
    workspace: WorkspaceOption = "",
    bootstrap: BootstrapOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Add up what the ledger says each processor did, hold it against what lies in the topics, and say what is missing, and where.

    Each processor: in = passed + dropped + dead + blocked + expired. Each arrow between two: written = taken + under way + expired.
    What has expired, retention deleted before it was read. Ends with 1 when a residue is left.
    """
    chosen = Range(time_ms("--from", begin), time_ms("--until", until))
    settings = read_settings()
    run = None if topology else read_run(settings.home)
    graph = read_topology(topology or (run.topology if run else "default"))
    found = finish(examine(connect(bootstrap, settings), workspace_name(find_workspace(workspace, settings)), graph, chosen))
    if as_json:
        say_json(as_data(found))
    else:
        _show(found)
    if found.residue:
        raise typer.Exit(1)


async def examine(broker: Broker, prefix: str, topology: Topology, chosen: Range) -> Report:
    """Read the ledger, count in the topics what the report needs, and draw the conclusion.

    Args:
        broker: The cluster.
        prefix: The workspace's name.
        topology: The topology that is run.
        chosen: Which part of the ledger, by the broker's time.

    Returns:
        The report.

    Raises:
        CommandError: There is no ledger.
    """
    name, _ = await find_topic(broker, "ledger", prefix)
    accounts = Accounts((await Jobs(broker, prefix, SystemClock()).read()).resets)
    whole = chosen == Range(None, None)
    end = 0
    async for records in broker.reader().read(name):
        if not end and records:
            # Where its oldest records have expired, what was read and what was written no longer begin at the same event.
            whole = whole and records[0].offset == 0
        for record in records:
            end = record.offset + 1
            if (chosen.begin is None or record.timestamp >= chosen.begin) and (chosen.end is None or record.timestamp < chosen.end):
                transaction = read_transaction(record.value)
                if transaction is not None:
                    accounts.add(transaction, record.timestamp)
    declared = (await read_config(broker, prefix)).workspace
    readers = _readers(accounts, groups(topology, declared) if declared else {})
    counted = await _count(broker, prefix, questions(accounts, topology, readers, whole=whole))
    lags = await _lags(broker, prefix, readers) if whole else {}
    async for records in broker.reader().read(name, start={0: end}):
        if records:  # Something was done meanwhile, so these lags belong to a later moment than the ledger.
            lags = {}
    return report(accounts, topology, readers, counted, lags, whole=whole)


async def _lags(broker: Broker, prefix: str, readers: Readers) -> Mapping[Place, int]:
    admin = broker.admin()
    known = await admin.topics()
    lags: dict[Place, int] = {}
    for group, topics in readers.items():
        there = [name for name in (topic_name(prefix, topic) for topic in topics) if name in known]
        for (name, partition), lag in (await admin.lags(topic_name(prefix, group), there)).items():
            lags[group, name.removeprefix(f"{prefix}."), partition] = lag
    return lags


def _readers(accounts: Accounts, declared: Readers) -> Readers:
    """Give what is declared and what the ledger knows besides: a destination that is no longer there had its share of the events."""
    found = {group: list(topics) for group, topics in declared.items()}
    for group, topic, _ in accounts.chains:
        topics = found.setdefault(group, [])
        if topic not in topics:
            topics.append(topic)
    return found


async def _count(broker: Broker, prefix: str, spans: Iterable[Span]) -> Mapping[Span, int]:
    """Count the committed records of ranges, reading each topic once."""
    by_topic: defaultdict[str, list[Span]] = defaultdict(list)
    for span in spans:
        by_topic[span.topic].append(span)
    known = await broker.admin().topics()
    counted: dict[Span, int] = {}
    for topic, asked in sorted(by_topic.items()):
        name = topic_name(prefix, topic)
        if name not in known:
            continue
        start: dict[int, int] = {}
        for span in asked:
            if span.partition < known[name]:
                start[span.partition] = min(span.start, start.get(span.partition, span.start))
        offsets = {number: array("q") for number in start}
        async for records in broker.reader().read(name, start=start, partitions=start.keys()):
            for record in records:
                offsets[record.partition].append(record.offset)
        for span in asked:
            if span.partition in offsets:
                there = offsets[span.partition]
                counted[span] = bisect_left(there, span.end) - bisect_left(there, span.start)
    return counted


def as_data(found: Report) -> dict[str, Any]:
    """Write a report as plain data.

    Args:
        found: The report.

    Returns:
        What `--json` prints.
    """
    return {
        "residue": found.residue,
        "under_way": sum(balance.under_way for balance in found.balances),
        "expired": _expired(found),
        "whole": found.whole,
        "processors": [
            {
                "processor": name,
                "in": one.taken + found.expired(name),
                "passed": one.passed,
                **one.ends,
                "expired": found.expired(name),
                "lanes": one.lanes,
                "residue": one.residue,
            }
            for name, one in found.processors.items()
        ],
        "arrows": [
            {
                "arrow": balance.arrow.name,
                "written": balance.arrow.written,
                "taken": balance.taken,
                "under_way": balance.under_way,
                "expired": balance.expired,
                "residue": balance.residue,
                "exact": balance.exact,
            }
            for balance in found.balances
        ],
        "findings": [
            {**finding.span._asdict(), "processor": finding.processor, "kind": finding.kind, "records": finding.records} for finding in found.findings
        ],
    }


def _show(found: Report) -> None:
    rows = [
        (name, one.taken + lost, one.passed, *(_reasons(one.ends[end]) for end in ENDS), lost, one.residue)
        for name, one in found.processors.items()
        for lost in (found.expired(name),)
    ]
    table(("processor", "in", "= passed", *(f"+ {end}" for end in ENDS), "+ expired", "+ residue"), rows)
    say()
    table(
        ("arrow", "written", "= taken", "+ under way", "+ expired", "+ residue"), [_arrow(balance, whole=found.whole) for balance in found.balances]
    )
    if not found.whole:
        say("\nThe arrows are approximate: what was written before the range is read in it, and what was written in it is read after it.")
    if found.findings:
        say()
        table(
            ("offsets", "taken by", "what", "records"),
            [(_place(one.span), one.processor, one.kind, one.records) for one in found.findings],
        )
    say(f"\n{closing_line(found)}")


def _arrow(balance: Balance, *, whole: bool) -> tuple[object, ...]:
    written = "" if balance.arrow.written is None else balance.arrow.written
    residue: object = balance.residue if balance.exact else ""
    return balance.arrow.name, written, balance.taken, balance.under_way if whole else "", balance.expired, residue


def _reasons(reasons: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()) or "0"


def _place(span: Span) -> str:
    return f"{span.topic}/{span.partition}/{span.start} to {span.end - 1}"


def closing_line(found: Report) -> str:
    """Say in one line whether every event is accounted for.

    Args:
        found: The report.

    Returns:
        `residue 0: …`, or what is missing, and where.
    """
    if found.residue:
        return f"[red]residue {found.residue}[/]: {'; '.join(_faults(found))}"
    if not found.processors:
        return "residue 0: nothing was done in this time"
    if expired := _expired(found):
        lost = "; ".join(f"{_place(one.span)} before {one.processor} had read it" for one in found.findings if one.kind == "expired")
        return f"[yellow]residue 0[/]: every event is accounted for, but up to {expired} records are lost: retention deleted {lost}"
    under_way = sum(balance.under_way for balance in found.balances)
    noun = "record is" if under_way == 1 else "records are"
    return f"[green]residue 0[/]: every event is accounted for{f', {under_way} {noun} under way' if under_way else ''}"


def _expired(found: Report) -> int:
    return sum(one.records for one in found.findings if one.kind == "expired")


def _faults(found: Report) -> Iterator[str]:
    for name, account in found.processors.items():
        if account.residue:
            yield f"{name} took {account.taken} and says nothing of {account.residue}"
    for balance in found.balances:
        if balance.residue > 0:
            yield f"{balance.residue} were lost on {balance.arrow.name}"
        elif balance.residue < 0:
            yield f"{-balance.residue} more were taken than written on {balance.arrow.name}"
    yield from (_fault(finding) for finding in found.findings if finding.kind in FAULTS)


def _fault(finding: Finding) -> str:
    return f"{finding.records} {finding.kind} of {finding.processor} at {_place(finding.span)}"
