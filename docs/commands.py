"""The reference page of the command line, read from the command itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
from rich.text import Text

from pipeline.app.cli import build


def commands_page() -> str:
    """Write the page.

    Returns:
        Markdown: a section for each command, in the order of the help.
    """
    text = "# Commands\n\nWhat `headrace COMMAND --help` says.\n"
    text += "Every command exits with 0 when it did what was asked, 1 when it could not, 2 for wrong use.\n"
    for path, command in _commands(typer.main.get_command(build()), "headrace"):
        text += f"\n## {path}\n\n```text\n{_usage(path, command)}\n```\n\n{_plain(command.help)}\n"
        rows = [_row(one) for one in command.params if one.name != "help" and not getattr(one, "hidden", False)]
        if rows:
            text += "\n| option | what it is |\n| --- | --- |\n" + "".join(rows)
        examples = [line.strip() for line in _plain(command.epilog).splitlines()[1:] if line.strip()]
        if examples:
            # Indented, not fenced: the guide's blocks are run by tests, these are shown by `--help`.
            text += "\nExamples:\n\n" + "".join(f"    {line}\n" for line in examples)
    return text


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 (typer's copy of click has no public types)
    children = getattr(command, "commands", {})
    if not children:
        yield path, command
    for name, child in children.items():
        yield from _commands(child, f"{path} {name}")


def _usage(path: str, command: Any) -> str:  # noqa: ANN401 (the same)
    arguments = " ".join(one.metavar or one.name.upper() for one in command.params if one.param_type_name == "argument")
    return " ".join(part for part in (path, "[OPTIONS]", arguments) if part)


def _row(one: Any) -> str:  # noqa: ANN401 (the same)
    argument = one.param_type_name == "argument"
    names = one.metavar or one.name.upper() if argument else ", ".join(sorted(one.opts, key=len, reverse=True))
    flag = argument or not one.metavar or getattr(one, "is_flag", False)
    value = "" if flag else f" {one.metavar}"
    default = one.default if one.show_default and not callable(one.default) and one.default not in (None, "", False, ()) else None
    shown = getattr(default, "value", default)
    sentence = _plain(one.help) + (f" Default: `{shown}`." if shown is not None and not one.required else "")
    return f"| `{names}{value}` | {sentence} |\n".replace("\n |", " |")


def _plain(text: str | None) -> str:
    return Text.from_markup(text or "").plain.strip()
