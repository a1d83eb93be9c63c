"""Every budget beside what was measured: `make bench`, or `make bench ARGS=--quick` for a few minutes.

Each benchmark runs in a process of its own, with its command printed. Writes `benchmarks/results/bench-DATE.json`, `.md` and `.svg`. CPU time is the
measure wherever it can be, since it moves less than wall time where others work on the machine; the load beside the run is written down.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

RESULTS: Final = Path(__file__).parent / "results"
TIMEOUT_SECONDS: Final = 900
PACKAGES: Final = ("aiokafka", "cramjam", "msgspec", "orjson", "jsonschema-rs", "rocksdict", "uvloop")


class Row(NamedTuple):
    """One figure.

    Attributes:
        what: What was measured.
        figure: How much.
        unit: Of it.
        budget: What it should be at most (at least, where `more` is better), or None.
        more: Whether more is better.
    """

    what: str
    figure: float
    unit: str
    budget: float | None = None
    more: bool = False

    @property
    def verdict(self) -> str:
        """Whether the budget is kept."""
        if self.budget is None:
            return ""
        return "kept" if (self.figure >= self.budget if self.more else self.figure <= self.budget) else "missed"


class Job(NamedTuple):
    """One benchmark.

    Attributes:
        arguments: Module and its arguments.
        rows: Takes its JSON and gives figures.
        quick: Its arguments in the quick form, or None where that leaves it out.
    """

    arguments: tuple[str, ...]
    rows: Callable[[Any], Iterable[Row]]
    quick: tuple[str, ...] | None


def _stages(label: str, budgets: dict[str, float]) -> Callable[[Any], Iterable[Row]]:
    def rows(found: Any) -> Iterable[Row]:  # noqa: ANN401 (the benchmark's JSON)
        for one in found:
            what = f"{one['processor']}, {label}"
            yield Row(what, one["cpu_us"], "CPU µs an event", budgets.get(one["processor"]))
            yield Row(
                f"{what}: a core's rate", one["events_per_core_second"], "events/s", 75_000 if one["processor"] == "prepare" else None, more=True
            )
            yield Row(f"{what}: memory", one["rss_mb"], "MB", 200)
            yield Row(f"{what}: sockets", one["sockets"], "")
            yield Row(f"{what}: broker beside it", one["broker_cpu_us"], "CPU µs an event")

    return rows


def _peer(found: Any) -> Iterable[Row]:  # noqa: ANN401 (the same)
    yield Row("events compared with Kafka Streams, all equal", found["compared"], "")
    yield Row("prepare, warm, beside Kafka Streams", found["headrace"]["cpu_us"], "CPU µs an event")
    yield Row("Kafka Streams, exactly_once_v2, warm", found["kafka_streams"]["cpu_us"], "CPU µs an event")
    yield Row("ratio to Kafka Streams", found["ratio"], "", 0.75)
    yield Row("memory of Kafka Streams", found["kafka_streams"]["rss_mb"], "MB")


def _latency(budget: float) -> Callable[[Any], Iterable[Row]]:
    def rows(found: Any) -> Iterable[Row]:  # noqa: ANN401 (the same)
        what = f"200 to webhook, {found['topology']}, {found['events_per_second']:.0f} events/s"
        yield Row(f"{what}: p50", found["p50_ms"], "ms")
        yield Row(f"{what}: p99", found["p99_ms"], "ms", budget)
        yield Row(f"{what}: transactions", found["transactions_per_second"], "/s")
        yield Row(f"{what}: processor time", sum(found["cores"].values()), "cores")

    return rows


def _hot_path(found: Any) -> Iterable[Row]:  # noqa: ANN401 (the same)
    for name, cost in found["cpu_us"].items():
        yield Row(f"fused without Kafka: {name}", cost, "CPU µs an event")


def _transactions(found: Any) -> Iterable[Row]:  # noqa: ANN401 (the same)
    yield Row("one transaction, 4 partitions at once", found["cpu_ms_ours"], "CPU ms")
    yield Row("one transaction: the broker's part", found["cpu_ms_broker"], "CPU ms")


_HOP: Final = {"prepare": 11.0, "validate": 16.0, "enrich": 12.0, "filter": 12.0}
_QUICK: Final = ("--events", "240000")
JOBS: Final = (
    Job(("benchmarks.hot_path", "--json"), _hot_path, ()),
    Job(("benchmarks.mapping", "--json"), lambda found: [Row("a mapping of 20 fields", found["mapping_cpu_us"], "CPU µs", 20.0)], ()),
    Job(("benchmarks.transactions", "--json"), _transactions, ("--transactions", "60")),
    Job(("benchmarks.processors", "--json", "--topology", "fused"), _stages("1 KB", _HOP), _QUICK),
    Job(("benchmarks.processors", "--json", "--topology", "default"), _stages("1 KB, a hop of its own", _HOP), _QUICK),
    Job(("benchmarks.peers.kafka_streams", "--json", "--events", "400000"), _peer, None),  # a JVM is warm after minutes only
    Job(("benchmarks.latency", "--json", "--topology", "fused", "--rate", "200"), _latency(120.0), ("--seconds", "8")),
    Job(("benchmarks.latency", "--json", "--topology", "default", "--rate", "200"), _latency(400.0), ("--seconds", "8")),
    Job(("benchmarks.latency", "--json", "--topology", "fused", "--rate", "1000"), _latency(120.0), None),
    Job(("benchmarks.latency", "--json", "--topology", "default", "--rate", "1000"), _latency(400.0), None),
    Job(("benchmarks.processors", "--json", "--stage", "prepare", "--events", "60000", "--size", "10240"), _stages("10 KB", {}), None),
    Job(("benchmarks.processors", "--json", "--stage", "prepare", "--partitions", "1"), _stages("1 partition", _HOP), None),
    Job(("benchmarks.processors", "--json", "--stage", "prepare", "--partitions", "16"), _stages("16 partitions", _HOP), None),
    Job(("benchmarks.processors", "--json", "--stage", "prepare", "--processes", "2"), _stages("2 processes", _HOP), None),
    Job(("benchmarks.processors", "--json", "--stage", "prepare", "--schemas", "1"), _stages("1 schema", _HOP), None),
    Job(("benchmarks.processors", "--json", "--stage", "prepare", "--schemas", "1000"), _stages("1,000 schemas", _HOP), None),
    Job(("benchmarks.processors", "--json", "--events", "60000", "--destinations", "3"), _stages("3 destinations", {}), None),
    Job(("benchmarks.processors", "--json", "--events", "60000", "--destinations", "200"), _stages("200 destinations, 3 routes", {}), None),
)


def run(jobs: Iterable[Job], *, quick: bool) -> tuple[list[Row], list[str]]:
    """Run benchmarks one after the other.

    Args:
        jobs: Which.
        quick: Whether in the quick form.

    Returns:
        Their figures, and what was not run and why.
    """
    rows: list[Row] = []
    not_run: list[str] = []
    for job in jobs:
        if quick and job.quick is None:
            continue
        command = [*job.arguments, *((job.quick or ()) if quick else ())]
        print(f"python -m {' '.join(command)}", flush=True)
        try:
            done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=True, timeout=TIMEOUT_SECONDS)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            said = (error.stderr or b"") if isinstance(error.stderr, str) else (error.stderr or b"").decode()
            not_run.append(f"`python -m {' '.join(command)}`: {str(said).strip().splitlines()[-1:] or 'no answer in time'}")
            print(f"  not run: {not_run[-1]}", flush=True)
            continue
        for row in job.rows(orjson.loads(done.stdout)):
            rows.append(row)
            budget = "" if row.budget is None else f"  budget {row.budget:g}: {row.verdict}"
            print(f"  {row.what:62} {row.figure:>12,.2f} {row.unit}{budget}", flush=True)
    return rows, not_run


def machine() -> dict[str, Any]:
    """Say where and with what it was measured."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "load_before": [round(one, 1) for one in os.getloadavg()],
        "packages": {name: version(name) for name in PACKAGES},
        "kafka": "4.3.1, one broker on the same machine",
    }


def page(rows: Sequence[Row], not_run: Sequence[str], about: dict[str, Any], command: str) -> str:
    """Write the results as a page.

    Args:
        rows: The figures.
        not_run: What was not run, and why.
        about: Where and with what.
        command: What was run.

    Returns:
        Markdown.
    """
    lines = [
        f"# `{command}`, {about['date']}",
        "",
        f"Python {about['python']}, {about['system']}; Kafka {about['kafka']}; load of the machine before: {about['load_before']} "
        f"and after: {about['load_after']}. " + ", ".join(f"{name} {one}" for name, one in about["packages"].items()) + ".",
        "",
        "| what | figure | budget | |",
        "|---|---:|---:|---|",
    ]
    lines += [f"| {row.what} | {row.figure:,.2f} {row.unit} | {'' if row.budget is None else f'{row.budget:g}'} | {row.verdict} |" for row in rows]
    lines += ["", *(f"Not run: {one}" for one in not_run)] if not_run else []
    return "\n".join(lines) + "\n"


def picture(rows: Sequence[Row]) -> str:
    """Draw what has a budget as bars: the budget is the line, a bar beyond it misses.

    Args:
        rows: The figures.

    Returns:
        SVG.
    """
    drawn = [row for row in rows if row.budget is not None]
    height = 26 * len(drawn) + 30
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="820" height="{height}" font-family="sans-serif" font-size="12">']
    parts.append('<rect width="100%" height="100%" fill="white"/><line x1="560" y1="10" x2="560" y2="100%" stroke="#444" stroke-dasharray="3 3"/>')
    for index, row in enumerate(drawn):
        part = (row.budget or 1) / row.figure if row.more else row.figure / (row.budget or 1)
        y = 20 + 26 * index
        colour = "#2f7d4f" if row.verdict == "kept" else "#c0392b"
        text = row.what.replace("&", "&amp;").replace("<", "&lt;")
        parts.append(f'<text x="350" y="{y + 12}" text-anchor="end">{text}</text>')
        parts.append(f'<rect x="360" y="{y}" width="{min(200 * part, 400):.0f}" height="16" fill="{colour}"/>')
        parts.append(f'<text x="{min(200 * part, 400) + 366:.0f}" y="{y + 12}">{row.figure:,.1f} / {row.budget:g} {row.unit}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Run, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller runs of what matters most, for every day")
    parser.add_argument("--only", default="", help="only benchmarks whose command holds this text; nothing is written")
    arguments = parser.parse_args()
    about = machine()
    rows, not_run = run([job for job in JOBS if arguments.only in " ".join(job.arguments)], quick=arguments.quick)
    if arguments.only:
        return
    about |= {"date": datetime.now(tz=UTC).date().isoformat(), "load_after": [round(one, 1) for one in os.getloadavg()]}
    command = "make bench ARGS=--quick" if arguments.quick else "make bench"
    target = RESULTS / f"bench-{about['date']}"
    figures = [{**row._asdict(), "verdict": row.verdict} for row in rows]
    target.with_suffix(".json").write_bytes(
        orjson.dumps({"command": command, **about, "figures": figures, "not_run": not_run}, option=orjson.OPT_INDENT_2) + b"\n"
    )
    target.with_suffix(".md").write_text(page(rows, not_run, about, command), encoding="utf-8")
    target.with_suffix(".svg").write_text(picture(rows), encoding="utf-8")
    print(f"written: {target}.md, .json and .svg")


if __name__ == "__main__":
    main()
