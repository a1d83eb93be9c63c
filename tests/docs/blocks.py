"""The fenced blocks of a Markdown page, as the tests of the documentation read them.

A block that cannot run has a comment of its own before it, `<!-- not run: REASON -->`. What a command prints stands right after it in a block
`text title="prints"`, in which `…` stands for anything.
"""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "docs" / "index.md", *sorted((ROOT / "docs" / "guide").glob("*.md")))

_FENCE = re.compile(r"(?P<indent> *)```(?P<language>[\w-]*)(?: title=\"(?P<title>[^\"]*)\")?\s*")
_NOT_RUN = re.compile(r"<!-- not run: (?P<reason>.+) -->")


class Block(NamedTuple):
    """One fenced block: its page and line, its language and title, its text, and why it is not run (empty where it is)."""

    page: str
    line: int
    language: str
    title: str
    text: str
    not_run: str

    @property
    def place(self) -> str:
        """Where it stands, in the form that editors know."""
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """Read the blocks of a page in order."""
    found: list[Block] = []
    reason = ""
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        comment = _NOT_RUN.fullmatch(line.strip())
        fence = _FENCE.fullmatch(line)
        if fence is None:
            reason = comment["reason"] if comment else reason if not line.strip() else ""
            continue
        indent, inside = fence["indent"], []
        for _, text in lines:
            if text.strip() == "```":
                break
            inside.append(text.removeprefix(indent))
        name = page.relative_to(ROOT).as_posix()
        found.append(Block(name, number, fence["language"], fence["title"] or "", "\n".join(inside) + "\n", reason))
        reason = ""
    return found


def all_blocks() -> list[Block]:
    """Read the blocks of every page that a person wrote."""
    return [block for page in PAGES for block in blocks_of(page)]


def prints(expected: str, printed: str) -> bool:
    """Tell whether the lines of `expected` occur in `printed`, in order; runs of spaces count as one, `…` stands for anything."""
    lines = iter(_squeezed(line) for line in printed.splitlines())
    return all(any(_pattern(wanted).fullmatch(line) for line in lines) for wanted in expected.splitlines() if wanted.strip())


def _squeezed(line: str) -> str:
    return " ".join(line.split())


def _pattern(line: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in _squeezed(line).split("…")), re.DOTALL)
