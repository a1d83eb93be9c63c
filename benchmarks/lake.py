"""CPU time of the lake for one row: from the bytes of a routed record to a Parquet file whose manifest record is durable.

Run: `python -m benchmarks.lake [--json]`. Budget: 15 µs a row (design: budgets). It prints CPU time of the whole process, threads included, and
the part of each stage. The events are the published example of a track and a page call, each about 1 KB, with ids of their own.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any, TypeVar

import orjson

from pipeline.lake.gathering import Gathered, Gathering
from pipeline.lake.manifest import ManifestRecord
from pipeline.model.record import Record
from pipeline.resources import resource
from pipeline.runtime.lake.chain import Chain, Part
from pipeline.runtime.lake.disk import Disk
from pipeline.runtime.lake.parquet import to_arrow

ROWS_OF_A_FILE = 10_000
_T = TypeVar("_T")


def _cpu_seconds() -> float:
    usage = getrusage(RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _records(count: int) -> list[Record]:
    examples = [orjson.loads((resource("schemas") / "calls" / "examples" / f"{call}.json").read_bytes()) for call in ("track", "page")]
    headers = (("source", b"web"), ("received_at", b"1773480414100"), ("config", b"1"), ("routes", b"crm,lake"))
    records = []
    for offset in range(count):
        body = {
            **examples[offset % 2],
            "messageId": f"ajs-next-{uuid.UUID(int=offset * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)}",
            "anonymousId": str(uuid.UUID(int=(offset % 5000 + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)),
        }
        records.append(Record("shop.routed", 0, offset, 1773480414100, None, orjson.dumps(body), headers))
    return records


def _parts(gathered: Gathered) -> list[Part]:
    return [Part(rows.source, rows.call, rows.hour, [to_arrow(rows.columns)], rows.events) for rows in gathered.files]


def _timed(work: Callable[[], _T], rows: int) -> tuple[_T, float]:
    start = _cpu_seconds()
    result = work()
    return result, (_cpu_seconds() - start) / rows * 1e6


def measure(count: int) -> dict[str, Any]:
    """Write rows and measure each stage.

    Args:
        count: Rows.

    Returns:
        CPU µs a row by stage and together, what parsing alone takes, rows a second, and bytes a row before and after.
    """
    records = _records(count)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)  # as the processes do
    stages = dict.fromkeys(("parse and lay out", "columns to Arrow", "Parquet, files and manifest"), 0.0)
    gathering = Gathering("lake")
    written = 0
    wall = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        chain = Chain(Path(folder), "shop.routed-0", Disk())
        for first in range(0, count, ROWS_OF_A_FILE):
            batch = records[first : first + ROWS_OF_A_FILE]

            def lay_out(batch: list[Record] = batch) -> Gathered:
                for record in batch:
                    gathering.add(record)
                return gathering.take()

            gathered, cost = _timed(lay_out, count)
            stages["parse and lay out"] += cost
            parts, cost = _timed(partial(_parts, gathered), count)
            stages["columns to Arrow"] += cost
            added, cost = _timed(partial(chain.add, parts, ManifestRecord(first, first + len(batch), ())), count)
            stages["Parquet, files and manifest"] += cost
            written += added.size
    wall = time.perf_counter() - wall
    _, parsing = _timed(lambda: [None for record in records if orjson.loads(record.value or b"") is None], count)
    value_bytes = sum(len(record.value or b"") for record in records) / count
    return {
        "stages_cpu_us": {stage: round(cost, 2) for stage, cost in stages.items()},
        "cpu_us": round(sum(stages.values()), 2),
        "parse_cpu_us": round(parsing, 2),
        "rows_per_second": round(count / wall),
        "json_bytes": round(value_bytes),
        "parquet_bytes": round(written / count),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = measure(arguments.rows)
    if arguments.json:
        print(orjson.dumps(found).decode())
        return
    for stage, cost in found["stages_cpu_us"].items():
        print(f"{stage:30} {cost:6.2f} µs of CPU a row")
    print(f"{'together':30} {found['cpu_us']:6.2f} µs of CPU a row (budget 15)")
    print(f"{'orjson.loads alone':30} {found['parse_cpu_us']:6.2f} µs, to compare machines; the budget was set where it took 2.7")
    print(f"{found['rows_per_second']:,} rows/s; {found['json_bytes']} bytes of JSON and {found['parquet_bytes']} bytes of Parquet a row")


if __name__ == "__main__":
    main()
