"""From an event as it was sent to its record for `raw`, or to its dead letter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.ingest.completion import Envelope, Sender, completed, place
from pipeline.ingest.dead_letters import dead_letter
from pipeline.ingest.judgement import Fault, excess_of, fault_of, may_be_nested, unwritable_fault
from pipeline.model import headers, ids, json_text
from pipeline.model.addresses import anonymize_ip
from pipeline.model.odd_json import Place
from pipeline.model.record import Output
from pipeline.model.topics import topic_name
from pipeline.model.workspace import Source, Workspace

Check = Callable[[bytes, str], Fault | None]
"""What validate would say of a record's value and its source; None where it would let it pass."""
Origin = tuple[tuple[str, bytes], ...]


class Maker:
    """What is the same for all events of one request.

    Args:
        call: Type of an event that names none, or empty.
        envelope: The batch's envelope.
        sender: The client.
        received_at: When the request came, milliseconds since the epoch.
        unique: A text that no other request has.
        workspace: The workspace.
        check: Runs validate before the answer, where the client asked for it.
        replaced: What was replaced in the envelope.
    """

    __slots__ = ("_call", "_check", "_envelope", "_received_at", "_replaced", "_sender", "_topic", "_unique", "_workspace")

    def __init__(
        self,
        call: str,
        envelope: Envelope,
        sender: Sender,
        received_at: int,
        unique: str,
        workspace: Workspace,
        check: Check | None,
        replaced: tuple[Place, ...],
    ) -> None:
        self._call = call
        self._envelope = envelope
        self._sender = sender
        self._received_at = received_at
        self._unique = unique
        self._workspace = workspace
        self._topic = topic_name(workspace.name, "raw")
        self._check = check
        self._replaced = replaced

    def origin(self, source_id: str) -> Origin:
        """Give the headers of a source's records; those of one request share them."""
        received_at = (headers.RECEIVED_AT, b"%d" % self._received_at)
        if not source_id:
            return (received_at,)
        # With the version that took it, so that a source which was added a moment ago is not unknown to a stage that has not heard of it yet.
        return (headers.SOURCE, source_id.encode()), received_at, (headers.CONFIG, b"%d" % self._workspace.version)

    def record(self, item: dict[str, Any], index: int, source: Source, origin: Origin, replaced: tuple[Place, ...] = ()) -> Output | Fault:
        """Make the record of an event, or say what is wrong with it.

        Args:
            item: The event, whose write key has been taken away.
            index: Its position in the batch.
            source: Its source.
            origin: The headers of the record.
            replaced: What was replaced in it.

        Returns:
            The record, or the fault.
        """
        if source.anonymize_ip:
            _shorten_address(item)
        fault = fault_of(item, self._call)
        if fault is not None:
            return fault
        body = completed(item, self._call, self._envelope)
        try:
            message_id = body.get("messageId")
            if message_id is None or message_id == "":
                sent_at = body.get("sentAt")
                told = str(sent_at) if sent_at else self._unique
                body["messageId"] = ids.derived_message_id(source.id, told, index, json_text.encode(body))
            place(body, self._sender)
            if source.anonymize_ip:
                _shorten_address(body)
            if replaced or self._replaced:
                _tag(body, replaced + self._replaced)
            value = json_text.encode(body)
            fault = excess_of(item, body, value, source)
        except (ValueError, RecursionError):
            return unwritable_fault()
        if fault is None and self._check is not None:
            fault = self._check(value, source.id)
        return fault or Output(self._topic, ids.event_key(body), value, origin)

    def ending(self) -> bytes | None:
        """Give the end of the text of an event that has no `sentAt` of its own, where nothing else is added to a whole event; else None."""
        envelope = self._envelope
        if envelope.context is not None or envelope.integrations is not None or self._sender.browser or self._check is not None or self._replaced:
            return None
        return b',"sentAt":%s}' % json_text.encode(envelope.sent_at) if envelope.sent_at else b"}"

    def record_as_written(self, item: dict[str, Any], text: bytes, ending: bytes, most_bytes: int, origin: Origin) -> Output | None:
        """Make the record of an event out of its text, where that is the text of the record; `record` makes the same, in twice the time.

        Args:
            item: The event.
            text: It as compact JSON.
            ending: What `ending` gives.
            most_bytes: How large an event of its source may be, which shortens no addresses.
            origin: The headers of the record.

        Returns:
            The record, or None where the event has to be changed, or may have a fault.
        """
        get = item.get
        message_id = get("messageId")
        if "writeKey" in item or message_id is None or message_id == "":
            return None
        context = get("context")
        if (context.__class__ is dict and "direct" in context) or get("type") is None or fault_of(item, self._call) is not None:
            return None
        if len(ending) > 1 and not get("sentAt"):
            if "sentAt" in item:
                return None
            text = text[:-1] + ending
        if len(text) > most_bytes or may_be_nested(text):
            return None
        return Output(self._topic, ids.event_key(item), text, origin)

    def letter(self, item: Any, fault: Fault, origin: Origin) -> Output:  # noqa: ANN401 (JSON)
        """Make the dead letter of an item, with its bytes as far as they can be written."""
        key = ids.event_key(item) if item.__class__ is dict else None
        return dead_letter(_written(item), key, fault, origin, self._received_at, self._workspace)


def _tag(body: dict[str, Any], places: tuple[Place, ...]) -> None:
    """Say in the event what was replaced in it; one whose context is no object is dead anyway."""
    context = body.get("context")
    if context is None or context.__class__ is dict:
        body["context"] = {**(context or {}), "replaced": [one._asdict() for one in places]}


def _shorten_address(event: dict[str, Any]) -> None:
    """Shorten `context.ip` in a copy of the context, which a batch may share; what is no address can still hold one, and goes."""
    context = event.get("context")
    if context.__class__ is dict and context.get("ip") is not None:
        ip = context["ip"]
        shortened = anonymize_ip(ip) if ip.__class__ is str else None
        event["context"] = {**context, "ip": shortened} if shortened else {name: value for name, value in context.items() if name != "ip"}


def _written(item: Any) -> bytes:  # noqa: ANN401 (JSON)
    try:
        return json_text.encode(item)
    except (ValueError, RecursionError):  # read, but nested too deeply for any writer: only what stands outside of the nesting can be kept
        members = item.items() if item.__class__ is dict else ()
        return json_text.encode({name: value for name, value in members if value.__class__ is not dict and value.__class__ is not list})
