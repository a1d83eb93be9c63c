"""What commands say: text for people (colours only on a terminal), JSON for scripts, problems in the form that editors know."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.declaration import Problem

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """Make text of unknown origin safe for a terminal: what could move its cursor or colour it is shown as an escape.

    Args:
        text: Text from a topic or an answer.

    Returns:
        The text; line breaks and tabs stay.
    """
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def say(text: str = "") -> None:
    """Print a line for a person to the standard output.

    Args:
        text: The line, with rich's markup.
    """
    # Made anew each time: the standard output may have been redirected since.
    Console(highlight=False, soft_wrap=True).print(text)


def say_plain(text: str) -> None:
    """Print text as it is, without markup.

    Args:
        text: One line or more.
    """
    Console(highlight=False, soft_wrap=True).print(printable(text), markup=False)


def say_json(value: Any) -> None:  # noqa: ANN401 (any JSON value)
    """Print a value as one line of JSON.

    Args:
        value: Plain data.
    """
    print(orjson.dumps(value).decode("utf-8", "replace"))


def say_error(message: str, remedy: str = "") -> None:
    """Print what is wrong, and what to do, to the standard error.

    Args:
        message: What is wrong.
        remedy: What to do about it; may be empty.
    """
    console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
    console.print(f"[bold red]error:[/] {escape(message)}")
    if remedy:
        console.print(f"  [dim]→[/] {escape(remedy)}")


def say_warning(message: str) -> None:
    """Print what may be wrong to the standard error.

    Args:
        message: What it is, and what to do.
    """
    Console(file=sys.stderr, highlight=False, soft_wrap=True).print(f"[bold yellow]warning:[/] {escape(message)}")


def say_problems(problems: Iterable[Problem]) -> None:
    """Print problems to the standard error, each with its place in the form that editors and terminals recognise.

    Args:
        problems: The problems.
    """
    console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
    for problem in problems:
        place = f"{problem.file}:{problem.line}:{problem.column}:"
        path = f" {problem.path}:" if problem.path else ""
        console.print(f"[bold]{escape(place)}[/]{escape(path)} {escape(problem.message)}")
        if problem.hint:
            console.print(f"  [dim]→[/] {escape(problem.hint)}")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table: aligned on a terminal and in a file, never cut.

    Args:
        columns: Headings; none for a list of names and values.
        rows: Cells; anything that has a text.
    """
    grid = Table(box=None, pad_edge=False, header_style="bold", show_header=bool(columns))
    for column in columns:
        grid.add_column(column, no_wrap=True, overflow="ignore")
    for row in rows:
        grid.add_row(*(escape(printable(str(cell))) for cell in row))
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console = Console(highlight=False, soft_wrap=True, width=1000)
    console.print(grid)
