"""The step: first whose and where, then what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.model.outcomes import Outcome, Step
from pipeline.model.record import Message
from pipeline.model.workspace import Workspace
from pipeline.validate.judge import create_judge
from pipeline.validate.place import create_place


def create_validate(
    workspace: Workspace,
    keys: Mapping[str, str],
    schemas: Mapping[str, Mapping[str, Any]],
    *,
    partitions: int,
) -> Step:
    """Make the step for one version of the workspace.

    Args:
        workspace: The workspace, with the sources' own schemas.
        keys: Source id by write key, references resolved.
        schemas: JSON Schema of each of the six calls, by its name (`schemas/calls`).
        partitions: How many partitions the topic `raw` has.

    Returns:
        The step. It takes a parsed raw record, whose body may be any JSON value, and owns it.

    Raises:
        SchemaRefusedError: A source's own schema cannot be used; names the source and the event.
        ValueError: A call has no schema, or a schema is no JSON Schema.
    """
    place = create_place(workspace, keys, partitions=partitions)
    judge = create_judge(workspace, schemas)

    def validate(message: Message) -> Outcome | None:
        return place(message) or judge(message)

    return validate
