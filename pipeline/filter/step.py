"""The step, and what it works out once for each source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from pipeline.filter.integrations import is_on, names_unknown, switches
from pipeline.model import headers
from pipeline.model.outcomes import Dead, Drop, Outcome, Step
from pipeline.model.record import Message
from pipeline.model.workspace import Destination, Workspace

_CACHED_ROUTES: Final = 4096

Query = Callable[[Any], bool]


class _Target(NamedTuple):
    """An enabled destination of a source."""

    id: str
    type: str
    only: frozenset[str]
    never: frozenset[str]
    queries: tuple[Query, ...] | None  # None: one of them is no FQL


class _Route(NamedTuple):
    header: bytes  # empty: nothing wants the event
    withheld: tuple[tuple[str, str], ...]


class _Plan:
    """Where a source's events can go. Routes are kept for what they depend on, as long as that is type and name alone."""

    __slots__ = ("_disabled", "_known", "_lists", "_queries", "_routes", "_storages", "_targets")

    def __init__(self, workspace: Workspace, source: str, targets: dict[str, _Target], known: frozenset[str]) -> None:
        connected = sorted((d for d in workspace.destinations.values() if source in d.sources), key=lambda d: d.id)
        self._targets = tuple(targets[d.id] for d in connected if d.enabled)
        self._disabled = tuple((d.id, "destination_disabled") for d in connected if not d.enabled)
        self._storages = tuple(sorted(storage.id for storage in workspace.storage.values() if source in storage.sources))
        self._known = known
        self._lists = any(target.only or target.never for target in self._targets)
        self._queries = any(target.queries is None or target.queries for target in self._targets)
        self._routes: dict[str | None, _Route] = {}

    def route(self, body: dict[str, Any]) -> _Route:
        given = switches(body)
        name = body.get("event") if self._lists and body.get("type") == "track" else None
        event = name if name.__class__ is str else None
        if given is not None or self._queries:
            return self._work_out(body, event, given)
        found = self._routes.get(event)
        if found is None:
            if len(self._routes) >= _CACHED_ROUTES:  # event names are the sender's: never more of them than this
                self._routes.clear()
            found = self._routes[event] = self._work_out(body, event, None)
        return found

    def _work_out(self, body: dict[str, Any], event: str | None, given: Any) -> _Route:  # noqa: ANN401 (any JSON object)
        wanted = list(self._storages)
        withheld = list(self._disabled)
        for target in self._targets:
            if given is not None and not is_on(given, target.id, target.type):
                withheld.append((target.id, "filtered_by_integrations_object"))
            elif reason := _rule(target, body, event):
                withheld.append((target.id, reason))
            else:
                wanted.append(target.id)
        if given is not None and names_unknown(given, self._known):
            withheld.append(("", "unknown_integration"))
        return _Route(",".join(sorted(wanted)).encode(), tuple(withheld))


def create_filter(workspace: Workspace, compile_query: Callable[[str], Query]) -> Step:
    """Make the step for one version of the workspace.

    Args:
        workspace: The workspace.
        compile_query: Compiles an FQL query (`pipeline.mapping.compile_query`). A query that it refuses, or that fails on an
            event, withholds the event: nothing is sent that a filter might have held back.

    Returns:
        The step. It reads the event and changes only the headers.
    """
    known = frozenset(name for destination in workspace.destinations.values() for name in (destination.id, destination.type))
    targets = {destination.id: _target(destination, compile_query) for destination in workspace.destinations.values()}
    plans = {source: _Plan(workspace, source, targets, known) for source in workspace.sources}
    no_route = Drop("no_route")

    def filter_(message: Message) -> Outcome | None:
        body = message.body
        if body.__class__ is not dict:
            return Dead("not_an_object")
        plan = plans.get(message.source)
        if plan is None:
            return no_route
        route = plan.route(body)
        if route.withheld:
            message.withheld.extend(route.withheld)
        if not route.header:
            return no_route
        message.headers[headers.ROUTES] = route.header
        return None

    return filter_


def _target(destination: Destination, compile_query: Callable[[str], Query]) -> _Target:
    queries: tuple[Query, ...] | None
    try:
        queries = tuple(compile_query(rule.query) for rule in destination.filters)
    except Exception:  # noqa: BLE001 (whatever the compiler raises, the filter fails closed; `headrace check` names the fault)
        queries = None
    return _Target(destination.id, destination.type, frozenset(destination.events), frozenset(destination.except_events), queries)


def _rule(target: _Target, body: dict[str, Any], event: str | None) -> str:
    if event is not None and ((target.only and event not in target.only) or event in target.never):
        return "filtered_by_rules"
    if target.queries is None:
        return "filter_failed"
    if target.queries:
        try:
            return "filtered_by_rules" if any(query(body) for query in target.queries) else ""
        except Exception:  # noqa: BLE001 (a filter fails closed, whatever goes wrong in it)
            return "filter_failed"
    return ""
