"""`headrace query`: SQL over the lake."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.options import JsonOption, WorkspaceOption, examples
from pipeline.app.cli.output import say, say_json, table
from pipeline.app.declared import find_workspace, read_workspace
from pipeline.app.settings import Secrets, Settings, read_settings


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        "query",
        epilog=examples(
            'headrace query "select event, count(*) from tracks group by 1"',
            "headrace query --json \"select id, user_id from identifies where email = 'ada@example.com'\"",
        ),
    )(query)


def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One statement that reads, in DuckDB's SQL.", show_default=False)],
    storage: Annotated[str, typer.Option("--storage", metavar="ID", help="Which lake. Default: the only one.", show_default=False)] = "",
    workspace: WorkspaceOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Ask the lake: tables identifies, tracks, pages, screens, groups, aliases, and one for each track event.

    Reads what is committed now; an event is there a second or two after its 200. Needs no running process.
    """
    from pipeline.app.query import QueryError, run_query  # noqa: PLC0415 (DuckDB is 30 MB that no other command, and no process, should carry)

    settings = read_settings()
    try:
        answer = run_query(lake_folder(settings, workspace, storage), sql)
    except QueryError as error:
        raise CommandError(str(error), 'see the tables with: headrace query "show tables"') from error
    if as_json:
        say_json([dict(zip(answer.columns, row, strict=True)) for row in answer.rows])
        return
    table(answer.columns, answer.rows)
    say(f"{len(answer.rows)} row{'s' if len(answer.rows) != 1 else ''}")


def lake_folder(settings: Settings, workspace: str, storage: str) -> Path:
    """Find a lake's folder.

    Args:
        settings: The settings.
        workspace: Path of the workspace, or empty for the one found.
        storage: Id of the lake, or empty for the only one.

    Returns:
        The folder.

    Raises:
        CommandError: There is no such lake, or there are several; names them.
    """
    lakes = {one.id: one for one in read_workspace(find_workspace(workspace, settings)).storage.values() if one.type == "parquet"}
    if not lakes:
        raise CommandError("the workspace has no lake", "declare one under `storage:` with type parquet")
    if storage not in lakes and (storage or len(lakes) > 1):
        raise CommandError(f"which lake? there are {', '.join(lakes)}", "say --storage ID")
    chosen = lakes[storage or next(iter(lakes))]
    return Path(Secrets(settings.home).resolve(str(chosen.settings["path"])))
