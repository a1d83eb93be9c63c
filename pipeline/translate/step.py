"""The steps: one destination each, or all of them in one processor."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from pipeline.destinations.declaration import Action, DestinationType, fill_settings, settings_with_placeholders
from pipeline.mapping import MISSING, MappingError
from pipeline.model import headers as names
from pipeline.model.outcomes import Dead, Drop, Emit, Emits, Outcome, Step
from pipeline.model.record import Message
from pipeline.model.workspace import Destination, MappingDeclaration
from pipeline.translate.device import is_sent_by_client
from pipeline.translate.requests import idempotency_id, request_head, request_headers, request_value, user_key

LANE = "requests"
"""The lane that rendered requests are written to."""

CompileMapping = Callable[[Any], Callable[[Any], Any]]
CompileQuery = Callable[[str], Callable[[Any], bool]]

_OTHER = Drop("other_destination")
_UNSUPPORTED = Drop("unsupported_event_type")
_NO_MAPPING = Drop("no_matching_mapping")
_SENT = Drop("message_sent_client_side")
_REMOVED = Drop("destination_disabled")


class _Compiled(NamedTuple):
    name: str
    matches: Callable[[Any], bool]
    render: Callable[[Any], Any]
    head: bytes


def create_translate(
    destination: Destination, destination_type: DestinationType, compile_mapping: CompileMapping, compile_query: CompileQuery
) -> Step:
    """Make the step that renders the requests of one destination.

    Args:
        destination: The destination as declared; without mappings it has those of its type.
        destination_type: Its type.
        compile_mapping: Compiler of the mapping language.
        compile_query: Compiler of FQL.

    Returns:
        The step. It ends every message: `Emits` with one record for each mapping that matches, else `Drop` or `Dead`.

    Raises:
        MappingError: A mapping is wrong.
        QueryError: A trigger is wrong.
        KeyError: A mapping names an action that the type does not have.
    """
    render = _create_render(destination, destination_type, compile_mapping, compile_query)
    name = destination.id.encode()

    def translate(message: Message) -> Outcome | None:
        if name not in message.headers.get(names.ROUTES, b"").split(b","):
            return _OTHER
        return render(message)

    return translate


def create_translate_all(
    destinations: Iterable[tuple[Destination, DestinationType]],
    storages: Collection[str],
    compile_mapping: CompileMapping,
    compile_query: CompileQuery,
) -> Step:
    """Make the step that renders the requests of all destinations, for one processor that serves them together.

    Args:
        destinations: Destinations with their types.
        storages: Ids of the storages, which are routed to as well but get no requests.
        compile_mapping: Compiler of the mapping language.
        compile_query: Compiler of FQL.

    Returns:
        The step. Its records and dead letters are those of the destinations' own steps, in the order of the header `routes`;
        destinations that get nothing are noted in `message.withheld` with their reason, also one that was removed after the
        event was routed. Where none emits and no mapping failed, the message ends with the last destination's `Drop`.

    Raises:
        MappingError: A mapping is wrong.
        QueryError: A trigger is wrong.
        KeyError: A mapping names an action that its type does not have.
    """
    renders = {one.id.encode(): _create_render(one, its_type, compile_mapping, compile_query) for one, its_type in destinations}
    not_ours = {b"", *(storage.encode() for storage in storages)}

    def translate_all(message: Message) -> Outcome | None:
        records: list[Emit] = []
        ended: list[tuple[str, Drop | Dead]] = []
        for name in message.headers.get(names.ROUTES, b"").split(b","):
            render = renders.get(name)
            if render is None:
                if name not in not_ours:
                    ended.append((name.decode(), _REMOVED))
                continue
            outcome = render(message)
            if isinstance(outcome, Emits):
                records += outcome.records
            else:
                ended.append((name.decode(), outcome))
        if not records and len(ended) < 2:
            return ended[0][1] if ended else _OTHER
        dead = tuple(outcome for _, outcome in ended if isinstance(outcome, Dead))
        if not records and not dead:
            return ended[-1][1]
        message.withheld += [(name, outcome.reason) for name, outcome in ended]
        return Emits(tuple(records), dead)

    return translate_all


def _create_render(
    destination: Destination, destination_type: DestinationType, compile_mapping: CompileMapping, compile_query: CompileQuery
) -> Callable[[Message], Emits | Drop | Dead]:
    compiled = tuple(
        _Compiled(one.name, compile_query(one.trigger), compile_mapping(one.fields), _head(destination, destination_type, action))
        for one, action in _mappings(destination, destination_type)
    )
    calls = destination_type.calls
    destination_id = destination.id
    destination_name = destination_id.encode()
    by_user = destination.order == "user"
    on_device = destination.mode == "device"

    def render(message: Message) -> Emits | Drop | Dead:
        body = message.body
        if body.get("type") not in calls:
            return _UNSUPPORTED
        if on_device and is_sent_by_client(body, destination_id):
            return _SENT
        records: list[Emit] = []
        for name, matches, mapped, head in compiled:
            if not matches(body):
                continue
            try:
                payload = mapped(body)
                if payload is MISSING:
                    return Dead("mapping_failed", f"{destination_id}/{name}: the mapping finds nothing in this event", destination_id)
                source = message.source or message.headers.get(names.SOURCE, b"").decode()
                value = request_value(idempotency_id(source, str(body.get("messageId", "")), name), head, payload)
            except (MappingError, ValueError) as error:
                return Dead("mapping_failed", f"{destination_id}/{name}: {error}", destination_id)
            headers = request_headers(message, destination_name, name.encode())
            records.append(Emit(LANE, user_key(message) if by_user else message.key, value, headers, destination_id))
        return Emits(tuple(records)) if records else _NO_MAPPING

    return render


def _mappings(destination: Destination, destination_type: DestinationType) -> Iterable[tuple[MappingDeclaration, Action]]:
    actions: Mapping[str, Action] = {action.name: action for action in destination_type.actions}
    if not destination.mappings:
        return [(MappingDeclaration(one.name, one.trigger, one.mapping, one.name), one) for one in destination_type.actions]
    return [(one, actions[one.action or destination_type.actions[0].name]) for one in destination.mappings]


def _head(destination: Destination, destination_type: DestinationType, action: Action) -> bytes:
    settings = settings_with_placeholders(destination_type, destination.settings)
    template = action.request
    headers = {name: fill_settings(text, settings) for name, text in template.headers.items()}
    headers.update((name.lower(), text) for name, text in settings.get(template.headers_from, {}).items())
    return request_head(template.method, fill_settings(template.url, settings), headers)
