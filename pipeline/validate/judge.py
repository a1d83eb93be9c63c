"""Whether an event is one of the six calls, in its normalised form, and satisfies the schemas that hold for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import jsonschema_rs

from pipeline.model import headers, ids, limits
from pipeline.model.outcomes import Dead, Outcome, Step
from pipeline.model.record import Message, Record
from pipeline.model.workspace import Source, Workspace
from pipeline.validate.call_rules import name_fault
from pipeline.validate.event_schema import EventSchema, SchemaRefusedError, Violation, compile_event_schema
from pipeline.validate.normalise import id_text, normalise_call
from pipeline.validate.quick import conforms_at_a_glance, is_plain
from pipeline.validate.times import correct_times, read_arrival

_CALLS: Final = frozenset({"identify", "track", "page", "screen", "group", "alias"})
_DETAIL_CHARACTERS: Final = limits.DETAIL_BYTES // 4


def create_judge(workspace: Workspace, schemas: Mapping[str, Mapping[str, Any]]) -> Step:
    """Make the second half of the step.

    Args:
        workspace: The workspace, with the sources' own schemas.
        schemas: JSON Schema of each of the six calls, by its name (`schemas/calls`).

    Returns:
        A function of a message whose source and headers are set and whose body is an object.

    Raises:
        SchemaRefusedError: A source's own schema cannot be used; names the source and the event.
        ValueError: A call has no schema, or a schema is no JSON Schema.
    """
    if missing := _CALLS.difference(schemas):
        raise ValueError(f"no JSON Schema for the calls {', '.join(sorted(missing))}")
    calls = {call: jsonschema_rs.validator_for(dict(schemas[call]), offline=True) for call in _CALLS}
    conforms = {call: validator.is_valid for call, validator in calls.items()}
    plain = frozenset(call for call in _CALLS if is_plain(schemas[call], call))
    own_schemas = {(source.id, event): (schema, source) for source in workspace.sources.values() for event, schema in _compile(source).items()}

    def judge(message: Message) -> Outcome | None:
        body = message.body
        call = body.get("type")
        if call.__class__ is not str or (call not in _CALLS and (call := _lower_case(body, call)) not in _CALLS):
            return Dead("unknown_type", "/type is none of the six calls")
        message_id = body.get("messageId")
        if message_id.__class__ is not str or not message_id:
            _fill_message_id(body, message_id, message.source, message.record)
        arrived = read_arrival(message.headers[headers.RECEIVED_AT])
        if arrived is None:
            raise ValueError("the header received_at was not written by validate")
        if wrong := correct_times(body, arrived):
            return Dead("timestamp_not_string", f"/{wrong} is not a string")
        normalise_call(body, call)
        if not (call in plain and conforms_at_a_glance(body, call)) and not conforms[call](body):
            return name_fault(body, call) or _unnamed(calls[call], body)
        if own_schemas and call == "track":
            own = own_schemas.get((message.source, body["event"]))
            if own is not None and not own[0].is_valid(body):
                return _violate(body, own[0].violations(body), own[1])
        return None

    return judge


def _compile(source: Source) -> dict[str, EventSchema]:
    compiled = {}
    for event, schema in source.schemas.items():
        try:
            compiled[event] = compile_event_schema(schema)
        except SchemaRefusedError as error:
            raise SchemaRefusedError(f"source {source.id}: the schema of the event {event!r} {error}") from error
    return compiled


def _lower_case(body: dict[str, Any], call: str) -> str:
    call = body["type"] = call.lower()
    return call


def _fill_message_id(body: dict[str, Any], message_id: Any, source: str, record: Record) -> None:  # noqa: ANN401 (any JSON value)
    if message_id is not None and message_id != "":
        body["messageId"] = id_text(message_id)
        return
    # Without sentAt nothing tells a retry from a second event with the same bytes, so the place in the log has to: no two
    # records share it, and the same record, read again, gets the same id.
    sent_at = body.get("sentAt")
    told = sent_at if sent_at.__class__ is str and sent_at else f"{record.topic}/{record.partition}/{record.offset}"
    body["messageId"] = ids.derived_message_id(source, str(told), 0, record.value or b"")


def _unnamed(validator: jsonschema_rs.Validator, body: dict[str, Any]) -> Dead:
    error = next(iter(validator.iter_errors(body)))
    path = "/".join(str(step) for step in error.instance_path)
    return Dead("bad_request", f"/{path} breaks the rule {error.kind.name}"[:_DETAIL_CHARACTERS])


def _violate(body: dict[str, Any], violations: list[Violation], source: Source) -> Dead | None:
    if source.on_violation == "dead":
        return Dead("schema_violation", ", ".join(f"{path or '/'} breaks the rule {rule}" for path, rule in violations)[:_DETAIL_CHARACTERS])
    body.setdefault("context", {})["violations"] = [violation._asdict() for violation in violations]
    return None
