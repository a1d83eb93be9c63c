"""The step, and what it works out once for each source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pipeline.filter.integrations import NAMES_OF_NO_DESTINATION, is_on, switches
from pipeline.model import headers
from pipeline.model.outcomes import Dead, Drop, Outcome, Step
from pipeline.model.record import Message
from pipeline.model.workspace import Destination, Workspace

_CACHED_ROUTES: Final = 4096

Query = Callable[[Any], bool]


class _Target(NamedTuple):
    """An enabled destination of a source, or a storage, which has no type and nothing that holds an event back."""

    id: str
    type: str = ""
    only: frozenset[str] = frozenset()
    never: frozenset[str] = frozenset()
    queries: tuple[Query, ...] | None = ()  # None: one of them is no FQL

    @property
    def has_queries(self) -> bool:
        return self.queries is None or bool(self.queries)

    @property
    def has_lists(self) -> bool:
        return bool(self.only or self.never)


class _Route(NamedTuple):
    header: bytes  # empty: nothing wants the event
    withheld: tuple[tuple[str, str], ...]


class _Plan:
    """Where a source's events can go. Routes are kept for what they depend on, as long as that is type and name alone."""

    __slots__ = ("_disabled", "_known", "_lists", "_queries", "_routes", "_targets")

    def __init__(self, targets: Sequence[_Target], disabled: Sequence[str], known: frozenset[str]) -> None:
        self._targets = tuple((target, target.has_lists or target.has_queries) for target in sorted(targets, key=lambda target: target.id))
        self._disabled = tuple((destination, "destination_disabled") for destination in sorted(disabled))
        self._known = known
        self._lists = any(target.has_lists for target in targets)
        self._queries = any(target.has_queries for target in targets)
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

    def _work_out(self, body: dict[str, Any], event: str | None, given: Mapping[str, Any] | None) -> _Route:
        wanted = []
        withheld = list(self._disabled)
        for target, guarded in self._targets:
            if given is not None and target.type and not is_on(given, target.id, target.type):
                withheld.append((target.id, "filtered_by_integrations_object"))
            elif guarded and (reason := _rule(target, body, event)):
                withheld.append((target.id, reason))
            else:
                wanted.append(target.id)
        if given is not None and not given.keys() <= self._known:
            withheld.append(("", "unknown_integration"))
        return _Route(",".join(wanted).encode(), tuple(withheld))


def create_filter(workspace: Workspace, compile_query: Callable[[str], Query]) -> Step:
    """Make the step for one version of the workspace.

    Args:
        workspace: The workspace.
        compile_query: Compiles an FQL query (`pipeline.mapping.compile_query`). A query that it refuses, or that fails on an
            event, withholds the event: nothing is sent that a filter might have held back.

    Returns:
        The step. It reads the event and changes only the headers.
    """
    destinations = workspace.destinations.values()
    known = NAMES_OF_NO_DESTINATION.union(*((destination.id, destination.type) for destination in destinations))
    targets = {destination.id: _target(destination, compile_query) for destination in destinations if destination.enabled}
    plans = {}
    for source in workspace.sources:
        connected = [destination.id for destination in destinations if source in destination.sources]
        storages = [_Target(storage.id) for storage in workspace.storage.values() if source in storage.sources]
        plans[source] = _Plan(
            [*storages, *(targets[name] for name in connected if name in targets)],
            [name for name in connected if name not in targets],
            known,
        )
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
