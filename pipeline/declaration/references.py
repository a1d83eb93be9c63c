"""References to secrets: `${env:NAME}` and `${file:PATH}`, recognised here, resolved where they are used (`pipeline.app.settings`)."""

from __future__ import annotations

import re
from posixpath import normpath
from typing import Any, Final, Literal, NamedTuple

_REFERENCE: Final = re.compile(r"\$\{(env|file):([^${}]+)\}")
_ANY: Final = re.compile(r"\$\{[^{}]*\}?")


class Reference(NamedTuple):
    """One reference to a secret.

    Attributes:
        text: As it stands in the file: `${env:CRM_SECRET}`.
        kind: Where the secret lies: in an environment variable or in a file.
        name: Name of the variable, or path of the file.
    """

    text: str
    kind: Literal["env", "file"]
    name: str


def references_in(text: str) -> tuple[Reference, ...]:
    """Find the references in a text.

    Args:
        text: A setting.

    Returns:
        The references from left to right.
    """
    return tuple(Reference(match[0], "env" if match[1] == "env" else "file", match[2].strip()) for match in _REFERENCE.finditer(text))


def anchored(value: Any, folder: str) -> Any:  # noqa: ANN401 (any JSON value)
    """Let relative paths of references to files count from a folder, wherever the process runs that reads them.

    Args:
        value: What a file declares.
        folder: Absolute path of the folder that the file lies in.

    Returns:
        The same, with absolute paths; `~` stays, which each process has of its own.
    """
    if isinstance(value, str):
        for reference in references_in(value):
            if reference.kind == "file" and not reference.name.startswith(("/", "~")):
                value = value.replace(reference.text, f"${{file:{normpath(f'{folder}/{reference.name}')}}}")
        return value
    if isinstance(value, dict):
        return {name: anchored(one, folder) for name, one in value.items()}
    return [anchored(one, folder) for one in value] if isinstance(value, list) else value


def is_reference(text: str) -> bool:
    """Say whether a text is one reference and nothing else.

    Args:
        text: A setting.

    Returns:
        True for `${env:NAME}` and `${file:PATH}`.
    """
    return _REFERENCE.fullmatch(text) is not None


def broken_references(text: str) -> tuple[str, ...]:
    """Find what looks like a reference and is none, such as `${CRM_SECRET}`.

    Args:
        text: A setting.

    Returns:
        The pieces, from left to right.
    """
    return tuple(match[0] for match in _ANY.finditer(text) if not is_reference(match[0]))
