"""CPU time of the dedup store for one event, at a number of live ids, and how fast it comes back; no Kafka.

Run: `python -m benchmarks.dedup [--ids 50000000] [--json]`. Budget: 6 µs for a look-up and a write at 50 million ids (design: budgets). Each event
is looked up as the step does it, and those that are new (one in twenty is not) are packed for the changelog and added as a transaction of 1,000
does it; nothing else is in the time. A rebuild reads packed changelog records of 20,000 ids from memory; opening reads the files that it left.
The folder takes 32 bytes an id, and is removed.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
import orjson

from pipeline.dedup import pack, unpack
from pipeline.ports.store import DIGEST_BYTES
from pipeline.runtime.stores.sorted_runs import MAX_IDS, SortedRunsStore

BUDGET: Final = 6.0
AT_MS: Final = 1_767_225_600_000
WINDOW_MS: Final = 86_400_000
RECORD_IDS: Final = 20_000
TRANSACTION_EVENTS: Final = 1_000
UPKEEP_STEPS: Final = 1_000
DUPLICATES: Final = 20
"""One event in so many was seen before, at any time."""


def _resident_mb() -> dict[str, int]:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    found = {name: int(rest.split()[0]) // 1024 for name, _, rest in (line.partition(":") for line in lines) if name in ("VmRSS", "VmHWM")}
    return {"resident_mb": found["VmRSS"], "peak_mb": found["VmHWM"]}


def _digests(number: int) -> bytes:
    return np.random.default_rng(number).bytes(DIGEST_BYTES * RECORD_IDS)


def _names(digests: bytes) -> list[bytes]:
    return [digests[place : place + DIGEST_BYTES] for place in range(0, len(digests), DIGEST_BYTES)]


def _rebuild(store: SortedRunsStore, ids: int) -> tuple[float, float]:
    """Fill the store; give CPU seconds and the longest piece of work."""
    spent = longest = 0.0
    for number in range(ids // RECORD_IDS):
        at_ms = AT_MS + WINDOW_MS * number * RECORD_IDS // ids
        record = pack(dict.fromkeys(_names(_digests(number)), (at_ms, number)))
        began = time.process_time()
        store.add_block(unpack(record), number + 1)
        took = time.process_time() - began
        spent, longest = spent + took, max(longest, took)
    began = time.process_time()
    store.flush()
    for _ in range(UPKEEP_STEPS):  # what it left to do later belongs to it
        store.add({}, store.changelog_offset())
    return spent + time.process_time() - began, longest


def _live(store: SortedRunsStore, ids: int, events: int) -> tuple[float, float]:
    """Look up and write; give CPU seconds and the longest write."""
    records = ids // RECORD_IDS
    chance = np.random.default_rng(7)
    spent = longest = 0.0
    for number in range(events // TRANSACTION_EVENTS):
        names = _names(chance.bytes(DIGEST_BYTES * TRANSACTION_EVENTS))
        if records:
            old = _names(_digests(int(chance.integers(records))))
            names[::DUPLICATES] = old[: len(names[::DUPLICATES])]
        began = time.process_time()
        overlay: dict[bytes, tuple[int, int]] = {}
        for offset, name in enumerate(names):
            if name not in overlay and store.seen(name) is None:
                overlay[name] = (AT_MS + WINDOW_MS, offset)
        pack(overlay)
        looked = time.process_time()
        store.add(overlay, records + number + 1)
        ended = time.process_time()
        spent, longest = spent + ended - began, max(longest, ended - looked)
    return spent, longest


def measure(ids: int, events: int) -> dict[str, float]:
    """Fill a store, use it, and open it again.

    Args:
        ids: Live ids in one partition.
        events: Events that are looked up then.

    Returns:
        The figures by name.
    """
    with tempfile.TemporaryDirectory() as folder:
        store = SortedRunsStore(Path(folder) / "0", max(ids, MAX_IDS))
        for _ in store.load():
            pass
        gc.freeze()
        gc.set_threshold(50_000, 50, 100)  # as the processes do
        rebuilt, longest_rebuild = _rebuild(store, ids)
        spent, longest_write = _live(store, ids, events)
        memory = _resident_mb()
        store.close()
        began = time.process_time()
        store = SortedRunsStore(Path(folder) / "0", max(ids, MAX_IDS))
        for _ in store.load():
            pass
        opened = time.process_time() - began
        store.close()
    return {
        "ids": ids,
        "cpu_us": round(spent / events * 1e6, 2),
        "rebuild_ids_per_cpu_second": round(ids / rebuilt) if ids else 0,
        "open_cpu_seconds": round(opened, 2),
        "longest_write_ms": round(longest_write * 1e3, 1),
        "longest_rebuild_ms": round(longest_rebuild * 1e3, 1),
        **memory,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ids", type=int, default=1_000_000, help="live ids in one partition")
    parser.add_argument(
        "--events", type=int, help="events that are looked up and written then; as many as it takes to fill and merge a run, unless said otherwise"
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = measure(arguments.ids, arguments.events or max(200_000, arguments.ids // 24))
    if arguments.json:
        print(orjson.dumps({"benchmark": "dedup", **figures, "budget_us": BUDGET}).decode())
        return
    print(f"{figures['cpu_us']:.2f} CPU µs an event at {arguments.ids:,} live ids, budget {BUDGET:g}; longest write {figures['longest_write_ms']} ms")
    print(f"rebuilt at {figures['rebuild_ids_per_cpu_second']:,} ids a CPU second, longest piece {figures['longest_rebuild_ms']} ms")
    print(f"opened in {figures['open_cpu_seconds']} CPU s; {figures['resident_mb']} MB resident, {figures['peak_mb']} at most")


if __name__ == "__main__":
    main()
