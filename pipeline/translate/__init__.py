"""Translate: what a destination is to be sent for an event.

Comes in: messages of `routed`, with the header `routes`. Goes out: for each mapping of the destination whose trigger
matches, one record on the lane `requests`: a rendered request with `${secret:NAME}` in place of secrets.

Ends with `Drop`: `other_destination`, `unsupported_event_type`, `message_sent_client_side`,
`no_matching_mapping`. Ends with `Dead`: `mapping_failed`.
"""

from __future__ import annotations

from pipeline.translate.requests import idempotency_id
from pipeline.translate.step import create_translate, create_translate_all

__all__ = ["create_translate", "create_translate_all", "idempotency_id"]
