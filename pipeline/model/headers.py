"""Names of the Kafka headers that the pipeline adds, and of the places that read them (design: the way of an event)."""

from __future__ import annotations

from typing import Final

SOURCE: Final = "source"
"""Id of the source, UTF-8."""
RECEIVED_AT: Final = "received_at"
"""When the collector took the event: milliseconds since the epoch, decimal text."""
CONFIG: Final = "config"
"""Version of the configuration that judged the event, decimal text; each stage writes its own when it is newer."""
TRACEPARENT: Final = "traceparent"
"""W3C trace context, passed on untouched."""
REPLAY: Final = "replay"
"""Id of the replay job that the record belongs to."""
ROUTES: Final = "routes"
"""Ids of the destinations and storages that an event is for, comma separated, sorted."""

# On requests and retries.
DESTINATION: Final = "destination"
EVENT_ORIGIN: Final = "event_origin"
"""Where the event of a request lies: `topic/partition/offset`."""
MESSAGE_ID: Final = "message_id"
"""The event's message id, UTF-8; also the idempotency id of its deliveries together with the mapping's name."""
MAPPING: Final = "mapping"
TYPE: Final = "type"
"""Spec call of the event that a request was made from."""
EVENT: Final = "event"
"""Event name of a track call that a request was made from; absent for other calls."""
ATTEMPT: Final = "attempt"
"""How many tries have failed so far, decimal text."""
FIRST_ATTEMPT: Final = "first_attempt"
"""When the first try was made: milliseconds since the epoch, decimal text."""
NOT_BEFORE: Final = "not_before"
"""Before this time (milliseconds since the epoch, decimal text) the next try is not made."""

# On dead letters: the record that died keeps its own headers beside these.
DEAD_STAGE: Final = "dead_stage"
DEAD_REASON: Final = "dead_reason"
DEAD_DETAIL: Final = "dead_detail"
DEAD_TOPIC: Final = "dead_topic"
DEAD_PARTITION: Final = "dead_partition"
DEAD_OFFSET: Final = "dead_offset"
DEAD_ATTEMPT: Final = "dead_attempt"
DEAD_FIRST_FAILURE: Final = "dead_first_failure"
DEAD_LAST_FAILURE: Final = "dead_last_failure"
DEAD_CONFIG: Final = "dead_config"
