"""What is wrong with a declared file, said so that the person who wrote it can mend it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, NamedTuple

Path = tuple[str | int, ...]
"""A place in a declaration: keys and indexes from its root."""


class Problem(NamedTuple):
    """One thing that is wrong with a declared file.

    Attributes:
        file: Name of the file.
        line: Line, from 1.
        column: Column in characters, from 1.
        path: Keys and indexes from the file's root, as text: `destinations[0].settings.url`; empty for the whole file.
        message: What is wrong; names places and never the value of a secret.
        hint: What to do about it; may be empty.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        """Return all of it on one line, as editors and terminals recognise it."""
        place = f"{self.file}:{self.line}:{self.column}: "
        return place + (f"{self.path}: " if self.path else "") + self.message + (f" ({self.hint})" if self.hint else "")

    def as_json(self) -> dict[str, Any]:
        """Return the fields by name, for `--json`."""
        return self._asdict()


class DeclarationError(ValueError):
    """A declaration that cannot be used.

    Attributes:
        problems: Everything that is wrong with it, in the order of files and lines.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        """Sort the problems and join them to one text, a line for each."""
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(map(str, self.problems)))


def path_text(path: Path) -> str:
    """Write a path for a person.

    Args:
        path: Keys and indexes.

    Returns:
        Keys joined by dots, indexes in brackets: `sources[0].id`.
    """
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Suggest what somebody may have meant.

    Args:
        word: What stands there.
        known: What could stand there.

    Returns:
        The nearest word as a question, else all words where they are few, else nothing.
    """
    names = sorted(known)
    near = get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    if 0 < len(names) <= _FEW:
        return f"known: {', '.join(names)}"
    return ""


_FEW = 16
