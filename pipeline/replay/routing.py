"""What a job does with an event before and after the steps that live events meet too."""

from __future__ import annotations

from typing import Final

from pipeline.model import headers as names
from pipeline.model.json_text import encode
from pipeline.model.outcomes import Dead, Drop, Emit, Emits, Outcome, Step
from pipeline.model.record import Message
from pipeline.replay.jobs import Job

ROWS: Final = "rows"
"""The lane that events for a store's merge are written to."""

_NOT_SELECTED: Final = Drop("not_selected")
_NO_ROUTE: Final = Drop("no_route")
_COPY: Final = Drop("duplicate")


def create_select(job: Job) -> Step:
    """Make the step that leaves out what the job is not for.

    Args:
        job: The job.

    Returns:
        The step. It follows the one that names an event's source, and marks what goes on with the job's id.
    """
    sources, events, ident = frozenset(job.sources), frozenset(job.events), job.id.encode()

    def select(message: Message) -> Outcome | None:
        body = message.body
        if sources and message.source not in sources:
            return _NOT_SELECTED
        if events and (body.__class__ is not dict or body.get("type") != "track" or body.get("event") not in events):
            return _NOT_SELECTED
        message.headers[names.REPLAY] = ident
        return None

    return select


def in_place(validate: Step, partitions: int) -> Step:
    """Make validate judge a raw record where it lies.

    Live, a record in a partition that is not its key's is written to `raw` again. A job writes nothing to `raw`: it takes the record as it is, and
    leaves out the copy, which it meets too.

    Args:
        validate: The step.
        partitions: How many partitions `raw` has.

    Returns:
        The step.
    """
    placed = b"%d" % partitions

    def validate_in_place(message: Message) -> Outcome | None:
        if names.REKEYED in message.headers:
            return _COPY
        message.headers[names.REKEYED] = placed
        return validate(message)

    return validate_in_place


def create_route(job: Job, translate: Step, version: int) -> Step:
    """Make the last step: what today's filter routes to the job's targets goes there, and nowhere else.

    Args:
        job: The job.
        translate: The step that renders the requests of all destinations that an event is routed to.
        version: Version of the configuration.

    Returns:
        The step. It ends every message: with a request for each mapping that matches on the lane `requests`, and the event itself for each storage on
        the lane `rows`; what the filter keeps from a target of the job is noted already.
    """
    destinations, storages = frozenset(job.destinations), frozenset(job.storages)
    judged_by = b"%d" % version

    def route(message: Message) -> Outcome | None:
        routed = message.headers.get(names.ROUTES, b"").decode().split(",")
        tools = [name for name in routed if name in destinations]
        stores = [name for name in routed if name in storages]
        message.withheld = [pair for pair in message.withheld if not pair[0] or pair[0] in destinations]
        if not tools and not stores:
            return _NO_ROUTE
        message.headers[names.CONFIG] = judged_by
        rows = _rows(message, stores) if stores else ()
        if not tools:
            return Emits(rows)
        message.headers[names.ROUTES] = ",".join(tools).encode()
        return _together(message, rows, translate(message), tools)

    return route


def _rows(message: Message, storages: list[str]) -> tuple[Emit, ...]:
    value = encode(message.body)
    kept = tuple(pair for pair in message.headers.items() if pair[0] != names.ROUTES)
    return tuple(Emit(ROWS, message.key, value, (*kept, (names.ROUTES, storage.encode())), storage) for storage in storages)


def _together(message: Message, rows: tuple[Emit, ...], outcome: Outcome | None, tools: list[str]) -> Outcome | None:
    if not rows:
        return outcome
    if isinstance(outcome, Emits):
        return Emits((*rows, *outcome.records), outcome.dead)
    if isinstance(outcome, Drop | Dead) and len(tools) == 1:  # of several, translate has noted each
        message.withheld.append((tools[0], outcome.reason))
    return Emits(rows, (outcome,) if isinstance(outcome, Dead) else ())
