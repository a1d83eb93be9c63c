"""The report of the fault tests."""

from pathlib import Path

from tests.faults.catalogue import CATALOGUE
from tests.faults.report import Row, markdown, write


def test_a_row_says_what_happened_and_what_was_caught() -> None:
    """Figures, a dash where there is none, and yes or NO for each broken build."""
    row = Row(
        "T2",
        "killed",
        "passed",
        kills=20,
        events=500,
        lost=0,
        doubled=0,
        recovery_seconds=3.25,
        caught={"unfenced": True, "other": False},
        seconds=61.7,
    )
    line = "| T2 | killed | passed | 20 | 500 | 0 | 0 | - | 3.2 | other: NO, unfenced: yes | 62 | - |"
    assert line in markdown([row], "today").splitlines()


def test_what_was_not_run_is_listed_with_its_reason() -> None:
    """Each entry of the catalogue without a row is named."""
    text = markdown([Row("T1", "killed", "passed")], "today")
    assert f"| T25 | {CATALOGUE['T25'].title} | there is no second release yet |" in text
    assert f"| T1 | {CATALOGUE['T1'].title}" not in text


def test_rows_of_a_part_join_those_of_the_day(tmp_path: Path) -> None:
    """A test that was run again replaces its row; one that was not, or was skipped now, keeps it."""
    path = tmp_path / "faults.md"
    write(path, [Row("T1", "a", "failed"), Row("T2", "b", "passed")])
    write(path, [Row("T1", "a", "passed"), Row("T2", "b", "not run: no root"), Row("T3", "c", "not run: no root")])
    text = path.read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if line.count("|") > 4]
    assert ["passed", "passed", "not run: no root"] == [cells[2] for cells in rows[2:]]
