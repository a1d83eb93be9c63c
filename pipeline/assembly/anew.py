"""Makes anew what mappings make, with those of today: requests of an event, as `translate` would, and events of a webhook's delivery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import orjson

from pipeline.dead_letters import Letter
from pipeline.ingest.webhook import Hook, kept_headers, make_hook
from pipeline.ingest.webhook import map_anew as map_webhook_anew
from pipeline.ingest.webhook.delivery import Delivery
from pipeline.mapping import compile_mapping, compile_query
from pipeline.model import headers as names
from pipeline.model.headers import number_in
from pipeline.model.json_text import decode
from pipeline.model.outcomes import Dead, Drop, Emit, Emits, Step
from pipeline.model.reasons import REASONS
from pipeline.model.record import Headers, Message, Output, Record
from pipeline.model.workspace import Destination, MappingDeclaration, Workspace
from pipeline.registry import DESTINATION_TYPES, SOURCE_PRESETS
from pipeline.runtime.judgement import EXACT
from pipeline.runtime.redrive import MapAnew
from pipeline.runtime.translated_anew import TranslateAnew
from pipeline.sources import read_preset
from pipeline.translate import create_translate


def translate_anew(workspace: Workspace) -> TranslateAnew:
    """Make the function for one version of the configuration.

    Args:
        workspace: What is declared.

    Returns:
        The function. Mappings are compiled when they are first asked for.
    """
    steps: dict[tuple[str, str], Step | None] = {}

    def translate(event: Record, destination: str, mapping: str) -> Emit | str:
        place = destination, mapping
        if place not in steps:
            steps[place] = _step(workspace.destinations.get(destination), mapping)
        step = steps[place]
        if step is None:
            return f"{destination} has no mapping {mapping} any more"
        headers: Headers = dict(event.headers)
        try:
            body = orjson.loads(event.value or b"") if EXACT not in headers else decode(event.value or b"")[0]
        except ValueError:
            return "its event is not JSON"
        headers[names.ROUTES] = destination.encode()
        headers[names.CONFIG] = b"%d" % workspace.version
        outcome = step(Message(body, event.key, headers, event, headers.get(names.SOURCE, b"").decode("utf-8", "replace")))
        if isinstance(outcome, Emits):
            return outcome.records[0]
        if isinstance(outcome, Dead):
            return f"its mapping fails still: {outcome.detail}"
        return REASONS[outcome.reason].sentence if isinstance(outcome, Drop) else "translate makes no request of it"

    return translate


def map_anew(workspace: Workspace) -> MapAnew:
    """Make the function that makes events of deliveries, for one version of the configuration.

    Args:
        workspace: What is declared.

    Returns:
        The function. Mappings are compiled when they are first asked for.
    """
    hooks: dict[str, Hook] = {}

    def map_delivery(letter: Letter) -> Sequence[Output] | str:
        source = workspace.sources.get(letter.source)
        if source is None or source.type != "webhook":
            return f"no webhook source {letter.source} is declared"
        headers = kept_headers(letter.headers.get(names.WEBHOOK_HEADERS) or b"")
        if headers is None:
            return "the headers of the delivery cannot be read"
        if source.id not in hooks:
            hooks[source.id] = make_hook(source, read_preset(source.preset or SOURCE_PRESETS[0]), ())
        received_at = number_in(letter.headers, names.RECEIVED_AT, letter.first_failure_ms)
        return map_webhook_anew(Delivery(headers, letter.record.value or b"", received_at), hooks[source.id], workspace)

    return map_delivery


def _step(destination: Destination | None, mapping: str) -> Step | None:
    if destination is None:
        return None
    kind = DESTINATION_TYPES[destination.type]
    declared = destination.mappings or tuple(MappingDeclaration(one.name, one.trigger, one.mapping, one.name) for one in kind.actions)
    only = tuple(one for one in declared if one.name == mapping)
    return create_translate(replace(destination, mappings=only), kind, compile_mapping, compile_query) if only else None
