"""How a command ends when it cannot do what was asked: what is wrong, what to do, and an exit status."""

from __future__ import annotations


class CommandError(Exception):
    """A command cannot go on.

    Attributes:
        message: What is wrong.
        remedy: What to do about it; may be empty.
        status: Exit status: 1 for a fault, 2 for wrong use.
    """

    def __init__(self, message: str, remedy: str = "", status: int = 1) -> None:
        """Keep message, remedy and status."""
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.status = status
