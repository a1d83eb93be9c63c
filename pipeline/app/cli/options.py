"""Options that several commands share, and how an example stands in a help text."""

from __future__ import annotations

from typing import Annotated

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]
WorkspaceOption = Annotated[
    str,
    typer.Option(
        "--workspace",
        "-w",
        metavar="PATH",
        help="File or folder that declares the workspace. Default: workspace.yaml here, else in HEADRACE_HOME.",
        show_default=False,
    ),
]
BootstrapOption = Annotated[
    str,
    typer.Option(
        "--bootstrap",
        metavar="HOST:PORT",
        help="Kafka's address. Default: HEADRACE_BOOTSTRAP, else the broker of `headrace up`.",
        show_default=False,
    ),
]
RunTopologyOption = Annotated[
    str,
    typer.Option(
        "--topology",
        "-t",
        metavar="FILE",
        help="The topology that is run: default, fused, or a file. Default: that of `headrace up`.",
        show_default=False,
    ),
]


def examples(*commands: str) -> str:
    """Write the end of a help text.

    Args:
        commands: Command lines without prompt; text after two spaces and a `#` says what one does.

    Returns:
        A paragraph for each.
    """
    return "\n\n".join(["[bold]Examples[/]", *(f"  {command}".replace("[", "\\[") for command in commands)])
