"""Runs the monitor as a process: `headrace run monitor`."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import shutil
import signal
from pathlib import Path
from typing import Final

from pipeline.app.settings import make_home
from pipeline.model.topics import Declared, topic_name
from pipeline.runtime.brokers.kafka import KafkaBroker
from pipeline.runtime.clock import SystemClock

_CHANGELOG: Final = {
    "cleanup.policy": "compact",
    "delete.retention.ms": "3600000",
    "min.cleanable.dirty.ratio": "0.2",
    "segment.bytes": str(16 * 1024**2),
    "segment.ms": "600000",
}
"""A window is written anew each second of its minute: small segments, soon compacted, keep the changelog near the size of the table."""

_log = logging.getLogger(__name__)

_LOG_LEVELS: Final = {
    "aiohttp": logging.WARNING,
    "aiokafka": logging.CRITICAL,  # while a broker is away it writes 50 errors a second
    "faust": logging.WARNING,
    "mode": logging.WARNING,
    "pipeline.app.monitor.transport": logging.WARNING,  # where faust's consumer logs
}


class MonitorUnavailable(Exception):
    """faust-streaming is not installed: it has no wheel for this machine."""


def run_monitor(*, bootstrap: str, prefix: str, home: Path, port: int) -> None:
    """Count the ledger and serve `GET /volumes.json?minutes=60` until SIGTERM or SIGINT.

    Args:
        bootstrap: `host:port` of a broker.
        prefix: The workspace's name.
        home: Folder of the local run; the monitor keeps its store under `state/<prefix>.monitor`.
        port: Port on 127.0.0.1.

    Raises:
        BrokerError: The broker does not answer.
        MonitorUnavailable: faust-streaming is missing; the rest of the product does without.
        OSError: The port is taken.
    """
    if importlib.util.find_spec("faust") is None:
        raise MonitorUnavailable("The monitor is left out: faust-streaming has no wheel for this machine. Volumes by minute are missing.")
    for name, level in _LOG_LEVELS.items():
        logging.getLogger(name).setLevel(level)
    make_home(home)
    asyncio.run(_run(bootstrap, prefix, home / "state" / f"{prefix}.monitor", port))


async def _run(bootstrap: str, prefix: str, state: Path, port: int) -> None:
    from pipeline.app.monitor.worker import CHANGELOG, Monitor, StoreUnusable  # noqa: PLC0415 (faust may be missing, and takes half a second)

    changelog = Declared(topic_name(prefix, CHANGELOG), 1, _CHANGELOG)
    await KafkaBroker(bootstrap).admin().create([changelog])  # not by faust, which makes one replica on any cluster
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await Monitor(bootstrap=bootstrap, prefix=prefix, state=state, clock=SystemClock()).run(port=port, stop=stop)
    except StoreUnusable as error:
        _log.warning("The monitor's store is made anew from its changelog: %s", str(error).partition("\n")[0])
        shutil.rmtree(state)
        await Monitor(bootstrap=bootstrap, prefix=prefix, state=state, clock=SystemClock()).run(port=port, stop=stop)
