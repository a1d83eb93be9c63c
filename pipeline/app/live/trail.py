"""Where one event got to: what was seen of it, and where nothing was seen, what the ledger says about the transaction that took it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, NamedTuple

from pipeline.app.live.facts import About, Fact, Place
from pipeline.app.live.graph import Shape
from pipeline.app.live.ledgers import Ledgers, Transaction
from pipeline.app.live.recent import Seen
from pipeline.model.ledger import OTHER
from pipeline.model.workspace import Workspace

GRACE_MS: Final = 1500
"""How long after a transaction its outputs may still be on their way to the page; before that, nothing seen means nothing."""

State = Literal["passed", "waiting", "dropped", "dead", "blocked", "stored", "delivered", "retrying", "parked", "withheld"]


class Stop(NamedTuple):
    """One stage of the way.

    Attributes:
        stage: Group name without prefix.
        state: How it ended there.
        at: When, milliseconds since the epoch; 0 where that is not known.
        reasons: Why it went no further; several where the ledger does not tell which.
        detail: What is wrong, for a person.
        place: The record that shows it.
    """

    stage: str
    state: State
    at: int = 0
    reasons: tuple[str, ...] = ()
    detail: str = ""
    place: Place | None = None


class Target(NamedTuple):
    """A destination or storage, and how far the event is on its way there.

    Attributes:
        id: Its id.
        kind: `destination` or `storage`.
        state: Where things stand.
        status: HTTP status of the last attempt, 0 for none.
        reasons: Why it did not go there, or not yet.
        stops: The stages on the way.
        attempts: Deliveries that were tried, in order.
    """

    id: str
    kind: str
    state: State
    status: int = 0
    reasons: tuple[str, ...] = ()
    stops: tuple[Stop, ...] = ()
    attempts: tuple[Fact, ...] = ()


class Trail(NamedTuple):
    """The way of one event.

    Attributes:
        stops: The stages that every event meets, as far as it came.
        targets: Where it is for.
        copies: How many records with its message id lie in `raw`.
    """

    stops: tuple[Stop, ...]
    targets: tuple[Target, ...]
    copies: int


def trail(seen: Seen, way: Shape, ledgers: Ledgers, workspace: Workspace, now_ms: int) -> Trail:
    """Tell the way of an event.

    Args:
        seen: What was seen of it.
        way: The shape of the topology.
        ledgers: What the transactions did.
        workspace: What is declared now.
        now_ms: Wall time, milliseconds since the epoch.

    Returns:
        Its way.
    """
    stops: list[Stop] = []
    facts = seen.facts
    copies = [fact for fact in facts if fact.kind == "event" and fact.place.topic == "raw"]
    refused = next((fact for fact in facts if fact.kind == "dead" and fact.outcome == "ingest"), None)
    if refused is not None:
        return Trail((_ended("collector", refused),), (), len(copies))
    stops.append(Stop("collector", "passed", seen.about.received_at, place=copies[0].place if copies else None))
    for index, stage in enumerate(way.chain):
        stop = _stop(seen, stage.name, stage.input, stage.output, ledgers, now_ms)
        if stop is None:
            later = {each.output for each in way.chain[index:]}
            if not any(fact.kind in {"request", "attempt"} or fact.place.topic in later for fact in facts):
                return Trail(tuple(stops), (), len(copies))
            stop = Stop(stage.name, "passed")
        stops.append(stop)
        if stop.state != "passed":
            return Trail(tuple(stops), (), len(copies))
    return Trail(tuple(stops), tuple(_targets(seen, way, ledgers, workspace, now_ms)), len(copies))


def _ended(stage: str, fact: Fact) -> Stop:
    state: State = "blocked" if fact.kind == "blocked" else "dead"
    return Stop(stage, state, fact.at, (fact.reason,) if fact.reason else (), fact.detail, fact.place)


def _stop(seen: Seen, stage: str, taken: str, written: str, ledgers: Ledgers, now_ms: int) -> Stop | None:
    """Tell how a stage ended; None where the event was not seen before it."""
    inputs = [fact for fact in seen.facts if fact.kind == "event" and fact.place.topic == taken]
    for fact in seen.facts:
        if fact.kind == "event" and fact.place.topic == written:
            return Stop(stage, "passed", fact.at, place=fact.place)
    for fact in seen.facts:
        if fact.kind in {"dead", "blocked"} and fact.origin is not None and fact.origin.topic == taken:
            return _ended(stage, fact)
    if not inputs:
        return None
    transaction = _settled(ledgers, stage, inputs[-1].place, now_ms)
    if transaction is not None:
        reasons = _reasons(transaction, seen.about, {"dropped"})
        if reasons:
            return Stop(stage, "dropped", transaction.at, reasons)
    return Stop(stage, "waiting")


def _settled(ledgers: Ledgers, stage: str, place: Place, now_ms: int) -> Transaction | None:
    transaction = ledgers.transaction(stage, *place)
    return transaction if transaction is not None and now_ms - transaction.at >= GRACE_MS else None


def _reasons(transaction: Transaction, about: About, verdicts: set[str], destination: str = "") -> tuple[str, ...]:
    event = about.event if about.type == "track" else ""
    found = set()
    for source, call, name, verdict, reason, target, _ in transaction.endings:
        fits = source in {"", about.source} and call in {"", about.type} and name in {"", OTHER, event}
        if fits and verdict in verdicts and target in {"", destination}:
            found.add(reason)
    return tuple(sorted(found))


def _targets(seen: Seen, way: Shape, ledgers: Ledgers, workspace: Workspace, now_ms: int) -> Iterable[Target]:
    routed = next((fact for fact in seen.facts if fact.kind == "event" and fact.place.topic == way.last), None)
    named = {fact.destination for fact in seen.facts if fact.destination and fact.kind != "event"}
    routes = set(routed.routes or ()) - {""} if routed is not None else set()
    declared = [*workspace.destinations, *workspace.storage]
    for target in [*declared, *sorted((routes | named) - set(declared))]:
        if target in workspace.storage:
            if target in routes:
                yield _storage(target, seen, routed, way, ledgers)
        elif target in routes or target in named:
            yield _destination(target, seen, routed, way, ledgers, now_ms)
            continue
        if target not in routes and routed is not None:
            kind = "storage" if target in workspace.storage else "destination"
            yield Target(target, kind, "withheld", reasons=_withheld(target, seen, way, ledgers))


def _withheld(target: str, seen: Seen, way: Shape, ledgers: Ledgers) -> tuple[str, ...]:
    """Say why the last stage did not route the event to a target, as far as its transaction tells."""
    if not way.chain:
        return ()
    stage = way.chain[-1]
    for fact in seen.facts:
        if fact.kind == "event" and fact.place.topic == stage.input:
            transaction = ledgers.transaction(stage.name, *fact.place)
            if transaction is not None:
                return tuple(
                    sorted({row[4] for row in transaction.endings if row[3] == "withheld" and row[5] == target and row[1] in {"", seen.about.type}})
                )
    return ()


def _storage(target: str, seen: Seen, routed: Fact | None, way: Shape, ledgers: Ledgers) -> Target:
    stops: list[Stop] = []
    for name in way.stores:
        stage = f"{name}.{target}"
        dead = next((fact for fact in seen.facts if fact.kind == "dead" and fact.outcome == name), None)
        transaction = ledgers.transaction(stage, *routed.place) if routed is not None else None
        if dead is not None:
            stops.append(_ended(stage, dead))
        elif transaction is not None:
            stops.append(Stop(stage, "stored", transaction.at))
        else:
            # Too long ago for the remembered transactions is long enough to be stored; the lag says so where it is not.
            stops.append(Stop(stage, "waiting"))
    state = stops[-1].state if stops else "waiting"
    return Target(target, "storage", state, reasons=stops[-1].reasons if stops else (), stops=tuple(stops))


def _destination(target: str, seen: Seen, routed: Fact | None, way: Shape, ledgers: Ledgers, now_ms: int) -> Target:
    translator, deliverer = way.translator(target), f"{way.deliver}.{target}"
    requests = [fact for fact in seen.facts if fact.kind == "request" and fact.destination == target]
    tried = (fact for fact in seen.facts if fact.kind == "attempt" and fact.destination == target)
    attempts = sorted(tried, key=lambda fact: (fact.at, fact.attempt))
    ended = [fact for fact in seen.facts if fact.kind == "dead" and fact.destination == target]
    stops: list[Stop] = []
    if requests or attempts:
        stops.append(Stop(translator, "passed", requests[0].at if requests else 0, place=requests[0].place if requests else None))
    else:
        stops.append(_untranslated(target, translator, seen, routed, ledgers, now_ms))
    if stops[0].state != "passed":
        return Target(target, "destination", stops[0].state, reasons=stops[0].reasons, stops=tuple(stops))
    newest = _newest(attempts)
    state: State = "waiting"
    reasons: tuple[str, ...] = ()
    if ended:
        state, reasons = "dead", tuple(sorted({fact.reason for fact in ended}))
    elif newest is not None:
        states: dict[str, State] = {"delivered": "delivered", "retried": "retrying", "dead": "dead", "parked": "parked"}
        state = states.get(newest.outcome, "waiting")
        reasons = (newest.reason,) if newest.reason else ()
    at = newest.at if newest is not None else 0
    place = ended[0].place if ended else newest.place if newest is not None else None
    stops.append(Stop(deliverer, state, at, reasons, ended[0].detail if ended else "", place))
    return Target(target, "destination", state, newest.status if newest is not None else 0, reasons, tuple(stops), tuple(attempts))


def _untranslated(target: str, translator: str, seen: Seen, routed: Fact | None, ledgers: Ledgers, now_ms: int) -> Stop:
    transaction = _settled(ledgers, translator, routed.place, now_ms) if routed is not None else None
    if transaction is None:
        return Stop(translator, "waiting")
    died = _reasons(transaction, seen.about, {"dead"}, target)
    dead = [fact for fact in seen.facts if fact.kind == "dead" and fact.outcome == "translate" and fact.reason in died]
    if dead:
        return _ended(translator, dead[0])
    reasons = _reasons(transaction, seen.about, {"dropped", "withheld"}, target)
    return Stop(translator, "dropped", transaction.at, reasons) if reasons else Stop(translator, "waiting")


def _newest(attempts: Sequence[Fact]) -> Fact | None:
    """Give the attempt that says where things stand: the last of each mapping, the worst of these."""
    last: dict[str, Fact] = {fact.mapping: fact for fact in attempts}
    order = {"dead": 0, "parked": 1, "retried": 2, "delivered": 3}
    return min(last.values(), key=lambda fact: order.get(fact.outcome, 0), default=None)


def as_row(seen: Seen, way: Trail) -> dict[str, Any]:
    """Give what the table of events shows of one.

    Args:
        seen: The event.
        way: Its way.

    Returns:
        A JSON object: `id`, `at`, `source`, `type`, `event`, `user`, `copies`, `stage`, `state`, `reasons`, and `to` with id, kind, state and
        status of each target that it is for.
    """
    stop = way.stops[-1]
    about = seen.about
    return {
        "id": seen.message_id,
        "at": about.received_at,
        "source": about.source,
        "type": about.type,
        "event": about.event,
        "user": about.user,
        "copies": way.copies,
        "stage": stop.stage,
        "state": stop.state,
        "reasons": stop.reasons,
        "to": [{"id": one.id, "kind": one.kind, "state": one.state, "status": one.status} for one in way.targets if one.state != "withheld"],
    }


def as_detail(seen: Seen, way: Trail) -> dict[str, Any]:
    """Give what the drawer shows of one event.

    Args:
        seen: The event.
        way: Its way.

    Returns:
        A JSON object: the row's keys, `body` as text, `stops` and `targets`.
    """
    return {
        **as_row(seen, way),
        "body": (seen.body or b"").decode("utf-8", "replace"),
        "body_topic": seen.body_place.topic if seen.body_place is not None else "",
        "stops": [_stop_json(stop) for stop in way.stops],
        "targets": [
            {
                "id": one.id,
                "kind": one.kind,
                "state": one.state,
                "status": one.status,
                "reasons": one.reasons,
                "stops": [_stop_json(stop) for stop in one.stops],
                "attempts": [_attempt_json(fact) for fact in one.attempts],
            }
            for one in way.targets
        ],
    }


def _stop_json(stop: Stop) -> dict[str, Any]:
    place = stop.place._asdict() if stop.place is not None else None
    return {"stage": stop.stage, "state": stop.state, "at": stop.at, "reasons": stop.reasons, "detail": stop.detail, "place": place}


def _attempt_json(fact: Fact) -> dict[str, Any]:
    return {
        "attempt": fact.attempt,
        "mapping": fact.mapping,
        "outcome": fact.outcome,
        "status": fact.status,
        "reason": fact.reason,
        "error": fact.detail,
        "latency_ms": fact.latency_ms,
        "answer": fact.answer,
        "at": fact.at,
    }
