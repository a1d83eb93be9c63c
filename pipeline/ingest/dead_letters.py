"""The bad items of a batch, kept with their bytes in `dead.ingest` while the rest of the batch is taken (design: limits)."""

from __future__ import annotations

from typing import Final

from pipeline.ingest.judgement import Fault
from pipeline.model import headers, limits
from pipeline.model.record import Output
from pipeline.model.topics import topic_name
from pipeline.model.workspace import Workspace

STAGE: Final = "ingest"
_HEADER_ROOM: Final = 16 * 1024
_KEY_BYTES: Final = 8 * 1024
_VALUE_BYTES: Final = limits.TOPIC_MESSAGE_BYTES - _HEADER_ROOM


def dead_letter(
    value: bytes,
    key: bytes | None,
    fault: Fault,
    origin: tuple[tuple[str, bytes], ...],
    received_at: int,
    workspace: Workspace,
) -> Output:
    """Make the dead letter of one item.

    Args:
        value: The item's bytes. A topic takes 2 MiB; what goes beyond is cut off, and the detail says so.
        key: The item's key, or None.
        fault: What is wrong with it.
        origin: Headers that the record would have had in `raw`.
        received_at: When it came, milliseconds since the epoch.
        workspace: The workspace, at the version that judged the item.

    Returns:
        A record for `dead.ingest`.
    """
    detail = fault.message
    if len(value) > _VALUE_BYTES:
        detail = f"{detail} Only the first {_VALUE_BYTES} of its {len(value)} bytes are kept."
        value = value[:_VALUE_BYTES]
    at = b"%d" % received_at
    own = (
        (headers.DEAD_STAGE, STAGE.encode()),
        (headers.DEAD_REASON, fault.reason.encode()),
        (headers.DEAD_DETAIL, detail.encode()[: limits.DETAIL_BYTES]),
        (headers.DEAD_FIRST_FAILURE, at),
        (headers.DEAD_LAST_FAILURE, at),
        (headers.DEAD_CONFIG, b"%d" % workspace.version),
    )
    if key is not None and len(key) > _KEY_BYTES:
        key = None
    return Output(topic_name(workspace.name, f"dead.{STAGE}"), key, value, origin + own)
