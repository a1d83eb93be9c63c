"""Names of the Kafka headers that the pipeline adds, and of the places that read them (design: the way of an event)."""

from __future__ import annotations

from collections.abc import Mapping
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
REKEYED: Final = "rekeyed"
"""On a record that validate wrote to raw again under its key: by how many partitions it was placed, decimal text."""
ROUTES: Final = "routes"
"""Ids of the destinations and storages that an event is for, comma separated, sorted."""

# On requests and retries.
DESTINATION: Final = "destination"
"""Id of the destination that a request is for."""
EVENT_ORIGIN: Final = "event_origin"
"""Where the event of a request lies: `topic/partition/offset`."""
MESSAGE_ID: Final = "message_id"
"""The event's message id, UTF-8; also the idempotency id of its deliveries together with the mapping's name."""
MAPPING: Final = "mapping"
"""Name of the mapping that rendered a request."""
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
"""Stage that gave the record up."""
DEAD_REASON: Final = "dead_reason"
"""Registered reason for which it did."""
DEAD_DETAIL: Final = "dead_detail"
"""What was wrong and where, without values."""
DEAD_TOPIC: Final = "dead_topic"
"""Topic, with the workspace's name, that the record was read from."""
DEAD_PARTITION: Final = "dead_partition"
"""Its partition there."""
DEAD_OFFSET: Final = "dead_offset"
"""Its offset there."""
DEAD_ATTEMPT: Final = "dead_attempt"
"""How many tries had failed."""
DEAD_FIRST_FAILURE: Final = "dead_first_failure"
"""When the first failed: milliseconds since the epoch, decimal text."""
DEAD_LAST_FAILURE: Final = "dead_last_failure"
"""When the last failed, in the same form."""
DEAD_DESTINATION: Final = "dead_destination"
"""Id of the destination or storage for which it did, where the stage works for one of them."""
DEAD_CONFIG: Final = "dead_config"
WEBHOOK: Final = "webhook"
"""On what the collector did not take of a webhook source: the preset. Its value is the sender's delivery, not an event."""
WEBHOOK_HEADERS: Final = "webhook_headers"
"""Beside it where a secret of the source vouches for the delivery: its HTTP headers as a JSON object, without those that prove who sent it."""

# On a record that was taken out of dead letters.
REDRIVEN: Final = "redriven"
"""How often it was, decimal text."""
REDRIVEN_FROM: Final = "redriven_from"
"""Where the record lay that died: `topic/partition/offset`."""


def number_in(headers: Mapping[str, bytes], name: str, otherwise: int) -> int:
    """Read a number from a header.

    Args:
        headers: Headers of a record; a foreign producer's may be null.
        name: Name of the header.
        otherwise: What is given where there is no such number.

    Returns:
        The number.
    """
    value = headers.get(name)
    return int(value) if value and len(value) < _DIGITS_MOST and value.isdigit() else otherwise


_DIGITS_MOST: Final = 18
