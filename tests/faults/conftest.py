"""What the fault tests share: the row of the report."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.faults.report import Row, write

_ROWS: pytest.StashKey[dict[str, Row]] = pytest.StashKey()


def _row_of(item: pytest.Item) -> Row | None:
    """Give the row of a test, made at its first use; None for a test that proves no entry of the catalogue."""
    marker = item.get_closest_marker("fault")
    if marker is None:
        return None
    rows = item.config.stash.setdefault(_ROWS, {})
    said = (getattr(item, "function", None).__doc__ or item.name).strip().split("\n")[0].removesuffix(".")
    case = f" [{item.callspec.id}]" if hasattr(item, "callspec") else ""
    return rows.setdefault(item.nodeid, Row(fault=marker.args[0], test=said + case))


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Row:
    """The test's row of the report, to be filled in."""
    found = _row_of(request.node)
    assert found is not None, 'a test with a row names its entry of the catalogue: @pytest.mark.fault("T1")'
    return found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note how each test ended."""
    report = yield
    found = _row_of(item)
    if found is not None:
        found.seconds += call.duration
        if report.skipped:
            found.outcome = f"not run: {report.longrepr[2].removeprefix('Skipped: ') if isinstance(report.longrepr, tuple) else 'skipped'}"
        elif report.failed or (report.when == "call" and not found.outcome):
            found.outcome = report.outcome
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the report where one is wanted."""
    path = os.environ.get("HEADRACE_FAULT_REPORT")
    rows = session.config.stash.get(_ROWS, {})
    if path and rows:
        write(Path(path), rows.values())
