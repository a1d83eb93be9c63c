"""The one report of the fault tests: each test adds its row, and what was not run says why.

A test names the entry of the catalogue that it proves, `@pytest.mark.fault("T2")`, takes the fixture `row` and fills it in. HEADRACE_FAULT_REPORT
names the report (`.md`, and beside it `.json`); rows of earlier runs of that day stay until their test is run again.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from tests.faults.catalogue import CATALOGUE


@dataclass(slots=True)
class Row:
    """One line of the report.

    Attributes:
        fault: Entry of the catalogue, `T2`.
        test: What the test's sentence says.
        outcome: `passed`, `failed`, or `not run: …`.
        kills: Processes killed, stopped or cut off.
        events: Distinct events sent.
        lost: Acknowledged events that were not found.
        doubled: Events found more than once.
        disordered: Events found after a later one of their user.
        recovery_seconds: Longest time until everything was back.
        caught: For each deliberately broken build, whether the test fails on it.
        figures: What else there is to say.
        seconds: How long the test took, with what it started for itself.
    """

    fault: str = ""
    test: str = ""
    outcome: str = ""
    kills: int | None = None
    events: int | None = None
    lost: int | None = None
    doubled: int | None = None
    disordered: int | None = None
    recovery_seconds: float | None = None
    caught: dict[str, bool] = field(default_factory=dict)
    figures: str = ""
    seconds: float = 0.0


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.1f}"
    return str(value).replace("|", "\\|")


def _caught(row: Row) -> str:
    return ", ".join(f"{name}: {'yes' if caught else 'NO'}" for name, caught in sorted(row.caught.items())) or "-"


def _number(fault: str) -> tuple[int, str]:
    digits = "".join(letter for letter in fault if letter.isdigit())
    return (int(digits) if digits else 0, fault)


def markdown(rows: Iterable[Row], head: str) -> str:
    """Write the report.

    Args:
        rows: One for each test.
        head: Date and machine.

    Returns:
        Markdown.
    """
    ordered = sorted(rows, key=lambda row: (_number(row.fault), row.test))
    lines = [
        "# Fault tests",
        "",
        head,
        "",
        "| fault | test | outcome | faults | events | lost | doubled | out of order | back after, s | broken builds caught | took, s | figures |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        "| "
        + " | ".join(
            map(
                _cell,
                (
                    row.fault,
                    row.test,
                    row.outcome,
                    row.kills,
                    row.events,
                    row.lost,
                    row.doubled,
                    row.disordered,
                    row.recovery_seconds,
                    _caught(row),
                    round(row.seconds) or None,
                    row.figures or None,
                ),
            )
        )
        + " |"
        for row in ordered
    ]
    tested = {row.fault for row in ordered}
    missing = [(fault, what) for fault, what in CATALOGUE.items() if fault not in tested]
    if missing:
        lines += ["", "## Not run", "", "| fault | what | why |", "|---|---|---|"]
        lines += [f"| {fault} | {what.title} | {what.elsewhere or 'no row in this report'} |" for fault, what in missing]
    return "\n".join([*lines, ""])


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write the report, keeping earlier rows of tests that were not run now.

    Args:
        path: The Markdown file.
        rows: Rows of this run.
    """
    data = path.with_suffix(".json")
    earlier: list[Mapping[str, Any]] = orjson.loads(data.read_bytes())["rows"] if data.exists() else []
    known = {one.name for one in fields(Row)}
    merged = {(row["fault"], row["test"]): Row(**{name: value for name, value in row.items() if name in known}) for row in earlier}
    for row in rows:
        if not row.outcome.startswith("not run") or (row.fault, row.test) not in merged:
            merged[row.fault, row.test] = row
    timed = [row.seconds for row in merged.values()]
    took = f" All tests together took {sum(timed) / 60:.0f} minutes." if all(timed) else ""
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    head = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}.{took} Written by `make faults`."
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(markdown(merged.values(), head), encoding="utf-8")
    ordered = sorted(merged.values(), key=lambda row: (_number(row.fault), row.test))
    data.write_bytes(orjson.dumps({"head": head, "rows": [asdict(row) for row in ordered]}, option=orjson.OPT_INDENT_2) + b"\n")
