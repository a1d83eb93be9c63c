"""The decision of the collector: what becomes of one request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, Protocol

from pipeline.ingest import credentials, refusals
from pipeline.ingest.body import parsed, plain
from pipeline.ingest.completion import Envelope, Sender, completed, envelope_of, place
from pipeline.ingest.dead_letters import dead_letter
from pipeline.ingest.endpoints import Endpoint
from pipeline.ingest.judgement import NOT_AN_OBJECT, Fault, excess_of, fault_of, unwritable_fault
from pipeline.ingest.refusals import Refused
from pipeline.model import headers, ids, json_text, limits
from pipeline.model.record import Output
from pipeline.model.topics import topic_name
from pipeline.model.workspace import Source, Workspace

_CRASHED: Final = Fault("crashed", "The collector failed on this body: a bug of ours.")


class RequestHeaders(Protocol):
    """Header values by lower-case name, as the server or a dict gives them."""

    def get(self, key: str, default: None = None, /) -> str | None:
        """Give a value, or None."""
        ...


class Request(NamedTuple):
    """One POST.

    Attributes:
        endpoint: What its path takes.
        headers: Its headers.
        query: Its query string without question mark.
        body: Its body as it came.
        ip: Address of the client, without port.
        received_at: When it came, milliseconds since the epoch.
        unique: A text that no other request has: it keeps apart equal events that have neither message id nor `sentAt`.
    """

    endpoint: Endpoint
    headers: RequestHeaders
    query: str
    body: bytes
    ip: str
    received_at: int
    unique: str


class Accepted(NamedTuple):
    """A request whose records are to be stored; only then it may be answered.

    Attributes:
        outputs: Records for `raw` and `dead.ingest`, in the order of the events.
        size: Bytes of all keys and values.
        counts: How many events had which outcome (`accepted`, `dead`; `replaced` counts values that JSON could not carry), by source.
    """

    outputs: list[Output]
    size: int
    counts: Mapping[tuple[str, str], int]


def collect(request: Request, keys: Mapping[str, str], workspace: Workspace) -> Accepted | Refused:
    """Decide what becomes of a request.

    Args:
        request: The request.
        keys: Source ids by write key; a source that the workspace does not have owns nothing.
        workspace: The workspace.

    Returns:
        The records to store, or the refusal of the whole request.
    """
    text = plain(request.body, request.headers.get("content-encoding"))
    if isinstance(text, Refused):
        return text
    decoded = parsed(text)
    if isinstance(decoded, Refused):
        return decoded
    value, replaced = decoded
    if request.endpoint.takes == "batch":
        return _batch(request, value, replaced, keys, workspace)
    return _single(request, value, replaced, keys, workspace)


def crashed(request: Request, workspace: Workspace) -> Accepted:
    """Keep the body of a request on which `collect` failed, so that no client sends it again for hours (reference: tracking-api §3).

    Args:
        request: The request.
        workspace: The workspace.

    Returns:
        One dead letter with the body as it came.
    """
    letter = dead_letter(request.body, None, _CRASHED, ((headers.RECEIVED_AT, b"%d" % request.received_at),), request.received_at, workspace)
    return Accepted([letter], len(letter.value or b""), {("", "dead"): 1})


class _Judge(NamedTuple):
    """What is the same for all events of one request."""

    call: str
    envelope: Envelope
    sender: Sender
    received_at: int
    unique: str
    workspace: Workspace
    topic: str

    def record(self, item: dict[str, Any], index: int, source: Source, origin: tuple[tuple[str, bytes], ...]) -> Output | Fault:
        """Make the record of one event, whose write key has been taken away, or say what is wrong with it."""
        fault = fault_of(item, self.call)
        if fault is not None:
            return fault
        body = completed(item, self.call, self.envelope)
        try:
            message_id = body.get("messageId")
            if message_id is None or message_id == "":
                sent_at = body.get("sentAt")
                body["messageId"] = ids.derived_message_id(source.id, str(sent_at) if sent_at else self.unique, index, json_text.encode(body))
            place(body, self.sender)
            value = json_text.encode(body)
            fault = excess_of(item, body, value, source)
        except (ValueError, RecursionError):
            return unwritable_fault()
        if fault is not None:
            return fault
        return Output(self.topic, ids.event_key(body), value, origin)


def _judge(request: Request, envelope: Envelope, workspace: Workspace) -> _Judge:
    browser = request.headers.get("origin") is not None
    user_agent = request.headers.get("user-agent") if browser else None
    sender = Sender(browser, request.ip, user_agent or "")
    return _Judge(request.endpoint.call, envelope, sender, request.received_at, request.unique, workspace, topic_name(workspace.name, "raw"))


def _origin(source_id: str, received_at: int, version: int) -> tuple[tuple[str, bytes], ...]:
    # With the version that took it, so that a source which was added a moment ago is not unknown to a stage that has not heard of it yet.
    return (headers.SOURCE, source_id.encode()), (headers.RECEIVED_AT, b"%d" % received_at), (headers.CONFIG, b"%d" % version)


def _source(workspace: Workspace, source_id: str) -> Source | Refused:
    source = workspace.sources.get(source_id)
    if source is None:
        return refusals.INVALID_WRITE_KEY
    if not source.enabled:
        return refusals.SOURCE_DISABLED._replace(source=source_id)
    return source


def _single(request: Request, item: Any, replaced: int, keys: Mapping[str, str], workspace: Workspace) -> Accepted | Refused:  # noqa: ANN401 (JSON)
    if item.__class__ is not dict:
        return refusals.NOT_AN_OBJECT
    header_key = credentials.basic_key(request.headers.get("authorization"))
    source_id = credentials.owner(keys, header_key, item.pop("writeKey", None), credentials.query_key(request.query))
    source = _source(workspace, source_id)
    if isinstance(source, Refused):
        return source
    judge = _judge(request, Envelope(sent_at=request.headers.get("sentat") or ""), workspace)
    record = judge.record(item, 0, source, _origin(source_id, request.received_at, workspace.version))
    if isinstance(record, Fault):
        return Refused(400, record.reason, record.message, source=source_id)
    counts = {(source_id, "accepted"): 1}
    if replaced:
        counts[source_id, "replaced"] = replaced
    return Accepted([record], _size(record), counts)


def _batch(request: Request, batch: Any, replaced: int, keys: Mapping[str, str], workspace: Workspace) -> Accepted | Refused:  # noqa: ANN401 (JSON)
    items = batch.get("batch") if batch.__class__ is dict else None
    if items.__class__ is not list:
        return refusals.NOT_A_BATCH
    if len(items) > limits.BATCH_EVENTS:
        return refusals.BATCH_TOO_LONG
    sources = _batch_sources(request, batch, items, keys, workspace)
    if isinstance(sources, Refused):
        return sources
    judge = _judge(request, envelope_of(batch, request.headers.get("sentat")), workspace)
    outputs: list[Output] = []
    counts: dict[tuple[str, str], int] = {}
    size = 0
    for (index, item), source in zip(enumerate(items), sources, strict=False):
        output, source_id, outcome = _item(judge, item, index, source)
        outputs.append(output)
        size += _size(output)
        counts[source_id, outcome] = counts.get((source_id, outcome), 0) + 1
    if replaced and outputs:
        source_id = next(iter(counts))[0]
        counts[source_id, "replaced"] = replaced
    return Accepted(outputs, size, counts)


def _batch_sources(
    request: Request,
    batch: dict[str, Any],
    items: list[Any],
    keys: Mapping[str, str],
    workspace: Workspace,
) -> Iterator[Source | Refused] | Refused:
    """Find the source of each item: the request's own, else each item's, else the query's."""
    header_key = credentials.basic_key(request.headers.get("authorization"))
    source_id = credentials.owner(keys, header_key, batch.get("writeKey"))
    from_query = credentials.owner(keys, credentials.query_key(request.query))
    if source_id or not items:
        source = _source(workspace, source_id or from_query)
        return source if isinstance(source, Refused) else _endlessly(source)
    found = [_source(workspace, credentials.owner(keys, item.get("writeKey") if item.__class__ is dict else None) or from_query) for item in items]
    if all(isinstance(source, Refused) for source in found):
        first = found[0]
        return first if isinstance(first, Refused) and all(source == first for source in found) else refusals.INVALID_WRITE_KEY
    return iter(found)


def _endlessly(source: Source) -> Iterator[Source]:
    while True:
        yield source


def _item(judge: _Judge, item: Any, index: int, source: Source | Refused) -> tuple[Output, str, str]:  # noqa: ANN401 (JSON)
    """Make one item's record for `raw`, or its dead letter; also its source and outcome for the counts."""
    if item.__class__ is dict:
        item.pop("writeKey", None)
    source_id = source.source if isinstance(source, Refused) else source.id
    origin = _origin(source_id, judge.received_at, judge.workspace.version) if source_id else ((headers.RECEIVED_AT, b"%d" % judge.received_at),)
    if isinstance(source, Refused):
        made: Output | Fault = Fault("source_disabled" if source_id else "unknown_source", source.message)
    elif item.__class__ is dict:
        made = judge.record(item, index, source, origin)
    else:
        made = NOT_AN_OBJECT
    if isinstance(made, Output):
        return made, source_id, "accepted"
    key = ids.event_key(item) if item.__class__ is dict else None
    return dead_letter(_written(item), key, made, origin, judge.received_at, judge.workspace), source_id, "dead"


def _written(item: Any) -> bytes:  # noqa: ANN401 (JSON)
    try:
        return json_text.encode(item)
    except (ValueError, RecursionError):  # read, but nested too deeply for any writer: only what stands outside of the nesting can be kept
        members = item.items() if item.__class__ is dict else ()
        return json_text.encode({name: value for name, value in members if value.__class__ is not dict and value.__class__ is not list})


def _size(output: Output) -> int:
    return len(output.key or b"") + len(output.value or b"")
