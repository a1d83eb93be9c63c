"""The command `headrace`: one file for each group of commands, listed in one table."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

import typer

from pipeline.app.cli import config, deadletters, demo, destination, query, run, send, source, status, tail, topics, topology, up, workspace
from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.output import say_error, say_problems
from pipeline.app.settings import SettingError
from pipeline.declaration import DeclarationError
from pipeline.ports.broker import BrokerError

GROUPS: Final[tuple[Callable[[typer.Typer], None], ...]] = (
    up.register,
    workspace.register,
    source.register,
    destination.register,
    config.register,
    topics.register,
    topology.register,
    send.register,
    tail.register,
    deadletters.register,
    query.register,
    demo.register,
    status.register,
    run.register,
)
"""What exists, in the order of the help."""


def build() -> typer.Typer:
    """Put the command together.

    Returns:
        The application with every group of the table.
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
    for register in GROUPS:
        register(app)
    return app


def main() -> None:
    """Run the command; what it cannot do is said on the standard error, with a remedy, and ends it with 1 (wrong use: 2)."""
    try:
        build()(prog_name="headrace")
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
