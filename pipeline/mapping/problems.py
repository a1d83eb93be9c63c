"""What can be wrong with a mapping or a query, said so that the person who wrote it can mend it."""

from __future__ import annotations

from typing import NamedTuple


class Problem(NamedTuple):
    """One thing that is wrong with a mapping.

    Attributes:
        path: Where, as keys and indexes from the mapping's root: `/email/@if/then`. The root itself is `/`.
        message: What is wrong, continuing the path: "needs a string, but it is a number".
        hint: What to do about it; may be empty.
    """

    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        """Return path, message and hint on one line."""
        return f"{self.path} {self.message}" + (f" ({self.hint})" if self.hint else "")


class MappingError(ValueError):
    """A mapping that cannot be compiled, or an event that its mapping cannot resolve (status 400, no retry).

    Attributes:
        problems: All that was found, in the mapping's order; one alone at run time.
    """

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        """Join the problems to one text, a line for each."""
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class QueryError(ValueError):
    """A query that is not FQL. A trigger with it does not fire; a filter with it drops the event.

    Attributes:
        message: What is wrong.
        column: Where, counted in characters from 1.
        hint: What to do about it; may be empty.
    """

    def __init__(self, message: str, column: int, hint: str = "") -> None:
        """Join message, column and hint to one text."""
        super().__init__(f"column {column}: {message}" + (f" ({hint})" if hint else ""))
        self.message = message
        self.column = column
        self.hint = hint
