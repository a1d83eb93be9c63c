"""Validate: say whose a raw record is, put it where it belongs, and make it a normalised spec message.

Comes in: one record of `raw`, parsed, from the collector or from any Kafka client. Goes out: the same event in the shape
of `schemas/calls` (`validated`), with the headers `source` and `received_at`; or the record itself, byte for byte, on lane
`raw`, when it does not lie in the partition of its key.

Reasons: `source_disabled` (dropped); `not_an_object`, `unknown_source`, `event_too_large`, `too_deep`, `too_many_keys`,
`unknown_type`, `no_user_anon_id`, `id_required`, `id_not_string`, `message_id_too_long`, `event_not_defined`,
`event_not_string`, `properties_not_object`, `traits_not_object`, `context_not_object`, `integrations_not_object`,
`name_not_string`, `category_not_string`, `timestamp_not_string`, `bad_request` (a call's schema is broken in a way that no
other reason names), `schema_violation` (all dead); `rekeyed` is counted beside an event that was sent back.
"""

from __future__ import annotations

from pipeline.validate.event_schema import EventSchema, SchemaRefusedError, compile_event_schema
from pipeline.validate.step import create_validate

__all__ = ["EventSchema", "SchemaRefusedError", "compile_event_schema", "create_validate"]
