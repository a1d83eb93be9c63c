"""`headrace status`: what runs, where, and how far behind it is."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import typer
from rich.markup import escape

from pipeline.app.cli.cluster import finish
from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.options import JsonOption, examples
from pipeline.app.cli.output import say, say_json, table
from pipeline.app.processes.probe import is_ready, read_page
from pipeline.app.processes.replays import job_lines
from pipeline.app.processes.run_file import READY_PATHS, Run, StartedProcess, read_run
from pipeline.app.processes.volumes import volume_lines
from pipeline.app.settings import read_settings

MINUTES: Final = 10
SHOWN: Final = 12


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("status", epilog=examples("headrace status", "headrace status --json"))(status)


def status(*, as_json: JsonOption = False) -> None:
    """Say for each process of `headrace up` whether it is ready, and for each consumer group its partitions and lag."""
    settings = read_settings()
    run = read_run(settings.home)
    if run is None:
        raise CommandError(f"nothing runs in {settings.home}", "start it with `headrace up`, or set HEADRACE_HOME to the home of the run")
    described = finish(describe(run, settings.home))
    if as_json:
        say_json(described)
        return
    say(f"[bold]{run.workspace}[/] · topology {run.topology} · collector http://127.0.0.1:{run.collector} · Kafka {run.bootstrap}")
    say(f"[dim]{settings.home} holds {described['disk_bytes'] / 1024**2:.0f} MB[/]")
    rows = []
    for process in described["processes"]:
        groups = process["groups"] or [{"group": "", "partitions": [], "lag": None}]
        for index, group in enumerate(groups):
            first = index == 0
            rows.append(
                (
                    process["name"] if first else "",
                    process["pid"] if first else "",
                    process["port"] if first else "",
                    ("ready" if process["ready"] else "not ready") if first else "",
                    group["group"],
                    len(group["partitions"]) or "",
                    "" if group["lag"] is None else group["lag"],
                )
            )
    table(("process", "pid", "port", "state", "group", "partitions", "lag"), rows)
    _say_destinations(described["processes"])
    for process in described["processes"]:
        for group in process["groups"]:
            if group.get("trouble"):
                say(f"\n[bold red]{group['group']}[/]: {escape(group['trouble'])}")
    _say_jobs(described["jobs"])
    volumes = described["volumes"]
    if volumes:
        say(f"\n[bold]Events a minute[/], over the last {MINUTES} minutes")
        shown = [(one["source"], one["event"], one["verdict"], one["reason"], round(sum(one["counts"]) / MINUTES, 1)) for one in volumes[:SHOWN]]
        table(("source", "event", "verdict", "reason", "a minute"), shown)
        if len(volumes) > SHOWN:
            say(f"and {len(volumes) - SHOWN} more lines with --json")


def _say_jobs(jobs: list[dict[str, Any]]) -> None:
    if jobs:
        say("\n[bold]Replay jobs[/]")
        rows = [(one["id"], one["state"], one["left"], one["offsets"], f"{one['rate']:g}/s", ", ".join(one["targets"])) for one in jobs]
        table(("job", "state", "left", "of", "at most", "for"), rows)


def _say_destinations(processes: list[dict[str, Any]]) -> None:
    """Show the destinations that do not take requests, or whose requests wait for one another."""
    rows = [
        (one["destination"], one["state"], one["reason"], backlog(one, process["groups"]), one["held"] or "")
        for process in processes
        for one in process["destinations"]
        if one["state"] != "open" or one["held"]
    ]
    if rows:
        say("\n[bold]Destinations[/] that wait; their backlog is kept")
        table(("destination", "state", "reason", "backlog", "held for order"), rows)


def backlog(destination: dict[str, Any], groups: list[dict[str, Any]]) -> int:
    """Say how many requests wait for a destination.

    Args:
        destination: What a process that delivers to it says of it.
        groups: The group members of that process, each with its topics and its lag.

    Returns:
        The lag of those that read its requests, and what they have taken up and not finished.
    """
    topic = f".requests.{destination['destination']}"
    lag: int = sum(group["lag"] for group in groups if any(name.endswith(topic) for name in group["topics"]))
    return lag + int(destination["unfinished"])


async def describe(run: Run, home: Path) -> dict[str, Any]:
    """Ask every process of a run about itself.

    Args:
        run: The run.
        home: Its home.

    Returns:
        What `headrace status --json` prints.
    """
    processes = await asyncio.gather(*(_process(process) for process in run.processes))
    return {
        "workspace": run.workspace,
        "topology": run.topology,
        "bootstrap": run.bootstrap,
        "collector": f"http://127.0.0.1:{run.collector}",
        "ready": run.ready,
        "disk_bytes": disk_bytes(home),
        "processes": processes,
        "jobs": await job_lines(run) or [],
        "volumes": await volume_lines(run, MINUTES) or [],
    }


def disk_bytes(home: Path) -> int:
    """Add up what a run keeps on disk; each topic of a local Kafka is capped, so it does not grow for ever.

    Args:
        home: Home of the run.

    Returns:
        Bytes.
    """
    total = 0
    for folder, _, files in os.walk(home):
        for name in files:
            with suppress(OSError):  # segments come and go
                total += (Path(folder) / name).lstat().st_blocks * 512
    return total


async def _process(process: StartedProcess) -> dict[str, Any]:
    described: dict[str, Any] = {"name": process.name, "pid": process.pid, "port": process.port, "ports": [process.port]}
    described |= {"groups": [], "destinations": []}
    if process.name == "kafka":
        return {**described, "ready": True}
    described["ready"] = await is_ready(process.port, READY_PATHS.get(process.name, "/health/ready"))
    answer = await read_page(process.port)
    described["groups"] = (answer or {}).get("groups", [])
    described["destinations"] = (answer or {}).get("destinations", [])
    described["partitions"] = [partition for group in described["groups"] for partition in group["partitions"]]
    described["lag"] = sum(group["lag"] for group in described["groups"])
    return described
