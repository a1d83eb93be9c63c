"""`headrace up`: the whole product on this machine."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.panel import Panel
from rich.status import Status

from pipeline.app.cli.options import examples
from pipeline.app.cli.topics import TopologyOption
from pipeline.app.processes.run_file import Run
from pipeline.app.settings import read_settings
from pipeline.model.workspace import DEMO_WRITE_KEY

_QUERY: Final = 'query "select event, count(*) from tracks group by 1"'


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("up", epilog=examples("headrace up", "HEADRACE_PORT=7171 HEADRACE_HOME=/srv/headrace headrace up --topology fused"))(up)


def up(
    topology: TopologyOption = "default",
    bootstrap: Annotated[
        str, typer.Option("--bootstrap", metavar="HOST:PORT", help="Use this Kafka instead of starting one.", show_default=False)
    ] = "",
    workspace: Annotated[
        str,
        typer.Option(
            "--workspace", "-w", metavar="PATH", help="The workspace to run. Default: workspace.yaml here, else the demo one.", show_default=False
        ),
    ] = "",
    time_scale: Annotated[float, typer.Option("--time-scale", metavar="FACTOR", help="Factor of all retry delays, for demonstrations.")] = 1.0,
) -> None:
    """Start everything on this machine: Kafka, the collector, the processors of the topology, and the live page.

    All state lies in HEADRACE_HOME (default ./.headrace); the collector listens on HEADRACE_PORT (default 7070), on loopback. Ctrl-C stops all of it
    in order; the next start finds the data again.
    """
    from pipeline.app.up import Local, UpOptions  # noqa: PLC0415 (what starts a broker is 20 MB that no process it starts should carry)

    settings = read_settings()
    here = Path("workspace.yaml")
    declared = Path(workspace) if workspace else here if here.exists() else None
    console = Console(highlight=False)
    options = UpOptions(settings.home.absolute(), settings.port, bootstrap, topology, declared, time_scale)
    with console.status("starting") as status:
        local = Local(options, lambda text: _progress(console, status, text), os.environ)  # noqa: TID251 (the processes get what this one has)
        asyncio.run(local.run(lambda run: _started(console, status, options.home, run)))
    console.print("stopped; the data is kept in", str(options.home))


def _progress(console: Console, status: Status, text: str) -> None:
    if console.is_terminal:
        status.update(text)
    console.print(f"[dim]·[/] {text}")


def _started(console: Console, status: Status, home: Path, run: Run) -> None:
    status.stop()
    address = f"http://127.0.0.1:{run.collector}"
    key = DEMO_WRITE_KEY if run.receiver else "YOUR_WRITE_KEY"
    lines = [
        f"[bold]Live page[/]  {address}/",
        f"[bold]Demo page[/]  {address}/demo  a website with analytics.js",
        f"[bold]Collector[/]  {address}/v1  write key [bold]{key}[/]",
        f"[bold]Kafka[/]      {run.bootstrap}  topics {run.workspace}.*",
    ]
    if run.receiver:
        lines.append(f"[bold]Receiver[/]   http://127.0.0.1:{run.receiver}/receipts  stands for two tools")
    lines.append(f"[bold]Home[/]       {home}")
    console.print(Panel("\n".join(lines), title="Headrace is up", border_style="green", expand=False))
    # Outside of the panel and unwrapped, so that they can be pasted whatever the width of the terminal.
    # `make run` starts it from a virtual environment that the person's shell need not know.
    command = "headrace" if shutil.which("headrace") else sys.argv[0]
    for title, snippet in first_steps(address, key, command):
        console.print(f"\n[bold]{title}[/]")
        console.print(snippet, markup=False, soft_wrap=True)
    console.print("\nCtrl-C stops everything in order.")


def first_steps(address: str, key: str, command: str = "headrace") -> list[tuple[str, str]]:
    """Give what to paste after a start.

    Args:
        address: The collector's address.
        key: A write key, or what stands for one that is not known here.
        command: How the shell of whoever reads it finds `headrace`.

    Returns:
        Titles and code. The demo's shop is offered where its write key is known only: elsewhere it would be refused.
    """
    send = "demo" if key == DEMO_WRITE_KEY else "send track --user u1 --event Hello"
    return [
        ("Send a first event", f'curl -u {key}: {address}/v1/track -d \'{{"userId":"u1","event":"Hello"}}\''),
        (
            "Python: pip install segment-analytics-python",
            (
                "import segment.analytics as analytics\n"
                f'analytics.write_key, analytics.host = "{key}", "{address}"\n'
                'analytics.track("u1", "Hello"); analytics.flush()'
            ),
        ),
        (
            "Node: npm install @segment/analytics-node",
            (
                'import { Analytics } from "@segment/analytics-node"\n'
                f'new Analytics({{ writeKey: "{key}", host: "{address}" }}).track({{ userId: "u1", event: "Hello" }})'
            ),
        ),
        ("See it", "\n".join(f"{command} {one}" for one in (send, "status", _QUERY))),
    ]
