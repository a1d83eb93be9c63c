"""The scripts of device mode, as they lie beside the declarations of the destination types that have one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pipeline.destinations
from pipeline.registry import DESTINATION_TYPES


class Plugins(NamedTuple):
    """The scripts.

    Attributes:
        names: Names under which they are served, by slug of the type; a name changes with its script, so that it can be kept for ever.
        scripts: Contents by name.
    """

    names: Mapping[str, str]
    scripts: Mapping[str, bytes]


def read_plugins() -> Plugins:
    """Read the scripts of every destination type that knows device mode."""
    folder = Path(pipeline.destinations.__file__).parent
    found = {slug: (folder / slug / "browser.js").read_bytes() for slug, one in DESTINATION_TYPES.items() if one.public_settings}
    names = {slug: f"{slug}.{hashlib.sha256(script).hexdigest()[:12]}.js" for slug, script in found.items()}
    return Plugins(names, {names[slug]: script for slug, script in found.items()})
