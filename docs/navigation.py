"""Adds to the site's navigation what grows by itself: a page for each source preset and destination type, and the decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def on_config(config: Any) -> Any:  # noqa: ANN401 (mkdocs' own type, which the product does not depend on)
    """Put the pages that exist into the navigation; called by mkdocs.

    Args:
        config: The site's configuration.

    Returns:
        The same, changed.
    """
    folder = Path(config["docs_dir"])
    for title, place in (("Sources", "reference/sources"), ("Destinations", "reference/destinations"), ("Decisions", "adr")):
        names = [path.relative_to(folder).as_posix() for path in (folder / place).glob("*.md")]
        found = sorted(names, key=lambda name: (not name.endswith("README.md"), name))  # the overview of a folder goes first
        if found:
            config["nav"].append({title: found})
    return config
