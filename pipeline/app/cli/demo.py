"""`headrace demo`: the traffic of a made-up shop, to look at; with `--kill`, while processes of the run are killed."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Annotated, NamedTuple

import typer
from rich.console import Console

from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.options import JsonOption, examples
from pipeline.app.cli.output import say, say_json
from pipeline.app.cli.query import lake_folder
from pipeline.app.demo_sender import DemoSender
from pipeline.app.processes.run_file import read_run
from pipeline.app.settings import Settings, read_settings
from pipeline.demo import Tally
from pipeline.model.workspace import DEMO_WRITE_KEY
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.http.pooled_client import PooledClient


class _Options(NamedTuple):
    collector: str
    write_key: str
    rate: float
    seconds: float
    seed: int


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("demo", epilog=examples("headrace demo", "headrace demo --rate 500 --seconds 30 --seed 7", "headrace demo --kill"))(demo)


def demo(
    rate: Annotated[float, typer.Option("--rate", metavar="N", min=0.1, max=5000, help="Events a second.")] = 50.0,
    seconds: Annotated[float, typer.Option("--seconds", metavar="N", min=0, help="How long; 0 until Ctrl-C.")] = 60.0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="The same seed gives the same shop.")] = 1,
    write_key: Annotated[str, typer.Option("--write-key", metavar="KEY", help="Write key of the source.")] = DEMO_WRITE_KEY,
    *,
    kill: Annotated[
        bool, typer.Option("--kill", help="Kill (SIGKILL) a process of the local run every 5 s, and count what is stored, lost and doubled.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Send the traffic of a shop: visits, orders, mails; and, as in life, duplicates, late and bad events, and bots.

    The local receiver answers some requests with 429 or 500, so that each stage, reason, retry and dead letter shows within a minute.
    With --kill, the collector and the processors are killed in turn at random while it sends. It ends when every event is accounted for, with 1
    if one was lost or stored twice.
    """
    settings = read_settings()
    options = _Options(settings.collector, write_key, rate, seconds, seed)
    console = Console(stderr=True)
    if kill:
        _demo_kill(settings, options, console, as_json=as_json)
        return
    try:
        with console.status("sending") as status:
            counts = asyncio.run(_send(options, status.update))
    except KeyboardInterrupt:
        return
    if as_json:
        say_json(dict(counts))
    else:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()) if kind not in ("sent", "requests"))
        say(f"[green]✓[/] sent {counts['sent']} events in {counts['requests']} requests: {kinds}")


async def _send(options: _Options, show: Callable[[str], None]) -> Counter[str]:
    clock, client = SystemClock(), PooledClient(private_addresses=True)
    sender = DemoSender(client, clock, collector=options.collector, write_key=options.write_key)
    began = clock.monotonic()

    def tell() -> None:
        show(f"{sender.counts['sent']} events sent, {sender.counts['sent'] / max(0.1, clock.monotonic() - began):.0f}/s")

    stop = asyncio.Event()
    if options.seconds:
        asyncio.get_running_loop().call_later(options.seconds, stop.set)
    try:
        await sender.run(options.rate, options.seed, stop, tell)
    finally:
        await client.close()
    return sender.counts


def _demo_kill(settings: Settings, options: _Options, console: Console, *, as_json: bool) -> None:
    run = read_run(settings.home)
    if run is None:
        raise CommandError(f"nothing runs in {settings.home}", "start a local run with `headrace up`: only its processes are ever killed")
    options = options._replace(collector=f"http://127.0.0.1:{run.collector}")
    with console.status("sending") as status:
        kills, count, seconds = asyncio.run(_send_and_kill(settings.home, lake_folder(settings, "", ""), options, status.update))
    if as_json:
        say_json({**count._asdict(), "kills": dict(kills), "drained_seconds": round(seconds, 1)})
    else:
        good = not count.lost and not count.doubled
        killed = ", ".join(f"{name} {number}" for name, number in sorted(kills.items()))
        say(
            f"{'[green]✓[/]' if good else '[bold red]✗[/]'} sent {count.sent}, stored {count.stored}, lost {count.lost}, doubled {count.doubled}; "
            f"{kills.total()} kills{f' ({killed})' if killed else ''}; "
            f"all accounted for, and every process back, {seconds:.1f} s after the last event"
        )
    if count.lost or count.doubled:
        raise typer.Exit(1)


async def _send_and_kill(home: Path, lake: Path, options: _Options, show: Callable[[str], None]) -> tuple[Counter[str], Tally, float]:
    from pipeline.app.demo_kill import KilledDemo  # noqa: PLC0415 (DuckDB is 30 MB that the demo alone should not carry)

    clock, client = SystemClock(), PooledClient(private_addresses=True)
    killed = KilledDemo(home, lake, clock, Random())  # noqa: S311 (what is killed need not be secret)

    def tell(count: Tally) -> None:
        last = f", last {killed.last}" if killed.last else ""
        show(
            f"sent {count.sent}  stored {count.stored}  on the way {count.on_the_way}  lost {count.lost}  doubled {count.doubled}"
            f"  ·  {killed.kills.total()} kills{last}"
        )

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, _stop_once, loop, stop)
    if options.seconds:
        loop.call_later(options.seconds, stop.set)
    sender = DemoSender(client, clock, collector=options.collector, write_key=options.write_key, patient=True, acknowledged=killed.acknowledged)
    beside = [asyncio.create_task(killed.kill()), asyncio.create_task(killed.watch(tell))]
    try:
        sending = asyncio.create_task(sender.run(options.rate, options.seed, stop))
        await asyncio.wait([sending, *beside], return_when=asyncio.FIRST_COMPLETED)  # the others end by an error only
        for task in (sending, *beside):
            if task.done():
                task.result()
        ended = clock.monotonic()
        await _cancel(beside)
        count = await killed.drain(tell)
        return killed.kills, count, clock.monotonic() - ended
    finally:
        await _cancel(beside)
        await client.close()


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _stop_once(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """End sending and count; the next Ctrl-C ends at once."""
    stop.set()
    loop.remove_signal_handler(signal.SIGINT)
