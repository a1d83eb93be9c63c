"""Every reason for which a message can end, or not go somewhere: its name, severity and a sentence.

The names are Segment's where it has one (docs: delivery overview, discard reasons), in lower case.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

Severity = Literal["info", "warning", "error"]


class Reason(NamedTuple):
    """A registered reason.

    Attributes:
        name: Stable name, as it stands in metrics, ledger and headers.
        severity: `info`: meant so. `warning`: the sender should look. `error`: data waits in dead letters for someone.
        sentence: What happened, for a person.
    """

    name: str
    severity: Severity
    sentence: str


_REASONS: Final = (
    # ingest and validate
    Reason("invalid_json", "error", "The value is not JSON that can be carried."),
    Reason("not_an_object", "error", "The event is not a JSON object."),
    Reason("event_too_large", "error", "The event is larger than its source allows."),
    Reason("too_deep", "error", "The event is nested deeper than 64 levels."),
    Reason("too_many_keys", "error", "The event has more than 10,000 keys."),
    Reason("unknown_source", "error", "No source owns the record: no header, no known write key, no default source."),
    Reason("source_disabled", "warning", "The source is disabled in the workspace."),
    Reason("unknown_type", "error", "The type is none of identify, track, page, screen, group, alias."),
    Reason("no_user_anon_id", "error", "The event has neither userId nor anonymousId."),
    Reason("id_required", "error", "An id that this call needs is missing: groupId for group, userId and previousId for alias."),
    Reason("id_not_string", "error", "An id is neither a string nor a number."),
    Reason("message_id_too_long", "error", "The message id has more than 100 characters."),
    Reason("event_not_defined", "error", "A track call has no event name."),
    Reason("event_not_string", "error", "The event name is not a string."),
    Reason("properties_not_object", "error", "properties is not an object."),
    Reason("traits_not_object", "error", "traits is not an object."),
    Reason("context_not_object", "error", "context is not an object."),
    Reason("integrations_not_object", "error", "integrations is not an object."),
    Reason("name_not_string", "error", "The page or screen name is not a string."),
    Reason("category_not_string", "error", "The page or screen category is not a string."),
    Reason("timestamp_not_string", "error", "timestamp, originalTimestamp or sentAt is not a string."),
    Reason("bad_request", "error", "The event does not satisfy the schema of its call in a way that no other reason names."),
    Reason("schema_violation", "error", "The event does not satisfy the JSON Schema that its source names for it."),
    Reason("invalid_signature", "error", "No secret of the webhook source gives the signature of the delivery."),
    Reason("delivery_too_old", "error", "The delivery was signed more than five minutes ago, or as long ahead."),
    Reason("rekeyed", "info", "The record lay in another partition than its key's and was sent back to raw under its key."),
    Reason("duplicate", "info", "A message with this id was seen from this source within the dedup window."),
    # filter
    Reason("no_route", "info", "No destination and no storage wants the event."),
    Reason("destination_disabled", "info", "The destination is disabled, or was removed after the event was routed."),
    Reason("filtered_by_integrations_object", "info", "The event's integrations object switches the destination off."),
    Reason("filtered_by_rules", "info", "The destination's event list or filter leaves the event out."),
    Reason("unknown_integration", "warning", "The event's integrations object names what is no destination of the workspace."),
    Reason("filter_failed", "error", "A filter of the destination could not be evaluated; the event is not sent to it."),
    # translate
    Reason("other_destination", "info", "The event is not routed to this destination."),
    Reason("no_matching_mapping", "info", "No mapping of the destination has a trigger that matches."),
    Reason("message_sent_client_side", "info", "The destination is in device mode, and the visitor's browser or app has sent it the event."),
    Reason("unsupported_event_type", "info", "The destination does not take calls of this type."),
    Reason("mapping_failed", "error", "A mapping could not be resolved for this event."),
    # deliver
    Reason("rejected", "error", "The destination refused the request for good."),
    Reason("redirected", "error", "The destination answered with a redirect, which is never followed."),
    Reason("retries_exhausted", "error", "The destination failed for four hours."),
    Reason("unauthorized", "warning", "The destination refuses our credentials; it is parked with its backlog and probed."),
    Reason(
        "circuit_open", "warning", "The destination fails again and again; nothing but one probe at a time is sent to it, and its backlog is kept."
    ),
    Reason("parked_by_command", "info", "A person parked the destination; nothing is sent to it until it is resumed, and its backlog is kept."),
    Reason("gone", "warning", "The destination answered that it is gone; it is disabled and its backlog kept."),
    Reason("misconfigured", "warning", "A setting or secret of the destination is missing; it is parked with its backlog."),
    # dead letters
    Reason("discarded", "info", "A person said that this dead letter needs nothing more."),
    # replay
    Reason("not_selected", "info", "The replay job was told to leave events of this source or name out."),
    Reason("already_stored", "info", "The store holds a row for this source and message id."),
    # anywhere
    Reason("output_too_large", "error", "What the steps made of the record is larger than its topic takes."),
    Reason("crashed", "error", "A step raised an exception on this record: a bug of ours."),
    Reason("source_throttled", "error", "Most records of this source crashed, so this one was not judged; redrive it when the bug is mended."),
    Reason("not_a_ledger_record", "warning", "A record of the ledger is not one of ours; the monitor passes over it."),
)

REASONS: Final[Mapping[str, Reason]] = MappingProxyType({reason.name: reason for reason in _REASONS})
"""Every registered reason by name."""
