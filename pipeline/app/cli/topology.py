"""`headrace topology show`: the graph of processors and topics."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from pipeline.app.cli.options import examples
from pipeline.app.declared import read_topology
from pipeline.declaration import describe, mermaid, svg


class Format(StrEnum):
    """How a topology is drawn."""

    TEXT = "text"
    MERMAID = "mermaid"
    SVG = "svg"


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    group = typer.Typer(no_args_is_help=True, help="Which processors there are, and the topics between them.")
    group.command(
        "show", epilog=examples("headrace topology show", "headrace topology show fused --format mermaid", "headrace topology show mine.yaml")
    )(show)
    app.add_typer(group, name="topology")


def show(
    topology: Annotated[
        str, typer.Argument(metavar="[FILE]", help="A topology's file, or the name of one that comes with the product: default, fused.")
    ] = "default",
    form: Annotated[Format, typer.Option("--format", "-f", help="How to draw it.")] = Format.TEXT,
) -> None:
    """Draw a topology, after checking it: a wrong one is refused with line and hint."""
    checked = read_topology(topology)
    # Printed as it is: the text is compared, and fed to other tools.
    draw = {Format.TEXT: describe, Format.MERMAID: mermaid, Format.SVG: svg}[form]
    print(draw(checked), end="")
