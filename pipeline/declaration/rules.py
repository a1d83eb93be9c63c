"""What exists, given in by the registry, so that a declaration can be checked against it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from pipeline.declaration.problems import Path
from pipeline.declaration.shape import Fault


class TypeRules(NamedTuple):
    """A type of destination or storage.

    Attributes:
        settings: JSON Schema of its settings.
        secrets: Names of the settings that must be references.
        actions: Names of its actions.
        public: Names of the settings that device mode needs; none where the type does not know it.
    """

    settings: Mapping[str, Any]
    secrets: Collection[str] = ()
    actions: Collection[str] = ()
    public: Collection[str] = ()


class WorkspaceRules(NamedTuple):
    """Everything that a workspace is checked against.

    Attributes:
        schema: The content of `schemas/workspace.json`.
        destinations: Types of destinations by slug.
        storage: Types of storage by slug.
        enrichments: Names of the enrichments.
        compile_query: Compiles FQL; raises a `ValueError` with `message`, `column` and `hint` (`pipeline.mapping.QueryError`).
        compile_mapping: Compiles a mapping; raises a `ValueError` with `problems` (`pipeline.mapping.MappingError`).
        read_public_key: Reads a public key in PEM; raises a `ValueError` that says what the text is instead.
        presets: Slugs of the presets of webhook sources.
    """

    schema: Mapping[str, Any]
    destinations: Mapping[str, TypeRules]
    storage: Mapping[str, TypeRules]
    enrichments: Collection[str]
    compile_query: Callable[[str], object]
    compile_mapping: Callable[[Any], object]
    read_public_key: Callable[[str], object]
    presets: Collection[str] = ()

    def key_fault(self, pem: str) -> str:
        """Read a public key and say what is wrong with it; empty where nothing is."""
        try:
            self.read_public_key(pem)
        except ValueError as error:
            return str(error)
        return ""

    def query_faults(self, query: str) -> list[Fault]:
        """Compile a query and say what is wrong with it."""
        try:
            self.compile_query(query)
        except ValueError as error:
            column = getattr(error, "column", 0)
            place = f", at its character {column}" if column else ""
            return [Fault((), f"not a query{place}: {getattr(error, 'message', error)}", str(getattr(error, "hint", "")))]
        return []

    def mapping_faults(self, mapping: Any) -> list[Fault]:  # noqa: ANN401 (any JSON value)
        """Compile a mapping and say all that is wrong with it."""
        try:
            self.compile_mapping(mapping)
        except ValueError as error:
            problems = getattr(error, "problems", ())
            return [Fault(_steps(problem.path, mapping), problem.message, problem.hint) for problem in problems] or [Fault((), str(error))]
        return []


def _steps(text: str, data: Any) -> Path:  # noqa: ANN401 (any JSON value)
    """Read a mapping's path (`/items/0/@path`) as keys and indexes; only the data tells an index from a key."""
    steps: list[str | int] = []
    for token in text.strip("/").split("/"):
        if isinstance(data, list) and token.isdigit() and int(token) < len(data):
            steps.append(int(token))
            data = data[int(token)]
        elif isinstance(data, Mapping) and token in data:
            steps.append(token)
            data = data[token]
        else:
            break
    return tuple(steps)
