"""A collector in a process of its own, as `headrace run collector` runs it, whose broker is a file: what an attack costs is this process's alone.

`python -m tests.faults.collector_member FILE SECONDS BROKEN` prints its port. Each stored record is a line of FILE: topic, message id,
size, and the value where it is small. SECONDS
are its deadlines, 0 for those of the product. BROKEN names a deliberately broken build (`tests.faults.broken_collector`), or is empty.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson
import uvloop

from pipeline.app.collector import Checking, Reply, RouteRequest, Tokens, bodies, listener, serve_collector
from pipeline.app.processes.admission import Admission
from pipeline.app.processes.options import call_schemas, prepare_process
from pipeline.ingest import WriteKeys
from pipeline.model.record import Output
from pipeline.model.workspace import Source, Workspace
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.metrics.prometheus import PrometheusMetrics
from tests.faults.broken_collector import BROKEN

HOOK_SECRETS = ("whsec_b25lIG9mIHR3byBzZWNyZXRzIQ==", "whsec_dGhlIG90aGVyIG9mIHRoZW0gISE=")
"""The old and the new secret of the webhook source `hooks`, which signs as Standard Webhooks does."""
WORKSPACE = Workspace(
    "shop",
    version=1,
    sources={
        "web": Source("web", ("demo",)),
        "app": Source("app", ("app-key",)),
        "hooks": Source("hooks", type="webhook", preset="generic", secrets=HOOK_SECRETS),
    },
)
LONG_KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
"""A key as `headrace source add` makes one."""
LONG_DISABLED = "f0e1d2c3b4a5968778695a4b3c2d1e0f"
KEYS = {"demo": "web", "app-key": "app", LONG_KEY: "app"}
SMALL_BYTES = 8 * 1024
LARGE_BYTES = 8 * 1024 * 1024
"""A page that fits into no buffer of the system."""
DISABLED = {"old-key": "web", LONG_DISABLED: "app"}


class FileProducer:
    """Takes records and writes a line for each.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")

    async def start(self) -> None:
        """Do nothing."""

    async def send(self, outputs: Sequence[Output]) -> None:
        """Write the lines."""
        self._file.writelines(_line(output) for output in outputs)
        self._file.flush()

    async def stop(self) -> None:
        """Close the file."""
        self._file.close()


def _line(output: Output) -> bytes:
    value = output.value or b""
    try:
        ident = orjson.loads(value).get("messageId", "")
    except (ValueError, AttributeError):
        ident = ""
    kept = ident if isinstance(ident, str) else ""
    shown = value.decode("utf-8", "replace") if len(value) <= SMALL_BYTES else ""
    return orjson.dumps({"topic": output.topic, "id": kept, "bytes": len(value), "value": shown}) + b"\n"


async def _large(_request: RouteRequest) -> Reply:
    return Reply(200, bytes(LARGE_BYTES), "application/octet-stream")


async def main(path: Path, seconds: float, broken: str) -> None:
    """Serve until told to stop."""
    if seconds:
        listener.HEAD_SECONDS = listener.UNREAD_SECONDS = int(seconds)  # type: ignore[misc]
        bodies.BODY_SECONDS = seconds  # type: ignore[misc]
    if broken:
        BROKEN[broken]()
    admission = Admission(str)
    admission.take(WORKSPACE)
    producer, clock, stop = FileProducer(path), SystemClock(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await serve_collector(
        host="127.0.0.1",
        port=0,
        producer=producer,
        workspace=lambda: WORKSPACE,
        keys=lambda: WriteKeys(KEYS, DISABLED),
        tokens=Tokens(dict, b"0" * 32),
        checking=Checking(call_schemas()),
        hook=admission.hook,
        metrics=PrometheusMetrics(),
        clock=clock,
        routes={("GET", "/large"): _large},
        stop=stop,
        listening=lambda port: print(port, flush=True),
    )
    await producer.stop()


if __name__ == "__main__":
    prepare_process()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]))
