"""`headrace analytics-js`: make the library that websites load, before one asks for it."""

from __future__ import annotations

import asyncio

import typer
from rich.console import Console

from pipeline.app.browser.library import STANDALONE, AnalyticsLibrary, LibraryError, library_version
from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.options import JsonOption, examples
from pipeline.app.cli.output import say, say_json
from pipeline.app.settings import read_settings
from pipeline.runtime.clock import SystemClock


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("analytics-js", epilog=examples("headrace analytics-js", "HEADRACE_HOME=/srv/headrace headrace analytics-js --json"))(analytics_js)


def analytics_js(*, as_json: JsonOption = False) -> None:
    """Make the analytics.js that the collector serves to websites: fetch its npm package at the locked version, and keep it in HEADRACE_HOME.

    The collector does so by itself when the first page asks for it. Say it beforehand where that is too late: when an image is built, or for a
    machine without npm. What is there already is kept.
    """
    library = AnalyticsLibrary(read_settings().home, SystemClock())
    there = (library.folder / STANDALONE).is_file()
    try:
        with Console(stderr=True).status("fetching analytics.js with npm"):
            files = asyncio.run(library.files())
    except LibraryError as error:
        message, _, remedy = str(error).partition(": ")
        raise CommandError(message, remedy) from None
    if as_json:
        say_json({"version": library_version(), "folder": str(library.folder), "files": len(files), "made": not there})
        return
    say(f"[green]✓[/] analytics.js {library_version()} {'is' if there else 'is now'} in {library.folder}")
