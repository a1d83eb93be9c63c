"""The command `headrace`: one file for each group of commands, listed in one table."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Final

import typer

from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.output import say, say_error, say_problems
from pipeline.app.settings import SettingError
from pipeline.declaration import DeclarationError
from pipeline.ports.broker import BrokerError

GROUPS: Final = (
    ("up", ("up",)),
    ("workspace", ("init", "check")),
    ("source", ("source",)),
    ("destination", ("destination",)),
    ("config", ("apply",)),
    ("topics", ("topics",)),
    ("topology", ("topology",)),
    ("send", ("send",)),
    ("tail", ("tail",)),
    ("deadletters", ("dead",)),
    ("query", ("query",)),
    ("audit", ("audit",)),
    ("offsets", ("offsets",)),
    ("explain", ("explain",)),
    ("preview", ("preview",)),
    ("replay", ("replay",)),
    ("analytics_js", ("analytics-js",)),
    ("demo", ("demo",)),
    ("status", ("status",)),
    ("run", ("run",)),
)
"""What exists, in the order of the help: a file of this folder, and the commands that its `register` adds.

Only the file of the command that is called is imported: a run has ten processes, and each would pay a second and 30 MB for all of them.
"""


def build(command: str = "") -> typer.Typer:
    """Put the command line together.

    Args:
        command: The command that is called; empty, or one that does not exist, for all of them.

    Returns:
        The application with every group of the table, or with the one of the command.
    """
    app = typer.Typer(
        name="headrace",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Headrace: send events once, deliver them to every tool and warehouse, and say what happened to each.",
    )
    # Without a callback, typer takes an application with a single command for that command.
    app.callback()(_root)
    wanted = [file for file, commands in GROUPS if command in commands] or [file for file, _ in GROUPS]
    for file in wanted:
        import_module(f"pipeline.app.cli.{file}").register(app)
    return app


def _say_version(asked: bool) -> None:  # noqa: FBT001 (click calls it)
    if asked:
        say(f"headrace {version('headrace')}")
        raise typer.Exit


def _root(
    *,
    asked: Annotated[bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version and exit.")] = False,
) -> None:
    pass


def main() -> None:
    """Run the command; what it cannot do is said on the standard error, with a remedy, and ends it with 1 (wrong use: 2)."""
    try:
        build(sys.argv[1] if len(sys.argv) > 1 else "")(prog_name="headrace")
    except CommandError as error:
        say_error(error.message, error.remedy)
        sys.exit(error.status)
    except DeclarationError as error:
        say_problems(error.problems)
        sys.exit(1)
    except SettingError as error:
        message, _, remedy = str(error).partition(": ")
        say_error(message, remedy)
        sys.exit(1)
    except BrokerError as error:
        say_error(str(error), "see whether Kafka runs with `headrace status`, or give its address with --bootstrap HOST:PORT")
        sys.exit(1)
