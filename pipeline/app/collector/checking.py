"""Validate before the answer, for clients that ask for it (`acknowledge=validated`): the same pure step that judges the record afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.ingest.judgement import Fault
from pipeline.ingest.records import Check
from pipeline.model import headers, ids, json_text
from pipeline.model.outcomes import Dead, Step
from pipeline.model.record import Message, Record
from pipeline.model.workspace import Workspace
from pipeline.validate.judge import create_judge
from pipeline.validate.normalise import text_ids


class Checking:
    """Validate's judgement, compiled once for each version of the workspace.

    Args:
        schemas: JSON Schema of each of the six calls, by its name.
    """

    def __init__(self, schemas: Mapping[str, Mapping[str, Any]]) -> None:
        self._schemas = schemas
        self._workspace: Workspace | None = None
        self._judge: Step | None = None

    def check(self, workspace: Workspace, received_at: int) -> Check:
        """Make the check of one request.

        Args:
            workspace: The workspace.
            received_at: When the request came, milliseconds since the epoch.

        Returns:
            A function of a record's value and its source id that gives what validate would say.
        """
        if self._judge is None or workspace is not self._workspace:
            self._judge, self._workspace = create_judge(workspace, self._schemas), workspace
        judge, arrived = self._judge, b"%d" % received_at

        def check(value: bytes, source_id: str) -> Fault | None:
            body = json_text.decode(value)[0]
            text_ids(body)
            key = ids.event_key(body)
            outcome = judge(Message(body, key, {headers.RECEIVED_AT: arrived}, Record("", 0, 0, received_at, key, value), source_id))
            return Fault(outcome.reason, outcome.detail) if isinstance(outcome, Dead) else None

        return check
