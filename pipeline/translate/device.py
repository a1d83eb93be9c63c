"""Device mode: whether the client has sent an event to a destination itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_sent_by_client(body: Mapping[str, Any], destination: str) -> bool:
    """Say whether an event's client has sent it to a destination.

    Args:
        body: The event; `_metadata.bundled` names what the client has sent to, `_metadata.failedInitializations` what did not start there.
        destination: Id of the destination.

    Returns:
        Whether it has; an event without such marks, as servers send, has been sent nowhere.
    """
    metadata = body.get("_metadata")
    if metadata.__class__ is not dict:
        return False
    bundled, failed = metadata.get("bundled"), metadata.get("failedInitializations")
    return bundled.__class__ is list and destination in bundled and not (failed.__class__ is list and destination in failed)
