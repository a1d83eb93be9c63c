"""The decision about one delivery of a webhook source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs

import orjson

from pipeline.ingest import refusals
from pipeline.ingest.body import parsed_whole, plain
from pipeline.ingest.collect import Accepted
from pipeline.ingest.completion import Envelope, Sender
from pipeline.ingest.dead_letters import dead_letter
from pipeline.ingest.judgement import Fault, unwritable_fault
from pipeline.ingest.records import Maker
from pipeline.ingest.refusals import Refused
from pipeline.ingest.webhook.calls import Calls, calls_of, compile_calls
from pipeline.ingest.webhook.signature import unproved
from pipeline.mapping import MappingError
from pipeline.model import headers as names
from pipeline.model import odd_json
from pipeline.model.record import Output
from pipeline.model.workspace import Signature, Source, Workspace
from pipeline.sources import SourcePreset

UNPROVED_BYTES: Final = 64 * 1024
"""How much is kept of a body that no secret vouches for: anyone can send one."""
_KEPT_BYTES: Final = 4 * 1024
_CREDENTIALS: Final = ("api-key", "apikey", "auth", "cookie", "password", "secret", "signature", "token")
_FORM: Final = "application/x-www-form-urlencoded"


class Hook(NamedTuple):
    """A webhook source, ready to take deliveries.

    Attributes:
        source: Its id.
        preset: Slug of its preset.
        signature: How its deliveries are signed.
        keys: The keys that sign them; empty where none is set on this machine.
        calls: What they become.
        form_field: Field that holds the JSON where a delivery is a form.
    """

    source: str
    preset: str
    signature: Signature
    keys: tuple[bytes, ...]
    calls: Calls
    form_field: str


class Unproved(NamedTuple):
    """A delivery that no secret vouches for.

    Attributes:
        refusal: What is answered.
        letter: Its dead letter: the beginning of its body, without its headers.
    """

    refusal: Refused
    letter: Output


class Delivery(NamedTuple):
    """One request to a webhook source.

    Attributes:
        headers: Header values by lower-case name.
        body: The body as it came.
        received_at: When it came, milliseconds since the epoch.
    """

    headers: Mapping[str, str]
    body: bytes
    received_at: int


def make_hook(source: Source, preset: SourcePreset, keys: Sequence[bytes]) -> Hook:
    """Compile a webhook source.

    Args:
        source: The source.
        preset: Its preset.
        keys: The keys that sign its deliveries.

    Returns:
        The hook.

    Raises:
        ValueError: A mapping or a trigger is wrong.
    """
    return Hook(source.id, preset.slug, source.signature or preset.signature, tuple(keys), compile_calls(source, preset), preset.form_field)


def collect_delivery(delivery: Delivery, hook: Hook, workspace: Workspace) -> Accepted | Unproved | Refused:
    """Decide what becomes of a delivery.

    Args:
        delivery: The delivery.
        hook: Its source.
        workspace: The workspace.

    Returns:
        What is to be stored before the sender hears that it was taken; or why it is not taken.
    """
    source = workspace.sources.get(hook.source)
    if source is None:
        return refusals.NOT_FOUND
    if not source.enabled:
        return refusals.WEBHOOK_DISABLED._replace(source=source.id)
    if not hook.keys:
        return refusals.NO_SECRET._replace(source=source.id)
    fault = unproved(hook.signature, hook.keys, delivery.headers, delivery.body, delivery.received_at)
    if fault is not None:
        letter = _letter(delivery.body[:UNPROVED_BYTES], fault, hook, delivery.received_at, workspace)
        return Unproved(Refused(401, fault.reason, fault.message, source=source.id), letter)
    taken = _proved(delivery, hook, source, workspace)
    if not isinstance(taken, Fault):
        return taken
    # A sender that is refused would send it again for days, and no better: it is kept, and taken.
    letter = _letter(delivery.body, taken, hook, delivery.received_at, workspace, _kept(delivery.headers, hook.signature))
    return Accepted([letter], len(letter.value or b""), {(source.id, "dead"): 1})


def map_anew(letter: Delivery, hook: Hook, workspace: Workspace) -> list[Output] | str:
    """Make events of a delivery that was proved when it came, and lay in dead letters since.

    Args:
        letter: The delivery, with the headers that were kept of it.
        hook: Its source, as it is declared now; its keys are not asked.
        workspace: The workspace.

    Returns:
        Records for `raw`, or why there are none, for a person.
    """
    source = workspace.sources.get(hook.source)
    if source is None or not source.enabled:
        return f"the source {hook.source} is {'disabled' if source else 'declared no more'}"
    made = _proved(letter, hook, source, workspace)
    return made.outputs if isinstance(made, Accepted) else f"no event can be made of it still: {made.message.removesuffix('.')}"


def kept_headers(text: bytes) -> dict[str, str] | None:
    """Read the headers that a dead letter keeps of its delivery.

    Args:
        text: Value of the letter's header `webhook_headers`; any client may write one.

    Returns:
        Values by lower-case name, or None where they are none.
    """
    try:
        found = orjson.loads(text)
    except ValueError:
        return None
    return {name: value for name, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else None


def _kept(headers: Mapping[str, str], signature: Signature) -> bytes:
    """Write the headers that mappings may ask for once more; what may be a credential is left out, and what is beyond all measure."""
    kept: dict[str, str] = {}
    room = _KEPT_BYTES
    for name, value in headers.items():
        size = len(name) + len(value)
        if size <= room and name != signature.header and not any(word in name for word in _CREDENTIALS):
            kept[name] = value.encode("utf-8", "replace").decode()
            room -= size
    return orjson.dumps(kept)


def _proved(delivery: Delivery, hook: Hook, source: Source, workspace: Workspace) -> Accepted | Refused | Fault:
    text = plain(delivery.body, delivery.headers.get("content-encoding"))
    if isinstance(text, Refused):
        return text if text.status == 413 else Fault("invalid_json", text.message)
    decoded = parsed_whole(_json_of(text, hook, delivery.headers), batch=False)
    if isinstance(decoded, Refused):
        return Fault("invalid_json", decoded.message)
    if decoded.deep:
        return unwritable_fault()
    body, odd = decoded.value, decoded.odd
    settled = odd_json.settle(body) if odd else None
    body = body if settled is None else settled.value
    try:
        calls = calls_of(hook.calls, source.id, delivery.headers, body, text, delivery.received_at)
    except (MappingError, RecursionError) as error:
        return Fault("mapping_failed", str(error))
    maker = Maker("", Envelope(), Sender(), delivery.received_at, "", workspace, None, () if settled is None else settled.places)
    origin = maker.origin(source.id)
    outputs = []
    for index, call in enumerate(calls):
        made = maker.record(call, index, source, origin)
        if isinstance(made, Fault):
            return made
        outputs.append(made)
    size = sum(len(one.key or b"") + len(one.value or b"") for one in outputs)
    replaced = {} if settled is None else {(source.id, name): count for name, count in settled.counts.items()}
    return Accepted(outputs, size, {(source.id, "accepted"): len(outputs)}, replaced)


def _json_of(text: bytes, hook: Hook, headers: Mapping[str, str]) -> bytes:
    """Give the JSON of a body, which some senders put into a field of a form."""
    if not hook.form_field or not headers.get("content-type", "").lower().startswith(_FORM):
        return text
    try:
        fields: dict[str, Any] = parse_qs(text.decode(), max_num_fields=100)
    except ValueError:
        return b""
    return str(fields.get(hook.form_field, [""])[0]).encode("utf-8", "replace")


def _letter(value: bytes, fault: Fault, hook: Hook, received_at: int, workspace: Workspace, headers: bytes | None = None) -> Output:
    origin: tuple[tuple[str, bytes], ...] = (
        (names.SOURCE, hook.source.encode()),
        (names.RECEIVED_AT, b"%d" % received_at),
        (names.CONFIG, b"%d" % workspace.version),
        (names.WEBHOOK, hook.preset.encode()),
    )
    if headers is not None:
        origin += ((names.WEBHOOK_HEADERS, headers),)
    return dead_letter(value, None, fault, origin, received_at, workspace)
