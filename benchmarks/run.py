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
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from benchmarks import figures
from benchmarks.drawing import picture
from benchmarks.figures import Row, Rows
from pipeline.runtime import judgement

RESULTS: Final = Path(__file__).parent / "results"
TIMEOUT_SECONDS: Final = 900
PACKAGES: Final = ("aiokafka", "cramjam", "msgspec", "orjson", "jsonschema-rs", "rocksdict", "uvloop")


class Job(NamedTuple):
    """One benchmark.

    Attributes:
        arguments: Module and its arguments.
        rows: Takes its JSON and gives figures.
        quick: Its arguments in the quick form, or None where that leaves it out.
    """

    arguments: tuple[str, ...]
    rows: Rows
    quick: tuple[str, ...] | None


_QUICK: Final = ("--events", "150000")
_STEADY: Final = ("--seconds", "12")
JOBS: Final = (
    Job(("benchmarks.hot_path", "--json"), figures.hot_path, ("--rounds", "15")),
    Job(("benchmarks.mapping", "--json"), figures.mapping, ()),
    Job(("benchmarks.dedup", "--json", "--ids", "50000000"), figures.dedup, ("--ids", "1000000")),
    Job(("benchmarks.lake", "--json"), figures.lake, ("--rows", "50000")),
    Job(("benchmarks.deliver", "--json"), figures.deliver, ("--requests", "10000")),
    Job(("benchmarks.transactions", "--json"), figures.transactions, ("--transactions", "60")),
    Job(("benchmarks.processors", "--json", "--topology", "fused", "--events", "240000"), figures.stages("1 KB", figures.HOP), _QUICK),
    Job(
        ("benchmarks.processors", "--json", "--topology", "default", "--events", "100000"),
        figures.stages("1 KB, a hop of its own", figures.HOP),
        _QUICK,
    ),
    Job(("benchmarks.shapes", "--json", "--events", "40000"), figures.shapes, None),
    Job(("benchmarks.ingest", "--json"), figures.ingest, ("--plain", "--seconds", "1.5")),
    Job(("benchmarks.stopped_broker", "--json"), figures.stopped_broker, None),
    Job(("benchmarks.latency", "--json", "--topology", "fused", "--rate", "200", *_STEADY), figures.latency(120.0), ("--seconds", "6")),
    Job(("benchmarks.latency", "--json", "--topology", "default", "--rate", "200", *_STEADY), figures.latency(400.0), ("--seconds", "6")),
    Job(("benchmarks.latency", "--json", "--topology", "fused", "--rate", "1000", *_STEADY), figures.latency(120.0), None),
    Job(("benchmarks.latency", "--json", "--topology", "default", "--rate", "1000", *_STEADY), figures.latency(400.0), None),
    Job(("benchmarks.whole_way", "--json", "--topology", "fused", "--seconds", "10"), figures.whole_way, ("--seconds", "6")),
    Job(("benchmarks.whole_way", "--json", "--topology", "default", "--seconds", "10"), figures.whole_way, None),
    Job(("benchmarks.catch_up", "--json"), figures.catch_up, None),
    Job(("benchmarks.explain", "--json"), figures.explain, None),
    Job(("benchmarks.peers", "--json", "--events", "200000"), figures.peers, None),  # with so many events that a JVM is warm at half of them
)


class Result(NamedTuple):
    """What a run of benchmarks gave.

    Attributes:
        rows: The figures.
        not_run: What was not run, and why.
        runs: Each benchmark's command, how long it took, and its own JSON, with settings and versions of peers.
    """

    rows: list[Row]
    not_run: list[str]
    runs: list[dict[str, Any]]


def run(jobs: Iterable[Job], *, quick: bool) -> Result:
    """Run benchmarks one after the other.

    Args:
        jobs: Which.
        quick: Whether in the quick form.

    Returns:
        Their figures.
    """
    result = Result([], [], [])
    for job in jobs:
        if quick and job.quick is None:
            continue
        arguments = [*job.arguments, *((job.quick or ()) if quick else ())]
        command = f"python -m {' '.join(arguments)}"
        print(command, flush=True)
        began = time.monotonic()
        try:
            done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, check=True, timeout=TIMEOUT_SECONDS)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            said = (error.stderr or b"").decode(errors="replace").strip().splitlines()
            why = "no answer in time" if isinstance(error, subprocess.TimeoutExpired) else (said[-1] if said else str(error))
            result.not_run.append(f"`{command}`: {why}")
            print(f"  not run: {why}", flush=True)
            continue
        found = orjson.loads(done.stdout)
        result.runs.append({"command": command, "seconds": round(time.monotonic() - began, 1), "found": found})
        result.not_run.extend(f"`{command}`: {one}" for one in figures.left_out(found))
        for row in job.rows(found):
            result.rows.append(row)
            print(f"  {row.what:76} {row.figure:>12,.2f} {row.unit}{_beside(row)}", flush=True)
    return result


def _beside(row: Row) -> str:
    if row.budget is None:
        return ""
    return f"  budget {'≥' if row.more else '≤'} {row.budget:g}: {row.verdict}"


def machine() -> dict[str, Any]:
    """Say where and with what it was measured."""
    return {
        "python": platform.python_version(),
        "compiled": not judgement.__file__.endswith(".py"),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "load_before": [round(one, 1) for one in os.getloadavg()],
        "packages": {name: version(name) for name in PACKAGES},
        "kafka": "4.3.1, one broker on the same machine",
    }


def page(result: Result, about: dict[str, Any], command: str) -> str:
    """Write the results as a page.

    Args:
        result: The figures.
        about: Where and with what.
        command: What was run.

    Returns:
        Markdown: what misses its budget, then every figure, then the commands with how long each took.
    """
    judged = [row for row in result.rows if row.budget is not None]
    missed = [row for row in judged if row.verdict == "not met"]
    lines = [
        f"# `{command}`, {about['date']}",
        "",
        *(["The hot modules were compiled (`make compiled`).", ""] if about.get("compiled") else []),
        f"Python {about['python']}, {about['system']}; Kafka {about['kafka']}; load of the machine before: {about['load_before']} "
        f"and after: {about['load_after']}. " + ", ".join(f"{name} {one}" for name, one in about["packages"].items()) + ".",
        "",
        f"Budgets met: {len(judged) - len(missed)} of {len(judged)}." + (" Not met:" if missed else ""),
        "",
        *(f"- {row.what}: {row.figure:,.2f} {row.unit} ({'≥' if row.more else '≤'} {row.budget:g})" for row in missed),
        *(f"- not run: {one}" for one in result.not_run),
        "",
        "| what | figure | budget | |",
        "|---|---:|---:|---|",
    ]
    for row in result.rows:
        budget = "" if row.budget is None else f"{'≥' if row.more else '≤'} {row.budget:g}"
        lines.append(f"| {row.what} | {row.figure:,.2f} {row.unit} | {budget} | {row.verdict} |")
    lines += ["", f"It took {sum(one['seconds'] for one in result.runs) / 60:.0f} minutes."]
    lines += ["", "| command | seconds |", "|---|---:|", *(f"| `{one['command']}` | {one['seconds']} |" for one in result.runs)]
    settings = [(name, text) for one in result.runs for name, text in figures.settings(one["found"])]
    lines += ["", *(f"- {name}: {text}" for name, text in settings)] if settings else []
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller runs of what matters most, for every day")
    parser.add_argument("--only", default="", help="only benchmarks whose command holds this text; nothing is written")
    arguments = parser.parse_args()
    about = machine()
    result = run([job for job in JOBS if arguments.only in " ".join(job.arguments)], quick=arguments.quick)
    if arguments.only:
        return
    about |= {"date": datetime.now(tz=UTC).date().isoformat(), "load_after": [round(one, 1) for one in os.getloadavg()]}
    command = "make bench ARGS=--quick" if arguments.quick else "make bench"
    target = RESULTS / f"bench-{about['date']}"
    if about["compiled"]:
        command, target = f"{command} COMPILED=1", RESULTS / f"{target.name}-compiled"
    said = {**about, "figures": [{**row._asdict(), "verdict": row.verdict} for row in result.rows], "not_run": result.not_run, "runs": result.runs}
    target.with_suffix(".json").write_bytes(orjson.dumps({"command": command, **said}, option=orjson.OPT_INDENT_2) + b"\n")
    target.with_suffix(".md").write_text(page(result, about, command), encoding="utf-8")
    target.with_suffix(".svg").write_text(
        picture(result.rows, [curve for one in result.runs for curve in figures.curves(one["found"])]), encoding="utf-8"
    )
    print(f"written: {target}.md, .json and .svg")


if __name__ == "__main__":
    main()
