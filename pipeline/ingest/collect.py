"""The decision of the collector: what becomes of one request."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from itertools import repeat
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from pipeline.ingest import credentials, refusals
from pipeline.ingest.answers import Result
from pipeline.ingest.body import parsed_whole, plain
from pipeline.ingest.completion import Envelope, Sender, envelope_of
from pipeline.ingest.dead_letters import dead_letter
from pipeline.ingest.endpoints import Endpoint
from pipeline.ingest.items import NotJson, ReadItems, UnreadItems
from pipeline.ingest.judgement import NOT_AN_OBJECT, Fault, bytes_most
from pipeline.ingest.oauth import NO_TOKEN, Token
from pipeline.ingest.origins import origin_allowed
from pipeline.ingest.pixel import pixel_event
from pipeline.ingest.records import Check, Maker, Origin
from pipeline.ingest.refusals import Refused
from pipeline.ingest.slices import many_values, parts_of, refusal_of
from pipeline.ingest.write_keys import Holder, WriteKeys, first
from pipeline.model import headers, json_text, limits, odd_json
from pipeline.model.odd_json import Place, Settled
from pipeline.model.record import Output
from pipeline.model.workspace import Source, Workspace

_CRASHED: Final = Fault("crashed", "The collector failed on this body: a bug of ours.")
_NOTHING: Final[Mapping[tuple[str, str], int]] = MappingProxyType({})
_NO_ENVELOPE: Final = Envelope()
_LARGE_BYTES: Final = 1024 * 1024
"""A text that it took a turn to unpack."""
_TURN_BYTES: Final = 128 * 1024
_TURN_ITEMS: Final = 100
"""Records that are made, and events that are looked at, in one turn."""


RequestHeaders = Mapping[str, str]
"""Header values by lower-case name."""


class Request(NamedTuple):
    """One request.

    Attributes:
        endpoint: What its path takes.
        headers: Its headers.
        query: Its query string without question mark.
        body: Its body as it came.
        ip: Address of the client, without port.
        received_at: When it came, milliseconds since the epoch.
        unique: A text that no other request has: it keeps apart equal events that have neither message id nor `sentAt`.
        origin: Value of its Origin header.
        authorization: Value of its Authorization header.
        token: What its access token says.
        results: Whether its client wants to hear of each event.
        check: Runs validate before the answer, where its client asked for it.
    """

    endpoint: Endpoint
    headers: RequestHeaders
    query: str
    body: bytes
    ip: str
    received_at: int
    unique: str
    origin: str | None = None
    authorization: str | None = None
    token: Token = NO_TOKEN
    results: bool = False
    check: Check | None = None


class Accepted(NamedTuple):
    """A request whose records are to be stored; only then it may be answered.

    Attributes:
        outputs: Records for `raw` and `dead.ingest`, in the order of the events.
        size: Bytes of all keys and values.
        counts: How many events had which outcome (`accepted`, `dead`), by source.
        replaced: How many values were replaced, by source and name of the odd value.
        key: Whose write key it was, where one key stood for all.
        results: What became of each event, where that was asked for.
    """

    outputs: list[Output]
    size: int
    counts: Mapping[tuple[str, str], int]
    replaced: Mapping[tuple[str, str], int] = _NOTHING
    key: Holder | None = None
    results: list[Result] | None = None


Verdict = Accepted | Refused
Turns = Generator[None, None, Verdict]
"""A decision that is made in turns, none of which is long."""


def collect(request: Request, keys: WriteKeys, workspace: Workspace) -> Verdict:
    """Decide at once what becomes of a request.

    Args:
        request: The request.
        keys: The write keys; a source that the workspace does not have owns nothing.
        workspace: The workspace.

    Returns:
        The records to store, or the refusal of the whole request.
    """
    turns = collect_in_turns(request, keys, workspace)
    while True:
        try:
            next(turns)
        except StopIteration as decided:
            verdict: Verdict = decided.value
            return verdict


def collect_in_turns(request: Request, keys: WriteKeys, workspace: Workspace) -> Turns:
    """Decide what becomes of a request as `collect` does, in turns.

    Yields:
        None, wherever somebody else may have a turn.

    Returns:
        The records to store, or the refusal of the whole request.
    """
    endpoint = request.endpoint
    if endpoint.takes == "pixel":
        event = pixel_event(request.query, endpoint.call, rudderstack=endpoint.name == "rudder_pixel")
        if isinstance(event, Refused):
            return event
        return (yield from _batch(request, {}, ReadItems([event[0]], odd=event[1]), keys, workspace, odd=event[1]))
    text = plain(request.body, request.headers.get("content-encoding"))
    if isinstance(text, Refused):
        return text
    if len(text) > _LARGE_BYTES:
        yield
    if not many_values(text):
        return (yield from _whole(request, text, keys, workspace))
    yield
    return (yield from _large(request, text, keys, workspace)) if endpoint.takes == "batch" else refusal_of(text)


def _whole(request: Request, text: bytes, keys: WriteKeys, workspace: Workspace) -> Turns:
    """Decide about a body that is read at once."""
    batch = request.endpoint.takes == "batch"
    decoded = parsed_whole(text, batch=batch)
    if isinstance(decoded, Refused):
        return decoded
    value, odd, texts = decoded
    if not batch:
        return _single(request, value, keys, workspace, odd=odd, text=texts[0] if texts else None)
    items = value.get("batch") if isinstance(value, dict) else None
    if items.__class__ is not list:
        return refusals.NOT_A_BATCH
    if len(items) > limits.BATCH_EVENTS:
        return refusals.BATCH_TOO_LONG
    if decoded.deep:  # read by itself, each event but the one that is to blame is exact
        return (yield from _large(request, text, keys, workspace))
    value["batch"] = None
    return (yield from _batch(request, value, ReadItems(items, odd=odd, texts=texts), keys, workspace, odd=odd))


def _large(request: Request, text: bytes, keys: WriteKeys, workspace: Workspace) -> Turns:
    """Decide about a batch that has too many values to read it at once, or is nested too deeply."""
    parts = yield from parts_of(text)
    if isinstance(parts, Refused):
        return parts
    if many_values(parts.envelope):
        return refusals.TOO_MANY_VALUES
    decoded = parsed_whole(parts.envelope, batch=False)
    if isinstance(decoded, Refused):
        return decoded
    if decoded.deep:
        return refusals.INVALID_JSON
    try:
        return (yield from _batch(request, decoded.value, UnreadItems(parts.items), keys, workspace, odd=decoded.odd))
    except NotJson:
        return refusals.INVALID_JSON


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


def _maker(request: Request, envelope: Envelope, workspace: Workspace, replaced: tuple[Place, ...] = ()) -> Maker:
    browser = request.endpoint.takes == "pixel" or request.origin is not None
    user_agent = request.headers.get("user-agent") if browser else None
    sender = Sender(browser, request.ip, user_agent or "")
    return Maker(request.endpoint.call, envelope, sender, request.received_at, request.unique, workspace, request.check, replaced)


def _source(request: Request, holder: Holder | None, workspace: Workspace) -> Source | Refused:
    """Give the source that a request may send to, or say why there is none."""
    if holder is None or not holder.enabled:
        # An SDK with OAuth drops its token on 511 and sends the same again with a new one; a 401 would cost the batch.
        refusal = refusals.INVALID_TOKEN if request.token.state == "invalid" else refusals.INVALID_WRITE_KEY
        # A disabled key is named for our counts alone; naming none takes the same time, so that a guess does not learn of it (T60).
        source_id, key = ("", "") if holder is None else (holder.source, holder.fingerprint)
        return refusal._replace(source=source_id, key=key)
    source = workspace.sources.get(holder.source)
    if source is None:
        return refusals.INVALID_WRITE_KEY
    if not source.enabled:
        return refusals.SOURCE_DISABLED._replace(source=source.id)
    if source.origins and request.origin is not None and not origin_allowed(request.origin, source.origins):
        return refusals.ORIGIN_NOT_ALLOWED._replace(source=source.id)
    return source


def _header_holder(request: Request, keys: WriteKeys) -> Holder | None:
    if request.token.state == "valid":
        return Holder(request.token.source, "")
    holder = keys.of_header(request.authorization)
    if holder is not None and holder.enabled:
        return holder
    return first(holder, keys.of(request.headers.get("x-write-key")))


def _single(
    request: Request,
    item: Any,  # noqa: ANN401 (JSON)
    keys: WriteKeys,
    workspace: Workspace,
    *,
    odd: bool,
    text: bytes | None,
) -> Accepted | Refused:
    if not isinstance(item, dict):
        return refusals.NOT_AN_OBJECT
    replaced = odd_json.settle(item) if odd else None
    if replaced is not None:
        item = replaced.value
    text = None if "writeKey" in item else text
    named = item.pop("writeKey", None)
    holder = _header_holder(request, keys)
    if holder is None or not holder.enabled:
        holder = first(holder, keys.of(named), keys.of(credentials.query_field(request.query, "writeKey")))
    source = _source(request, holder, workspace)
    if isinstance(source, Refused):
        return source
    sent_at = request.headers.get("sentat")
    maker = _maker(request, Envelope(sent_at=sent_at) if sent_at else _NO_ENVELOPE, workspace)
    origin = maker.origin(source.id)
    record: Output | Fault | None = None
    if text is not None and not source.anonymize_ip and (ending := maker.ending()) is not None:
        record = maker.record_as_written(item, text, ending, bytes_most(source), origin)
    if record is None:
        record = maker.record(item, 0, source, origin, replaced.places if replaced is not None else ())
    if isinstance(record, Fault):
        return Refused(400, record.reason, record.message, source=source.id)
    counted = {(source.id, name): count for name, count in replaced.counts.items()} if replaced is not None else _NOTHING
    results = [Result(_message_id(record, item), None)] if request.results else None
    return Accepted([record], _size(record), {(source.id, "accepted"): 1}, counted, holder, results)


def _batch(
    request: Request,
    batch: dict[str, Any],
    items: ReadItems | UnreadItems,
    keys: WriteKeys,
    workspace: Workspace,
    *,
    odd: bool,
) -> Turns:
    shared = odd_json.settle(batch) if odd else None
    if shared is not None:
        batch = shared.value
    holder = _header_holder(request, keys)
    if holder is None or not holder.enabled:
        holder = first(holder, keys.of(batch.get("writeKey")))
    found = yield from _sources(request, holder, items, keys, workspace)
    if isinstance(found, Refused):
        return found
    envelope = envelope_of(batch, request.headers.get("sentat"))
    gathered = _Gathered(request, _maker(request, envelope, workspace, shared.places if shared is not None else ()))
    turn = 0
    for index, ((item, settled, text), source) in enumerate(zip(items, found, strict=False)):
        if text is None or not gathered.add_as_written(item, text, source):
            gathered.add(item, index, source, settled)
        if gathered.size - turn > _TURN_BYTES:
            turn = gathered.size
            yield
    if shared is not None and gathered.counts:
        gathered.count_replaced(next(iter(gathered.counts))[0], shared)
    return Accepted(gathered.outputs, gathered.size, gathered.counts, gathered.replaced, holder, gathered.results)


def _sources(
    request: Request, holder: Holder | None, items: ReadItems | UnreadItems, keys: WriteKeys, workspace: Workspace
) -> Generator[None, None, Iterator[Source | Refused] | Refused]:
    """Find the source of each item: the request's own, else each item's, else the query's."""
    if (holder is not None and holder.enabled) or not len(items):
        source = _source(request, holder or keys.of(credentials.query_field(request.query, "writeKey")), workspace)
        return source if isinstance(source, Refused) else repeat(source)
    from_query = keys.of(credentials.query_field(request.query, "writeKey"))
    found: list[Source | Refused] = []
    for number, item in enumerate(items.unsettled(), 1):
        own = keys.of(item.get("writeKey")) if isinstance(item, dict) else None
        found.append(_source(request, first(own, from_query, holder), workspace))
        if number % _TURN_ITEMS == 0:
            yield
    if all(isinstance(source, Refused) for source in found):
        same = found[0]
        return same if isinstance(same, Refused) and all(source == same for source in found) else refusals.INVALID_WRITE_KEY
    return iter(found)


class _Gathered:
    """The records of a batch, and what is counted of them."""

    def __init__(self, request: Request, maker: Maker) -> None:
        self._maker = maker
        self._ending = maker.ending()
        self._plain: tuple[Source, Origin, int, tuple[str, str]] | None = None
        self._origins: dict[str, Origin] = {}
        self.outputs: list[Output] = []
        self.size = 0
        self.counts: dict[tuple[str, str], int] = {}
        self.replaced: dict[tuple[str, str], int] = {}
        self.results: list[Result] | None = [] if request.results else None

    def add(self, item: Any, index: int, source: Source | Refused, replaced: Settled | None = None) -> None:  # noqa: ANN401 (JSON)
        """Add an item as its record for `raw`, or as its dead letter."""
        source_id = source.source if isinstance(source, Refused) else source.id
        origin = self._origin(source_id)
        if item.__class__ is dict:
            item.pop("writeKey", None)
        made: Output | Fault
        if isinstance(source, Refused):
            made = Fault("source_disabled" if source.code == "source_disabled" else "unknown_source", source.message)
        elif item.__class__ is dict:
            made = self._maker.record(item, index, source, origin, replaced.places if replaced is not None else ())
        else:
            made = NOT_AN_OBJECT
        fault = None
        outcome = source_id, "accepted"
        if isinstance(made, Fault):
            fault, outcome = made, (source_id, "dead")
            made = self._maker.letter(item, fault, origin)
        self._keep(made, outcome)
        if replaced is not None:
            self.count_replaced(source_id, replaced)
        if self.results is not None:
            self.results.append(Result(_message_id(made, item), fault))

    def add_as_written(self, item: Any, text: bytes, source: Source | Refused) -> bool:  # noqa: ANN401 (JSON)
        """Add an event whose text is that of its record; False where it is not."""
        if self._ending is None or item.__class__ is not dict:
            return False
        if self._plain is None or self._plain[0] is not source:
            if isinstance(source, Refused) or source.anonymize_ip:
                return False
            self._plain = source, self._origin(source.id), bytes_most(source), (source.id, "accepted")
        _, origin, most, outcome = self._plain
        made = self._maker.record_as_written(item, text, self._ending, most, origin)
        if made is None:
            return False
        self._keep(made, outcome)
        if self.results is not None:
            self.results.append(Result(_message_id(made, item), None))
        return True

    def _origin(self, source_id: str) -> Origin:
        origin = self._origins.get(source_id)
        if origin is None:
            origin = self._origins[source_id] = self._maker.origin(source_id)
        return origin

    def _keep(self, made: Output, outcome: tuple[str, str]) -> None:
        self.outputs.append(made)
        self.size += len(made.key or b"") + len(made.value or b"")
        self.counts[outcome] = self.counts.get(outcome, 0) + 1

    def count_replaced(self, source_id: str, replaced: Settled) -> None:
        """Count what was replaced."""
        for name, count in replaced.counts.items():
            self.replaced[source_id, name] = self.replaced.get((source_id, name), 0) + count


def _message_id(made: Output, item: Any) -> str:  # noqa: ANN401 (JSON)
    """Give the message id of an event, which it may have got here only."""
    given = item.get("messageId") if item.__class__ is dict else None
    if given is None or given == "":
        given = json_text.decode(made.value or b"")[0]
        given = given.get("messageId") if given.__class__ is dict else None
    return given if given.__class__ is str else "" if given is None else str(given)


def _size(output: Output) -> int:
    return len(output.key or b"") + len(output.value or b"")
