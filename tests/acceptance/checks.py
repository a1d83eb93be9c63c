"""One line for each thing that was checked, and the report of all of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson


class Checks:
    """What was checked, printed as it is checked.

    Attributes:
        failed: How many checks failed.
    """

    def __init__(self) -> None:
        self.failed = 0
        self._rows: list[dict[str, Any]] = []
        self._part = ""

    def part(self, title: str) -> None:
        """Begin a part of the report.

        Args:
            title: What is checked next.
        """
        self._part = title
        print(f"\n{title}", flush=True)

    def check(self, name: str, passed: bool, figures: str = "") -> bool:  # noqa: FBT001 (a check is a condition)
        """Note one check.

        Args:
            name: What should be so.
            passed: Whether it is so.
            figures: Counts that show it, for a person.

        Returns:
            Whether it is so.
        """
        self._rows.append({"part": self._part, "check": name, "passed": passed, "figures": figures})
        self.failed += not passed
        print(f"  {'ok    ' if passed else 'FAILED'} {name}{f': {figures}' if figures else ''}", flush=True)
        return passed

    def equal(self, name: str, found: Any, expected: Any) -> bool:  # noqa: ANN401 (whatever is compared)
        """Note whether two values are equal, and show both where they are not."""
        figures = str(found) if found == expected else f"{found}, expected {expected}"
        return self.check(name, found == expected, figures)

    def note(self, text: str) -> None:
        """Say something that is no check."""
        self._rows.append({"part": self._part, "note": text})
        print(f"         {text}", flush=True)

    def finish(self, report: Path | None) -> int:
        """Say how it ended.

        Args:
            report: File for the report as JSON, or None.

        Returns:
            Exit code.
        """
        done = sum("check" in row for row in self._rows)
        if report is not None:
            report.parent.mkdir(parents=True, exist_ok=True)
            report.write_bytes(orjson.dumps({"checks": done, "failed": self.failed, "rows": self._rows}, option=orjson.OPT_INDENT_2))
        print(f"\n{done} checks, {self.failed} failed", file=sys.stdout if not self.failed else sys.stderr, flush=True)
        for row in self._rows:
            if row.get("passed") is False:
                print(f"FAILED {row['part']}: {row['check']}: {row['figures']}", file=sys.stderr)
        return 1 if self.failed else 0
