"""For who tests a topology, a step or a destination: a driver that runs a whole topology in memory, builders, and the fakes of every port.

Comes in: a topology, a workspace, bytes. Goes out: bytes, ledger, rows, requests. No broker, network, thread or waiting.
"""

from __future__ import annotations

from pipeline.runtime.brokers.memory import MemoryBroker
from pipeline.runtime.http.memory import MemoryHttpClient, an_answer
from pipeline.runtime.metrics.memory import MemoryMetrics
from pipeline.runtime.stores.memory import MemoryDedupStore
from pipeline.testing.builders import event, record
from pipeline.testing.clock import HandClock
from pipeline.testing.driver import START_MS, Driver, read_topology

__all__ = [
    "START_MS",
    "Driver",
    "HandClock",
    "MemoryBroker",
    "MemoryDedupStore",
    "MemoryHttpClient",
    "MemoryMetrics",
    "an_answer",
    "event",
    "read_topology",
    "record",
]
