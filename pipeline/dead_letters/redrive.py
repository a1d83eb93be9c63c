"""Where a dead letter goes to be judged anew."""

from __future__ import annotations

from typing import Final, NamedTuple

from pipeline.dead_letters.letter import Letter
from pipeline.model import headers as names
from pipeline.model.headers import number_in
from pipeline.model.topology import Topology
from pipeline.model.workspace import Workspace

_OF_DEATH: Final = "dead_"
_OF_TRIES: Final = frozenset((names.ATTEMPT, names.FIRST_ATTEMPT, names.NOT_BEFORE))


class Way(NamedTuple):
    """A letter's way back.

    Attributes:
        topic: Topic without prefix.
        key: The record's key.
        value: Its value; the letter's own, unless it was translated anew.
        headers: Its headers: the letter's own, without those of its death; how often it was redriven and where the record lay that died.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class Stays(NamedTuple):
    """A letter that stays where it is.

    Attributes:
        why: Why, for a person.
    """

    why: str


def way_back(letter: Letter, topology: Topology, workspace: Workspace) -> Way | Stays:
    """Decide where a letter goes.

    A letter of the steps up to filter goes to the topic that it was read from, one of translate or of a lake to theirs, for its one
    destination alone, and one of deliver to the destination's requests. What the collector refused goes to `raw`; so do the events of a webhook's
    delivery, which the caller makes of it, but not those of one that nobody has vouched for.

    Args:
        letter: The letter.
        topology: The topology that is run.
        workspace: The configuration in force.

    Returns:
        The way back, with the value as it died, or why the letter stays.
    """
    if letter.record.value is None:
        return Stays("it has no value")
    if letter.stage == "deliver":
        return _request(letter, workspace)
    if letter.stage in ("translate", "lake"):
        return _routed(letter, topology, workspace)
    if letter.stage == "ingest":
        return _collected(letter)
    reads = letter.step if letter.step in _steps(topology, letter.topic) else letter.stage
    if reads not in _steps(topology, letter.topic):
        return Stays(f"no processor of the topology {topology.name} takes {letter.topic or 'what was read from no topic'} through {letter.stage}")
    return _way(letter, letter.topic)


def _collected(letter: Letter) -> Way | Stays:
    if names.WEBHOOK in letter.headers and names.WEBHOOK_HEADERS not in letter.headers:
        return Stays("it is a delivery of a webhook that no secret vouched for: have its sender send it again")
    return _way(letter, "raw")


def _steps(topology: Topology, topic: str) -> set[str]:
    return {step for one in topology.processors.values() if one.input == topic for step in one.steps}


def _request(letter: Letter, workspace: Workspace) -> Way | Stays:
    ident = letter.destination or _text(letter, names.DESTINATION)
    if fault := _destination_fault(ident, workspace):
        return Stays(fault)
    way = _way(letter, f"requests.{ident}.retry", without=_OF_TRIES)
    # While it waits for a retry, a request's key has its destination before it.
    return way._replace(key=(way.key or b"").partition(b"/")[2] or None) if letter.topic.startswith("retry.") else way


def _routed(letter: Letter, topology: Topology, workspace: Workspace) -> Way | Stays:
    kind = "lake" if letter.stage == "lake" else "steps"
    if not any(one.input == letter.topic and one.kind == kind for one in topology.processors.values()):
        return Stays(f"no processor of the topology {topology.name} takes {letter.topic} for {letter.stage}")
    routes = _text(letter, names.ROUTES).split(",")
    wanted = [letter.destination] if letter.destination else [route for route in routes if route in workspace.destinations]
    if letter.stage == "lake":
        if not letter.destination or letter.destination not in workspace.storage:
            return Stays(f"no storage {letter.destination} is declared")
    elif not wanted or (letter.reason != "crashed" and not letter.destination):
        return Stays("it does not say for which destination it is")
    elif letter.destination and (fault := _destination_fault(letter.destination, workspace)):
        return Stays(fault)
    way = _way(letter, letter.topic, without=frozenset((names.ROUTES,)))
    return way._replace(headers=(*way.headers, (names.ROUTES, ",".join(wanted).encode())))


def _destination_fault(ident: str, workspace: Workspace) -> str:
    destination = workspace.destinations.get(ident)
    if destination is None:
        return f"no destination {ident} is declared"
    return "" if destination.enabled else f"the destination {ident} is disabled"


def _way(letter: Letter, topic: str, *, without: frozenset[str] = frozenset()) -> Way:
    left_out = without | {names.REDRIVEN, names.REDRIVEN_FROM}
    own = [pair for pair in letter.record.headers if pair[0] not in left_out and not pair[0].startswith(_OF_DEATH)]
    if topic == "raw" and names.RECEIVED_AT not in letter.headers:
        own.append((names.RECEIVED_AT, b"%d" % letter.first_failure_ms))  # else it would have come today
    own += history(letter)
    return Way(topic, letter.record.key, letter.record.value, tuple(own))


def history(letter: Letter) -> list[tuple[str, bytes]]:
    """Give the headers that say that a record was redriven, and keep what it has behind it.

    Args:
        letter: The letter.

    Returns:
        Names and values.
    """
    added = [(names.REDRIVEN, b"%d" % (letter.redriven + 1))]
    if letter.origin:
        added.append((names.REDRIVEN_FROM, letter.origin.encode()))
    added.append((names.DEAD_FIRST_FAILURE, b"%d" % letter.first_failure_ms))
    if tries := number_in(letter.headers, names.DEAD_ATTEMPT, 0):
        added.append((names.DEAD_ATTEMPT, b"%d" % tries))
    return added


def _text(letter: Letter, name: str) -> str:
    return (letter.headers.get(name) or b"").decode("utf-8", "replace")
