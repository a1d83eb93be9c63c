"""`headrace demo`: the traffic of a made-up shop, to look at."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections import Counter
from typing import Annotated, Any, Final

import orjson
import typer
from rich.console import Console

from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.options import JsonOption, examples
from pipeline.app.cli.output import say, say_json
from pipeline.app.settings import read_settings
from pipeline.demo import DemoCall, shop_events
from pipeline.model.workspace import DEMO_WRITE_KEY
from pipeline.ports.http import Answer, Request
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.http.pyreqwest_client import PyreqwestClient

TICK_SECONDS: Final = 0.1
BATCH: Final = 100
"""Most calls in one request."""


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("demo", epilog=examples("headrace demo", "headrace demo --rate 500 --seconds 30 --seed 7"))(demo)


def demo(
    rate: Annotated[float, typer.Option("--rate", metavar="N", min=0.1, max=5000, help="Events a second.")] = 50.0,
    seconds: Annotated[float, typer.Option("--seconds", metavar="N", min=0, help="How long; 0 until Ctrl-C.")] = 60.0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="The same seed gives the same shop.")] = 1,
    write_key: Annotated[str, typer.Option("--write-key", metavar="KEY", help="Write key of the source.")] = DEMO_WRITE_KEY,
    *,
    as_json: JsonOption = False,
) -> None:
    """Send the traffic of a shop: visits, orders, mails; and, as in life, duplicates, late and bad events, and bots.

    The local receiver answers some requests with 429 or 500, so that each stage, reason, retry and dead letter shows within a minute.
    """
    settings = read_settings()
    console = Console(stderr=True)
    try:
        with console.status("sending") as status:
            counts = asyncio.run(_send(settings.collector, write_key, rate, seconds, seed, status.update))
    except KeyboardInterrupt:
        return
    if as_json:
        say_json(dict(counts))
    else:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()) if kind not in ("sent", "requests"))
        say(f"[green]✓[/] sent {counts['sent']} events in {counts['requests']} requests: {kinds}")


async def _send(collector: str, write_key: str, rate: float, seconds: float, seed: int, show: Any) -> Counter[str]:  # noqa: ANN401 (a status line; the options)
    clock, client = SystemClock(), PyreqwestClient()
    headers = {"authorization": f"Basic {b64encode(f'{write_key}:'.encode()).decode()}", "content-type": "application/json"}
    counts: Counter[str] = Counter()
    begin, started = clock.now_ms(), clock.monotonic()
    calls = shop_events(seed, begin, rate)
    waiting = next(calls)
    try:
        while not seconds or clock.monotonic() - started < seconds:
            due: list[DemoCall] = []
            while waiting.at_ms <= clock.now_ms():
                due.append(waiting)
                waiting = next(calls)
            for start in range(0, len(due), BATCH):
                part = due[start : start + BATCH]
                body = orjson.dumps({"batch": [call.body for call in part]})
                _check(await client.send(Request("POST", f"{collector}/v1/batch", headers, body)), collector)
                counts["requests"] += 1
                counts["sent"] += len(part)
                counts.update(call.kind for call in part)
            show(f"{counts['sent']} events sent, {counts['sent'] / max(0.1, clock.monotonic() - started):.0f}/s")
            await clock.sleep(TICK_SECONDS)
    finally:
        await client.close()
    return counts


def _check(answer: Answer, collector: str) -> None:
    if answer.status == 0:
        raise CommandError(f"nothing answers at {collector} ({answer.error})", "start it with `headrace up`, or set HEADRACE_PORT to its port")
    if answer.status not in (200, 429, 503):
        raise CommandError(f"the collector answered {answer.status}: {answer.body[:200].decode('utf-8', 'replace')}", "check --write-key")
