"""Changes to the workspace's file on the disk: in one step, and only into something that is still sound."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.app.cli.editing import EditError, List, add_item, add_to_list
from pipeline.app.cli.errors import CommandError
from pipeline.app.declared import read_text, read_workspace, workspace_files
from pipeline.declaration.yaml_text import Document, parse_yaml
from pipeline.model.workspace import ID_PATTERN


def check_id(name: str, kind: str) -> None:
    """Refuse what is no id.

    Args:
        name: What was given.
        kind: What it is for: `source`.

    Raises:
        CommandError: It is no id; says what one looks like.
    """
    if not ID_PATTERN.fullmatch(name):
        raise CommandError(
            f"{name} is no id for a {kind}", "use lower-case letters, digits and hyphens, beginning with a letter or digit, at most 63", status=2
        )


def add_to_workspace(path: Path, name: List, item: Mapping[str, Any]) -> Path:
    """Append an object to a list of the workspace.

    Args:
        path: The workspace: a file, or a folder, whose file with that list is changed, else the one that names the workspace.
        name: The list.
        item: The object.

    Returns:
        The file that was changed.

    Raises:
        CommandError: The file cannot be added to, or not be written.
        DeclarationError: The workspace would have problems with it; nothing is written.
    """
    files = workspace_files(path)
    file = next((one for one in files if _has(one, name)), next((one for one in files if _has(one, "workspace")), files[0]))
    try:
        text = add_item(read_text(file), name, item)
    except EditError as error:
        raise CommandError(f"{file} is written in a way that this command cannot add to", str(error)) from None
    read_workspace(path, {file: text})
    write_file(file, text)
    return file


def add_to_source(path: Path, source: str, key: str, text: str) -> Path:
    """Append a text to a list of a source.

    Args:
        path: The workspace: a file or a folder.
        source: Id of the source.
        key: The list: `write_keys`.
        text: The text.

    Returns:
        The file that was changed.

    Raises:
        CommandError: The file cannot be added to, or not be written.
        DeclarationError: The workspace would have problems with it; nothing is written.
    """
    file = next(one for one in workspace_files(path) if _declares(one, source))
    try:
        changed = add_to_list(read_text(file), "sources", source, key, text)
    except EditError as error:
        raise CommandError(f"{file} is written in a way that this command cannot add to", str(error)) from None
    read_workspace(path, {file: changed})
    write_file(file, changed)
    return file


def write_file(file: Path, text: str) -> None:
    """Write a file in one step: a reader sees the old text or the new one.

    Args:
        file: Its path.
        text: The new text.

    Raises:
        CommandError: It cannot be written.
    """
    temporary = file.with_name(f".{file.name}.new")
    try:
        temporary.write_text(text, encoding="utf-8", newline="")
        if file.exists():
            temporary.chmod(file.stat().st_mode & 0o777)
        temporary.replace(file.resolve())
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CommandError(f"{file} cannot be written: {error.strerror}") from None


def _declares(file: Path, source: str) -> bool:
    document = parse_yaml(read_text(file), str(file))
    data = document.data if isinstance(document, Document) and isinstance(document.data, dict) else {}
    return any(item["id"] == source for item in data.get("sources") or ())


def _has(file: Path, name: str) -> bool:
    document = parse_yaml(read_text(file), str(file))
    return isinstance(document, Document) and isinstance(document.data, dict) and name in document.data
