"""`headrace run`: one process of the product, as a container or `headrace up` starts it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Annotated, Final

import typer

from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.options import BootstrapOption, examples
from pipeline.app.cli.output import say_plain
from pipeline.app.cli.topics import TopologyOption
from pipeline.app.declared import find_workspace, read_topology, read_workspace
from pipeline.app.processes.options import ProcessOptions
from pipeline.app.settings import Secrets, Settings, is_loopback, read_settings
from pipeline.declaration import did_you_mean

_OTHERS: Final = ("collector", "monitor", "receiver")


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        "run",
        epilog=examples(
            "headrace run validate --topology default --bootstrap kafka:9092 --prefix shop --host 0.0.0.0 --port 9100",
            "headrace run translate --bootstrap kafka:9092 --prefix shop",
            "headrace run collector --bootstrap kafka:9092 --prefix shop --host 0.0.0.0 --port 7070 --workers 4",
        ),
    )(run)


def run(  # noqa: PLR0913, PLR0917 (typer makes an option of each argument)
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="PROCESSOR...",
            help="Processors of the topology, which then share a process; or collector, monitor or receiver alone.",
            show_default=False,
        ),
    ],
    topology: TopologyOption = "default",
    bootstrap: BootstrapOption = "",
    prefix: Annotated[
        str,
        typer.Option("--prefix", metavar="NAME", help="The workspace's name. Default: that of the workspace.yaml found.", show_default=False),
    ] = "",
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the process; local state lies under it.", show_default=False)] = "",
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", help="Port of health and metrics (of HTTP, for the collector); 0 for a free one.")
    ] = 0,
    home: Annotated[str, typer.Option("--home", metavar="DIR", help="Folder of local state. Default: HEADRACE_HOME.", show_default=False)] = "",
    time_scale: Annotated[float, typer.Option("--time-scale", metavar="FACTOR", help="Factor of all retry delays, for demonstrations.")] = 1.0,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", min=1, max=64, help="Processes of the collector behind its port; one for each core is enough.")
    ] = 1,
    worker: Annotated[str, typer.Option("--worker", hidden=True)] = "",
) -> None:
    """Run one process: processors of a topology, or the collector.

    What it works on comes from the topic `config`, which `headrace apply` writes; it waits until there is a version. SIGTERM lets it finish what is
    in flight and hand its partitions on; killing it at any moment loses and doubles nothing.
    """
    settings = read_settings()
    folder = Path(home) if home else settings.home
    try:
        if names == ["receiver"]:
            _receiver(folder, port)
            return
        options = _options(settings, bootstrap, prefix, topology, folder, host, port, time_scale)
        if names == ["collector"]:
            _collector(options, topology, workers, worker)
        elif workers > 1:
            raise CommandError("only the collector has workers", "start a processor several times instead: they share its partitions", status=2)
        else:
            _run(options, names, name)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
            raise
        raise CommandError(f"{host}:{port} cannot be listened on: {error.strerror}", "stop what listens there, or give another --port") from error


def _run(options: ProcessOptions, names: list[str], name: str) -> None:
    if names == ["monitor"]:
        from pipeline.app.monitor.run import MonitorUnavailable, run_monitor  # noqa: PLC0415 (the same)

        try:
            run_monitor(bootstrap=options.bootstrap, prefix=options.prefix, home=options.home, port=options.port)
        except MonitorUnavailable as error:
            say_plain(str(error))
    else:
        _processors(options, names, name)


def _collector(options: ProcessOptions, topology: str, workers: int, worker: str) -> None:
    from pipeline.app.collector import DemoKeyExposed, PortTaken  # noqa: PLC0415 (each process loads only what it runs)
    from pipeline.app.processes.collect import collect  # noqa: PLC0415 (the same)
    from pipeline.app.processes.workers import Worker, WorkersUnavailable, run_workers  # noqa: PLC0415 (the same)

    try:
        if workers == 1:
            collect(options, Worker.read(worker) if worker else None)
            return
        told = ["run", "collector", "--bootstrap", options.bootstrap, "--prefix", options.prefix, "--topology", topology, "--host", options.host]
        told += ["--home", str(options.home), "--time-scale", str(options.time_scale)]
        run_workers(options, workers, told, os.environ, say_plain)  # noqa: TID251 (the workers get what this one has)
    except (DemoKeyExposed, PortTaken, WorkersUnavailable) as error:
        raise CommandError(str(error)) from error


def _processors(options: ProcessOptions, names: list[str], name: str) -> None:
    known = options.topology.processors
    for each in names:
        if each not in known:
            close = did_you_mean(each, (*known, *_OTHERS))
            raise CommandError(f"the topology {options.topology.name} has no processor {each}", close or f"it has {', '.join(known)}", status=2)
    from pipeline.app.processes.work import work  # noqa: PLC0415 (each process loads only what it runs)

    work(options, name or names[0], names, lambda port: say_plain(f"health and metrics on {options.host}:{port}"))


def _receiver(home: Path, port: int) -> None:
    from pipeline.app.demo_workspace import SECRET  # noqa: PLC0415 (each process loads only what it runs)
    from pipeline.app.receiver import run_receiver  # noqa: PLC0415 (the same)

    run_receiver(port=port, secret=Secrets(home).resolve(f"${{env:{SECRET}}}"))


def _options(settings: Settings, bootstrap: str, prefix: str, topology: str, home: Path, host: str, port: int, time_scale: float) -> ProcessOptions:
    address = bootstrap or settings.bootstrap
    if not address:
        raise CommandError("no Kafka is known", "give --bootstrap HOST:PORT, or set HEADRACE_BOOTSTRAP")
    name = prefix or read_workspace(find_workspace("", settings)).name
    # Where only this machine can declare destinations, they may lie on it: the local run's receiver does.
    private = settings.private_destinations if settings.private_destinations is not None else is_loopback(host)
    return ProcessOptions(address, name, read_topology(topology), home, host, port, time_scale, private, settings.trusted_proxies)
