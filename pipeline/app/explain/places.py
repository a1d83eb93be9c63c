"""Where a rule stands in the workspace's files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.app.declared import read_text, read_workspace, workspace_files
from pipeline.app.settings import SettingError
from pipeline.declaration import DeclarationError
from pipeline.declaration.yaml_text import Document, parse_yaml
from pipeline.explain.rules import Locate
from pipeline.model.workspace import Workspace


def rule_places(path: Path, in_force: Workspace | None) -> Locate:
    """Find rules in the files of a workspace, as long as these declare what is in force.

    Args:
        path: File or folder of the workspace.
        in_force: The newest version of the configuration, or None.

    Returns:
        A function of a path such as `("destinations", "crm", "filters", 0)`: `workspace.yaml:12`, or an empty text where the files say something
        else about that object, or cannot be read.
    """
    try:
        declared = read_workspace(path)
        documents = [document for file in workspace_files(path) if isinstance(document := parse_yaml(read_text(file), str(file)), Document)]
    except (SettingError, DeclarationError):
        return lambda _path: ""

    def locate(place: Sequence[str | int]) -> str:
        kind, ident, *rest = place
        if in_force is None or getattr(declared, str(kind)).get(ident) != getattr(in_force, str(kind)).get(ident):
            return ""
        for document in documents:
            items = (document.data or {}).get(kind, [])
            index = next((number for number, item in enumerate(items) if item.get("id") == ident), None)
            if index is not None:
                problem = document.problem((str(kind), index, *rest), "")
                return f"{problem.file}:{problem.line}"
        return ""

    return locate
