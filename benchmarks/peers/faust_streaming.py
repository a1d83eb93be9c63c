"""faust-streaming: the same work but for dedup, at least once, in a virtual environment of its own in the run's folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.peers.comparison import Given, NotRunError, run_peer
from pipeline.resources import resource

PACKAGES: Final = ("faust-streaming==0.15.3", "orjson==3.13.0", "jsonschema-rs==0.60.3", "cramjam==2.14.0", "uvloop==0.23.0")
WORKER: Final = Path(__file__).parent / "faust-streaming" / "worker.py"
LOOP: Final = "uvloop"
INSTALL_SECONDS: Final = 240
SETTINGS: Final[dict[str, Any]] = {
    "processing_guarantee": "at_least_once",
    "producer_acks": -1,
    "producer_compression_type": "snappy",
    "producer_linger": 0.005,
    "producer_max_batch_size": 262_144,
    "consumer_auto_offset_reset": "earliest",
    "broker_max_poll_records": 2_000,
    "stream_buffer_maxsize": 16_384,
    "topic_disable_leader": True,
    "web_enabled": False,
    "store": "memory://",
}
"""Its settings for throughput; what is not named is its default."""


def _install(folder: Path) -> str:
    python = folder / "bin" / "python"
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True, timeout=INSTALL_SECONDS)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
        subprocess.run(pip, check=True, capture_output=True, timeout=INSTALL_SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, OSError) as error:
        raise NotRunError(f"its packages cannot be installed: {error}") from error
    return str(python)


async def run(given: Given, output: str) -> dict[str, Any]:
    """Run it over the input.

    Args:
        given: The input.
        output: Topic that it writes to.

    Returns:
        Its figures and its settings.

    Raises:
        NotRunError: It cannot run here.
    """
    folder = given.cluster.home / "faust-streaming"
    folder.mkdir()
    python = _install(folder / "venv")
    peer = folder / "peer.json"
    settings = {**SETTINGS, "datadir": str(folder / "data")}
    peer.write_bytes(
        orjson.dumps(
            {
                "id": f"{given.cluster.prefix}.faust-streaming",
                "bootstrap": given.cluster.broker.bootstrap,
                "input": given.input,
                "output": output,
                "schemas": str(resource("schemas") / "calls"),
                "agents": given.agents,
                "routes": given.routes,
                "settings": settings,
            }
        )
    )
    figures = await run_peer([python, str(WORKER), "--loop", LOOP, "worker", "-l", "warn"], given.records, folder / "peer.log", {"PEER": str(peer)})
    return {**figures, "guarantee": "at least once, no dedup", "settings": {**SETTINGS, "loop": LOOP, "packages": " ".join(PACKAGES)}}
