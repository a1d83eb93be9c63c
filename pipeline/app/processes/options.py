"""What every process of a run is told."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from pipeline.app.settings import Secrets
from pipeline.assembly import Judges
from pipeline.model.addresses import Network
from pipeline.model.topology import Topology
from pipeline.resources import resource

CALLS: Final = ("identify", "track", "page", "screen", "group", "alias")


class ProcessOptions(NamedTuple):
    """How a process finds its work.

    Attributes:
        bootstrap: Kafka's address.
        prefix: The workspace's name.
        topology: The topology.
        home: Folder of local state and secrets.
        host: Address that health, metrics and HTTP listen on.
        port: Port of health and metrics, 0 for a free one.
        time_scale: What retry delays are multiplied by.
        private_destinations: Whether requests to tools may go to addresses that are not public.
        trusted_proxies: Networks of the proxies whose X-Forwarded-For the collector believes.
    """

    bootstrap: str
    prefix: str
    topology: Topology
    home: Path
    host: str = "127.0.0.1"
    port: int = 0
    time_scale: float = 1.0
    private_destinations: bool = False
    trusted_proxies: tuple[Network, ...] = ()


def judges(options: ProcessOptions) -> Judges:
    """Give what steps need beside the workspace.

    Args:
        options: How the process finds its work.

    Returns:
        Topology, call schemas and the way to secrets.
    """
    return Judges(options.topology, call_schemas(), Secrets(options.home).resolve)


def call_schemas() -> Mapping[str, Mapping[str, Any]]:
    """Read the JSON Schemas of the six calls."""
    folder = resource("schemas") / "calls"
    return {call: orjson.loads((folder / f"{call}.json").read_bytes()) for call in CALLS}


def prepare_process() -> None:
    """Set logging up for a person to read, and the garbage collector for a process that parses all day.

    Parsed events are dictionaries that die young; the collector's default thresholds would look through all of them again and again. A look through
    50,000 objects takes 15 ms, in which the loop stands still.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what matters of its troubles reaches us as exceptions
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
